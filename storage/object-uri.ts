import { InvalidObjectUri } from './object-errors.ts';

/** Where an object lives. The key is literal: nothing in it is percent-encoded, `?`, `#` and spaces are ordinary characters. */
export interface ObjectLocation {
  readonly bucket: string;
  readonly key: string;
}

const SCHEME = 's3://';
const MAX_KEY_BYTES = 1024;
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
// Control characters, the two code points no XML 1.0 document may carry (a listing could not show such a key), and the last code point,
// which listings use as "behind everything in this folder".
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\ufffe\uffff\u{10ffff}]/u;

/**
 * Splits `s3://bucket/key`. Rules from services.md §13.1 and sdk.md §6.3: no empty, `.` or `..` segments (some clients cannot list
 * them, and they must never climb out of a prefix), no control characters, at most 1024 bytes of UTF-8.
 * Throws InvalidObjectUri.
 */
export function parseObjectUri(uri: string): ObjectLocation {
  const { bucket, key } = split(uri);
  checkKey(uri, key);
  return { bucket, key };
}

/** The URI of an object; throws InvalidObjectUri when bucket or key break the rules of parseObjectUri. */
export function formatObjectUri({ bucket, key }: ObjectLocation): string {
  return `${SCHEME}${bucket}/${parseObjectUri(`${SCHEME}${bucket}/${key}`).key}`;
}

/**
 * Splits a prefix URI for listing: `s3://bucket`, `s3://bucket/` (everything) or `s3://bucket/any/pre` where the last segment may be
 * empty or partial, as in S3. Throws InvalidObjectUri.
 */
export function parseObjectPrefix(uri: string): ObjectLocation {
  const { bucket, key } = split(uri);
  const folder = key.endsWith('/') ? key.slice(0, -1) : key;
  if (key !== '') checkKey(uri, folder, { lastMayBeDots: !key.endsWith('/') });
  return { bucket, key };
}

/** Joins literal segments below a base URI: `joinObjectUri('s3://b/runs', 'a0', '1')` is `s3://b/runs/a0/1`. Throws InvalidObjectUri. */
export function joinObjectUri(base: string, ...segments: string[]): string {
  const uri = [base.endsWith('/') ? base.slice(0, -1) : base, ...segments].join('/');
  parseObjectUri(uri);
  return uri;
}

function split(uri: string): ObjectLocation {
  if (!uri.startsWith(SCHEME)) throw new InvalidObjectUri(uri, `must start with ${SCHEME}`);
  const slash = uri.indexOf('/', SCHEME.length);
  const bucket = slash < 0 ? uri.slice(SCHEME.length) : uri.slice(SCHEME.length, slash);
  if (!BUCKET.test(bucket) || bucket.includes('..')) {
    throw new InvalidObjectUri(uri, 'needs a bucket of 3 to 63 lower-case letters, digits, dots and hyphens');
  }
  return { bucket, key: slash < 0 ? '' : uri.slice(slash + 1) };
}

function checkKey(uri: string, key: string, options: { lastMayBeDots?: boolean } = {}): void {
  if (key === '') throw new InvalidObjectUri(uri, 'has no key after the bucket');
  if (Buffer.byteLength(key) > MAX_KEY_BYTES)
    throw new InvalidObjectUri(uri, `has a key of more than ${MAX_KEY_BYTES} bytes`);
  if (FORBIDDEN.test(key)) throw new InvalidObjectUri(uri, 'contains a control character or a noncharacter; remove it');
  if (!key.isWellFormed()) throw new InvalidObjectUri(uri, 'is not well-formed Unicode');
  const segments = key.split('/');
  if (options.lastMayBeDots) segments.pop();
  for (const segment of segments) {
    if (segment === '')
      throw new InvalidObjectUri(uri, 'contains an empty segment; write single slashes only, none at the end');
    if (segment === '.' || segment === '..')
      throw new InvalidObjectUri(uri, `contains the segment "${segment}"; remove it`);
  }
}
