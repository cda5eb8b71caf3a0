import { fromJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import type { IdentityJson } from '../actors/run/identity.ts';
import { type EnrichedIdentity, EnrichedIdentitySchema } from '../proto/gen/flyteidl2/common/identity_pb.js';
import type { RpcContext } from './transport/handler.ts';

/** Tells who makes a call. Null means that nobody is known; what such a caller causes is attributed to nobody. */
export type IdentifyCaller = (context: RpcContext) => IdentityJson | null;

/** The caller of an installation without authentication: everybody is the same person. */
export const anonymous: IdentityJson = {
  user: { id: { subject: 'anonymous' }, spec: { firstName: 'Anonymous', userHandle: 'anonymous' } },
};

/** A stored caller as a message; undefined when nobody was recorded or the record cannot be read. */
export function enrichedIdentity(
  json: IdentityJson | null,
): MessageInitShape<typeof EnrichedIdentitySchema> | undefined {
  if (json === null) return undefined;
  return parse(json);
}

/** The subject of a caller: what `created_by` filters compare with. */
export function subjectOf(json: IdentityJson | null): string | undefined {
  const principal = json === null ? undefined : parse(json)?.principal;
  return principal?.value?.id?.subject;
}

function parse(json: IdentityJson): EnrichedIdentity | undefined {
  try {
    return fromJson(EnrichedIdentitySchema, json as JsonValue, { ignoreUnknownFields: true });
  } catch {
    return undefined;
  }
}
