/** Listings of a directory store: keys from the tree, sizes and etags from the headers of the files. */
import { setImmediate } from 'node:timers/promises';
import type { FolderEntry, ListOptions } from '../object-store.ts';
import { parseObjectPrefix } from '../object-uri.ts';
import { diskError, errnoOf } from './disk-errors.ts';
import { fromBinary, toBinary } from './key-path.ts';
import { glimpse, type ObjectHeader } from './object-file.ts';
import { walk } from './walk.ts';

/** Enough of a file for nearly every header; glimpse reads more when it is not. */
const HEADER_BYTES = 512;
/** Headers are read synchronously; after this many the event loop gets its turn. */
const TURN = 100;

/** Entries below a prefix URI in byte order; `objectsRoot` is the directory of all buckets. With rollUp, folders are named, not entered. */
export async function* entries(
  objectsRoot: string,
  prefixUri: string,
  { limit = Number.POSITIVE_INFINITY, after = '' }: ListOptions,
  rollUp: boolean,
): AsyncGenerator<FolderEntry> {
  const { bucket, key } = parseObjectPrefix(prefixUri);
  if (limit <= 0) return;
  let count = 0;
  for await (const found of walk(`${objectsRoot}/${bucket}/`, {
    prefix: toBinary(key),
    after: toBinary(after),
    rollUp,
  })) {
    const uri = `s3://${bucket}/${fromBinary(found.binaryKey)}`;
    if (found.kind === 'folder') yield { folder: uri };
    else {
      const header = headerAt(found.path);
      if (!header) continue; // deleted since its directory was read
      const { size, etag, modifiedMs } = header;
      yield { object: { uri, size, etag, lastModified: new Date(modifiedMs), metadata: {} } };
    }
    if (++count >= limit) return;
    if (count % TURN === 0) await setImmediate();
  }
}

/** The header of the object file, undefined when there is none. */
export function headerAt(path: string): ObjectHeader | undefined {
  try {
    return glimpse(path, HEADER_BYTES).header;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw diskError(error, path);
  }
}
