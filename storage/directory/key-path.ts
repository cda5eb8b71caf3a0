/**
 * Where a key lives below a bucket's directory. The mapping is one to one, cannot leave the directory, and keeps listings in order:
 *
 * - a segment becomes a directory, the last one a file whose name ends with `@`, so `a` and `a/b` live side by side;
 * - lower-case letters, digits and `-_=.` stay; an upper-case letter becomes `+` and its lower case, every other byte (and a leading
 *   dot) `%hh`: case-folding or Unicode-normalising file systems cannot mix up two keys, and no name can be `.` or `..`;
 * - a segment of 80 bytes or more is cut after every 80 bytes; each cut piece is a directory ending with `!`, so that no file name
 *   passes 255 bytes. Because *every* segment that long is cut, all keys sharing the piece lie below it, which keeps listings sorted.
 *
 * Keys are handled as binary strings (one char per UTF-8 byte), whose comparison is the byte order that S3 listings promise.
 */
const PIECE_BYTES = 80;
const OBJECT_MARK = '@';
const PIECE_MARK = '!';
const EMPTY_NAME = '~';

export const toBinary = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
export const fromBinary = (binary: string): string => Buffer.from(binary, 'latin1').toString('utf8');

/** Path of the object file of a key, relative to its bucket, with `/` between names. */
export function objectPath(binaryKey: string): string {
  const cut = binaryKey.lastIndexOf('/');
  return `${folderPath(binaryKey.slice(0, cut + 1))}${names(binaryKey.slice(cut + 1)).join('/')}${OBJECT_MARK}`;
}

/** Path of the directory of a binary key prefix that is empty or ends with a slash; itself empty or ending with a slash. */
export function folderPath(binaryFolder: string): string {
  if (binaryFolder === '') return '';
  return `${binaryFolder.slice(0, -1).split('/').flatMap(names).join('/')}/`;
}

export interface DecodedName {
  readonly kind: 'object' | 'folder' | 'piece';
  /** What the name adds to the key: `seg` for objects and pieces, `seg/` for folders. */
  readonly binary: string;
}

/** Reads a directory entry back; undefined for anything this store did not write. */
export function decodeName(name: string, isDirectory: boolean): DecodedName | undefined {
  const mark = name.at(-1);
  if (!isDirectory) {
    const binary = mark === OBJECT_MARK ? decode(name.slice(0, -1)) : undefined;
    return binary === undefined ? undefined : { kind: 'object', binary };
  }
  if (mark === PIECE_MARK) {
    const binary = decode(name.slice(0, -1));
    return binary === undefined ? undefined : { kind: 'piece', binary };
  }
  const binary = decode(name);
  return binary === undefined ? undefined : { kind: 'folder', binary: `${binary}/` };
}

function names(segment: string): string[] {
  const result: string[] = [];
  let rest = segment;
  while (rest.length >= PIECE_BYTES) {
    result.push(`${encode(rest.slice(0, PIECE_BYTES))}${PIECE_MARK}`);
    rest = rest.slice(PIECE_BYTES);
  }
  result.push(encode(rest));
  return result;
}

function encode(binary: string): string {
  if (binary === '') return EMPTY_NAME;
  return binary.replace(/^\.|[^a-z0-9._=-]/g, c =>
    c >= 'A' && c <= 'Z' ? `+${c.toLowerCase()}` : `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

function decode(name: string): string | undefined {
  if (name === EMPTY_NAME) return '';
  if (!/^(?:[a-z0-9_=-]|%[0-9a-f]{2}|\+[a-z])(?:[a-z0-9._=-]|%[0-9a-f]{2}|\+[a-z])*$/.test(name)) return undefined;
  return name.replace(/%(..)|\+(.)/g, (_, hex?: string, letter?: string) =>
    hex === undefined ? letter!.toUpperCase() : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
