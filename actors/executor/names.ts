import { createHash } from 'node:crypto';
import type { AttemptIdentity } from './paths.ts';

const MAX_LABEL = 63;
const HASH_LENGTH = 8;

/**
 * Name of the pod of one incarnation: readable (`<run>-<action>-<attempt>`) and, by its hash, never the same for two
 * incarnations, attempts, runs or projects. A DNS label of at most 63 characters.
 */
export function podName(identity: AttemptIdentity): string {
  const { runId, project, domain, run, action, attempt, incarnation } = identity;
  const digest = createHash('sha256').update(
    JSON.stringify([runId, project, domain, run, action, attempt, incarnation]),
  );
  const hash = BigInt(`0x${digest.digest('hex').slice(0, 12)}`)
    .toString(36)
    .padStart(HASH_LENGTH, '0');
  const readable = `${run}-${action}-${attempt}`
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, MAX_LABEL - HASH_LENGTH - 3)
    .replace(/-+$/, '');
  return `${readable === '' ? 'pod' : readable}-${hash}`.slice(0, MAX_LABEL);
}

/**
 * A text as label value: what Kubernetes does not allow becomes `-`, at most 63 characters, both ends alphanumeric
 * (`x` is put there otherwise). Undefined for an empty text (executor.md 3.3).
 */
export function labelValue(text: string): string | undefined {
  if (text === '') return undefined;
  let value = text.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, MAX_LABEL);
  if (!/^[A-Za-z0-9]/.test(value)) value = `x${value}`.slice(0, MAX_LABEL);
  if (!/[A-Za-z0-9]$/.test(value)) value = `${value.slice(0, MAX_LABEL - 1)}x`;
  return value;
}

/** True for a key Kubernetes takes for labels and annotations: an optional DNS prefix, a slash, a name. */
export function isMetadataKey(key: string): boolean {
  const slash = key.indexOf('/');
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (prefix !== undefined && !/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(prefix)) return false;
  return /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(name);
}

/** The pod name as an identifier: starts with a letter, letters, digits and `_` only (`perRetryUniqueKey`, executor.md 3.5). */
export function identifierOf(name: string): string {
  return name.replace(/^[^A-Za-z]+/, 'a').replace(/[^A-Za-z0-9_]+/g, '_');
}
