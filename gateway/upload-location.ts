import { randomInt } from 'node:crypto';
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import type { CreateUploadLocationRequest } from '../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { InvalidObjectUri } from '../storage/object-errors.ts';
import { joinObjectUri } from '../storage/object-uri.ts';
import { invalidArgument } from './errors.ts';
import { scope } from './identifiers.ts';

/** The longest a signed URL is valid; what is asked beyond is given as this (sdk-2.12.md #25). */
const MAX_EXPIRY_MS = 3_600_000;
const MD5_BYTES = 16;
/** The most one PUT can carry to S3. */
const MAX_UPLOAD_BYTES = 5n * 1024n ** 3n;
const NAME_ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
const NAME_LENGTH = 20;

/**
 * The object an upload goes to: `<uploads>/<project>/<domain>/<root>/<filename>`, where the root is what the client names for the files
 * of a directory, else the MD5 in base 32 (services.md §12.1). The URI is literal, so that a client can cut it at the root it named.
 * @throws StarlingError invalid_argument
 */
export function uploadUri(uploads: string, request: CreateUploadLocationRequest): string {
  const { project, domain } = scope(request.project, request.domain, 'request');
  const md5 = request.contentMd5;
  if (md5.length !== 0 && md5.length !== MD5_BYTES) {
    throw invalidArgument('content_md5', md5, `must be the ${MD5_BYTES} bytes of the MD5 of the content`);
  }
  if (md5.length === 0 && request.filenameRoot === '') {
    throw invalidArgument('content_md5', md5, 'must be given when there is no filename_root');
  }
  if (request.contentLength < 0n || request.contentLength > MAX_UPLOAD_BYTES) {
    throw invalidArgument('content_length', request.contentLength, `must be at most ${MAX_UPLOAD_BYTES} bytes`);
  }
  const root = segments(request.filenameRoot, 'filename_root');
  const file = segments(request.filename, 'filename');
  try {
    return joinObjectUri(
      uploads,
      project,
      domain,
      ...(root.length > 0 ? root : [base32(md5)]),
      ...(file.length > 0 ? file : [randomName()]),
    );
  } catch (error) {
    if (error instanceof InvalidObjectUri) throw invalidArgument('filename', request.filename, error.message);
    throw error;
  }
}

/** How long a signed URL is valid. @throws StarlingError invalid_argument for a time that is over at once */
export function expiryMs(expiresIn: Duration | undefined): number {
  if (expiresIn === undefined) return MAX_EXPIRY_MS;
  const wanted = durationMs(expiresIn);
  if (!(wanted > 0)) throw invalidArgument('expires_in', `${wanted} ms`, 'must be longer than nothing');
  return Math.min(wanted, MAX_EXPIRY_MS);
}

/** Slashes inside are folders; those at the ends are nothing. */
function segments(path: string, field: string): string[] {
  const trimmed = path.replace(/^\/+|\/+$/g, '');
  if (trimmed === '') return [];
  const parts = trimmed.split('/');
  if (parts.some(part => part === '' || part === '.' || part === '..')) {
    throw invalidArgument(field, path, 'must not hold empty, "." or ".." segments');
  }
  return parts;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 4648 with padding: a real MD5 gives 26 characters and `======`. */
function base32(bytes: Uint8Array): string {
  let bits = 0;
  let value = 0;
  let text = '';
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += BASE32[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  if (bits > 0) text += BASE32[(value << (5 - bits)) & 31];
  return text.padEnd(Math.ceil(text.length / 8) * 8, '=');
}

function randomName(): string {
  let name = '';
  for (let i = 0; i < NAME_LENGTH; i++) name += NAME_ALPHABET[randomInt(NAME_ALPHABET.length)];
  return name;
}
