/** Reads keys back from the directory tree in UTF-8 byte order, one directory in memory at a time and level. */
import { readdir } from 'node:fs/promises';
import { disk, errnoOf } from './disk-errors.ts';
import { type DecodedName, decodeName, folderPath } from './key-path.ts';

/** Found under a bucket directory: an object file, or (with rollUp) a folder that has at least one object behind `after`. */
export interface Found {
  readonly kind: 'object' | 'folder';
  readonly binaryKey: string;
  readonly path: string;
}

export interface WalkOptions {
  /** Only keys that start with this. */
  readonly prefix: string;
  /** Only keys behind this. */
  readonly after: string;
  /** Do not enter folders behind the prefix, name them. */
  readonly rollUp: boolean;
}

interface Level {
  readonly path: string;
  readonly base: string;
  readonly entries: readonly DecodedEntry[];
  next: number;
}

interface DecodedEntry extends DecodedName {
  readonly name: string;
}

/** `bucketPath` ends with a slash. All strings of keys are binary (key-path.ts). */
export async function* walk(bucketPath: string, { prefix, after, rollUp }: WalkOptions): AsyncGenerator<Found> {
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  const levels: Level[] = [await readLevel(`${bucketPath}${folderPath(base)}`, base)];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const entry = level.entries[level.next++];
    if (entry === undefined) {
      levels.pop();
      continue;
    }
    const key = level.base + entry.binary;
    const path = `${level.path}${entry.name}`;
    if (entry.kind === 'object') {
      if (key > after && key.startsWith(prefix)) yield { kind: 'object', binaryKey: key, path };
      continue;
    }
    const related = key.startsWith(prefix) || prefix.startsWith(key);
    const allBefore = key < after && !after.startsWith(key);
    if (!related || allBefore) continue;
    if (rollUp && entry.kind === 'folder' && key.startsWith(prefix)) {
      if (await holdsAny(`${path}/`, key, after)) yield { kind: 'folder', binaryKey: key, path };
      continue;
    }
    levels.push(await readLevel(`${path}/`, key));
  }
}

async function holdsAny(path: string, key: string, after: string): Promise<boolean> {
  for (const entry of (await readLevel(path, key)).entries) {
    const inner = key + entry.binary;
    if (entry.kind === 'object') {
      if (inner > after) return true;
    } else if (inner > after || after.startsWith(inner)) {
      if (await holdsAny(`${path}${entry.name}/`, inner, after)) return true;
    }
  }
  return false;
}

async function readLevel(path: string, base: string): Promise<Level> {
  const entries: DecodedEntry[] = [];
  for (const entry of await namesIn(path)) {
    const decoded = decodeName(entry.name, entry.isDirectory());
    if (decoded) entries.push({ ...decoded, name: entry.name });
  }
  entries.sort((a, b) => (a.binary < b.binary ? -1 : 1));
  return { path, base, entries, next: 0 };
}

async function namesIn(path: string): Promise<Array<{ name: string; isDirectory(): boolean }>> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    return disk(Promise.reject(error), path);
  }
}
