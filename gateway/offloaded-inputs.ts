import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import { type Inputs, InputsSchema } from '../proto/gen/flyteidl2/task/common_pb.js';
import { InvalidObjectUri } from '../storage/object-errors.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { failedPrecondition, invalidArgument } from './errors.ts';

const BLOB = 'inputs.pb';
/** Larger blobs are not decoded before a run starts: the pod does that anyway. */
const MAX_CHECKED_BYTES = 1024 * 1024;
/** Contents that are inputs, by URI and ETag: many runs begin with the same. */
const checked = new LRUCache<string, true>({ max: 10_000 });

/** Where inputs are kept: below a base, by project and domain. */
export interface InputsPlace {
  readonly base: string;
  readonly project: string;
  readonly domain: string;
}

/**
 * Stores inputs under the digest of all their bytes: the same inputs are one object, other inputs never replace them, whatever
 * is left out of their inputs hash (services.md §12.2).
 * @returns the folder; the blob is `inputs.pb` in it
 */
export async function storeInputs(
  store: ObjectStore,
  place: InputsPlace,
  inputs: Inputs | undefined,
): Promise<{ readonly folder: string; readonly blob: string }> {
  const bytes = toBinary(InputsSchema, inputs ?? create(InputsSchema));
  const digest = createHash('sha256').update(bytes).digest('hex');
  const { base, project, domain } = place;
  const folder = [base.replace(/\/+$/, ''), project, domain, 'offloaded-inputs', digest].join('/');
  const blob = inputsBlob(folder);
  await store.put(blob, bytes);
  return { folder, blob };
}

/** The blob an offloaded URI stands for: clients name the folder, or (in a rerun) the blob itself. */
export function inputsBlob(uri: string): string {
  const trimmed = uri.replace(/\/+$/, '');
  return trimmed.endsWith(`/${BLOB}`) ? trimmed : `${trimmed}/${BLOB}`;
}

/**
 * Refuses inputs no pod could read: absent ones, and those that are no inputs.
 * @throws StarlingError failed_precondition; invalid_argument for a URI no object can have
 */
export async function requireInputs(store: ObjectStore, blob: string): Promise<void> {
  const info = await headOf(store, blob);
  if (info === undefined) {
    throw failedPrecondition(`the inputs blob ${blob} does not exist: upload the inputs again`);
  }
  const content = `${info.etag} ${blob}`;
  if (info.size > MAX_CHECKED_BYTES || checked.has(content)) return;
  const bytes = await store.read(blob, { maxBytes: MAX_CHECKED_BYTES });
  try {
    fromBinary(InputsSchema, bytes);
  } catch {
    throw failedPrecondition(`the inputs blob ${blob} is corrupt: it holds no inputs; upload them again`);
  }
  checked.set(content, true);
}

async function headOf(store: ObjectStore, blob: string) {
  try {
    return await store.head(blob);
  } catch (error) {
    if (error instanceof InvalidObjectUri) throw invalidArgument('offloaded_input_data.uri', blob, error.message);
    throw error;
  }
}
