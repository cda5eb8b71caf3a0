/** The body of a request: received with a stall guard, decoded, and checked against every digest the client announced. */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Payload } from './authentication.ts';
import { decodeAwsChunked } from './aws-chunked.ts';
import { CHECKSUM_PREFIX, type Checksum, checksumFor } from './checksum.ts';
import { badRequest, S3Error } from './s3-error.ts';

/** A body that sends no byte for this long is given up with 400 RequestTimeout, which clients retry. */
export const DEFAULT_STALL_TIMEOUT_MS = 30_000;

/**
 * Yields the content. Ends normally only if everything announced holds: throws S3Error XAmzContentSHA256Mismatch, BadDigest,
 * IncompleteBody or RequestTimeout otherwise, always after the last byte at the latest, so a store that publishes at the end of the
 * stream never keeps a wrong body.
 */
export async function* receiveBody(
  req: IncomingMessage,
  payload: Payload,
  stallTimeoutMs: number,
): AsyncGenerator<Uint8Array> {
  const checks: Array<{ header: string; expected: string | undefined; checksum: Checksum }> = [];
  for (const [header, expected] of Object.entries(req.headers)) {
    if (
      header.startsWith(CHECKSUM_PREFIX) &&
      header !== 'x-amz-checksum-algorithm' &&
      header !== 'x-amz-checksum-type'
    ) {
      checks.push({ header, expected: String(expected), checksum: checksumFor(header) });
    }
  }
  const trailer = req.headers['x-amz-trailer'];
  if (payload.kind === 'chunked' && typeof trailer === 'string' && trailer.startsWith(CHECKSUM_PREFIX)) {
    checks.push({ header: trailer, expected: undefined, checksum: checksumFor(trailer) });
  }
  const sha256 = payload.kind === 'sha256' ? createHash('sha256') : undefined;
  let trailers: ReadonlyMap<string, string> = new Map();
  const raw = receive(req, stallTimeoutMs);
  const content =
    payload.kind === 'chunked'
      ? decodeAwsChunked(raw, payload.chain, received => {
          trailers = received;
        })
      : raw;
  let size = 0;
  for await (const chunk of content) {
    size += chunk.length;
    sha256?.update(chunk);
    for (const { checksum } of checks) checksum.update(chunk);
    yield chunk;
  }
  if (payload.kind === 'sha256' && sha256?.digest('hex') !== payload.hex) {
    throw new S3Error(
      400,
      'XAmzContentSHA256Mismatch',
      'the body does not have the SHA-256 that x-amz-content-sha256 announces',
    );
  }
  const decodedLength = req.headers['x-amz-decoded-content-length'];
  if (payload.kind === 'chunked' && decodedLength !== undefined && Number(decodedLength) !== size) {
    throw new S3Error(
      400,
      'IncompleteBody',
      `the body has ${size} bytes, x-amz-decoded-content-length says ${decodedLength}`,
    );
  }
  for (const { header, expected, checksum } of checks) {
    if (checksum.value() !== (expected ?? trailers.get(header))) {
      throw new S3Error(400, 'BadDigest', `the body does not have the checksum that ${header} announces`);
    }
  }
}

/** The bytes of the Content-MD5 header. Throws S3Error InvalidDigest when it is no base64 of 16 bytes. */
export function contentMd5Of(headers: IncomingHttpHeaders): Buffer | undefined {
  const text = headers['content-md5'];
  if (text === undefined) return undefined;
  const md5 = Buffer.from(String(text), 'base64');
  if (md5.length !== 16) throw new S3Error(400, 'InvalidDigest', 'Content-MD5 must be the base64 of 16 bytes');
  return md5;
}

/** The whole body as text, for the XML of completions and batch deletions. Throws S3Error MalformedXML above maxBytes, BadDigest. */
export async function readText(
  body: AsyncIterable<Uint8Array>,
  headers: IncomingHttpHeaders,
  maxBytes: number,
): Promise<string> {
  const md5 = contentMd5Of(headers);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes)
      throw new S3Error(400, 'MalformedXML', `the request document is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (md5 && !createHash('md5').update(bytes).digest().equals(md5)) {
    throw new S3Error(400, 'BadDigest', 'the body does not have the MD5 that Content-MD5 announces');
  }
  return bytes.toString('utf8');
}

/** Leaves the request alone when it stops early: the connection is still needed for the answer. */
async function* receive(req: IncomingMessage, stallTimeoutMs: number): AsyncGenerator<Uint8Array> {
  const chunks = req.iterator({ destroyOnReturn: false });
  for (;;) {
    const next = await beforeStall(chunks.next(), stallTimeoutMs);
    if (next.done) break;
    yield next.value as Uint8Array;
  }
  if (!req.complete) throw badRequest('the connection ended before the body did');
}

async function beforeStall<T>(next: Promise<T>, stallTimeoutMs: number): Promise<T> {
  const { promise: stalled, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    next.catch(() => {});
    reject(
      new S3Error(400, 'RequestTimeout', `no byte of the body arrived for ${stallTimeoutMs / 1000} s; send it again`),
    );
  }, stallTimeoutMs);
  try {
    return await Promise.race([next, stalled]);
  } finally {
    clearTimeout(timer);
  }
}
