/** A caller as stored with what they caused: the JSON form of flyteidl2.common.EnrichedIdentity. */
export interface IdentityJson {
  readonly [field: string]: unknown;
}
