/**
 * The `aws-chunked` body coding: chunks of `<hex size>[;chunk-signature=<hex>]CRLF <data> CRLF`, a last one of size 0, then trailer lines
 * and an empty line. Signed chunks form a chain: each signature covers the one before, so none can be dropped, repeated or moved.
 */
import { createHash } from 'node:crypto';
import { EMPTY_SHA256, scopeText, sha256Hex, signText } from '../sigv4.ts';
import type { ChunkChain } from './authentication.ts';
import { badRequest, S3Error } from './s3-error.ts';

const MAX_LINE_BYTES = 4096;
const MAX_TRAILERS = 16;

/** Yields the decoded content; when it is complete, calls `onTrailers` with names in lower case. Throws S3Error 400 or 403. */
export async function* decodeAwsChunked(
  raw: AsyncIterable<Uint8Array>,
  chain: ChunkChain | undefined,
  onTrailers: (trailers: ReadonlyMap<string, string>) => void,
): AsyncGenerator<Uint8Array> {
  const reader = new Reader(raw);
  let previous = chain?.seed ?? '';
  for (;;) {
    const header = /^([0-9a-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(await reader.line());
    if (!header) throw badRequest('the body is not aws-chunked: a chunk header is expected');
    const size = Number.parseInt(header[1]!, 16);
    const hash = chain && createHash('sha256');
    for await (const piece of reader.take(size)) {
      hash?.update(piece);
      yield piece;
    }
    if (chain && hash) {
      const text = [
        'AWS4-HMAC-SHA256-PAYLOAD',
        chain.at,
        scopeText(chain.scope),
        previous,
        EMPTY_SHA256,
        hash.digest('hex'),
      ];
      previous = signText(chain.key, text.join('\n'));
      if (header[2] !== previous)
        throw new S3Error(403, 'SignatureDoesNotMatch', 'the signature of a chunk does not match its content');
    }
    if (size === 0) break;
    if ((await reader.line()) !== '')
      throw badRequest('the body is not aws-chunked: a chunk is longer than its header says');
  }
  const trailers = await readTrailers(reader);
  const signed = trailers.get('x-amz-trailer-signature');
  trailers.delete('x-amz-trailer-signature');
  if (chain && trailers.size > 0) {
    const canonical = [...trailers].map(([name, value]) => `${name}:${value}\n`).join('');
    const text = ['AWS4-HMAC-SHA256-TRAILER', chain.at, scopeText(chain.scope), previous, sha256Hex(canonical)];
    if (signed !== signText(chain.key, text.join('\n'))) {
      throw new S3Error(403, 'SignatureDoesNotMatch', 'the signature of the trailer does not match');
    }
  }
  onTrailers(trailers);
}

async function readTrailers(reader: Reader): Promise<Map<string, string>> {
  const trailers = new Map<string, string>();
  for (let line = await reader.line({ mayEnd: true }); line !== ''; line = await reader.line({ mayEnd: true })) {
    const colon = line.indexOf(':');
    if (colon < 1 || trailers.size === MAX_TRAILERS)
      throw badRequest('the trailer of the aws-chunked body is malformed');
    trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return trailers;
}

/** Lines and byte counts out of a stream of arbitrary pieces. */
class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  #buffer: Buffer = Buffer.alloc(0);
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async line({ mayEnd = false } = {}): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#buffer.toString('latin1', 0, end);
        this.#buffer = this.#buffer.subarray(end + 2);
        return line;
      }
      if (this.#buffer.length > MAX_LINE_BYTES) throw badRequest('the body is not aws-chunked: a line is too long');
      if (!(await this.#fill())) {
        if (mayEnd && this.#buffer.length === 0) return '';
        throw incomplete();
      }
    }
  }

  async *take(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0; ) {
      if (this.#buffer.length === 0 && !(await this.#fill())) throw incomplete();
      const piece = this.#buffer.subarray(0, left);
      this.#buffer = this.#buffer.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async #fill(): Promise<boolean> {
    if (this.#ended) return false;
    const { value, done } = await this.#source.next();
    if (done) {
      this.#ended = true;
      return false;
    }
    this.#buffer =
      this.#buffer.length === 0
        ? Buffer.from(value.buffer, value.byteOffset, value.length)
        : Buffer.concat([this.#buffer, value]);
    return true;
  }
}

const incomplete = (): S3Error => new S3Error(400, 'IncompleteBody', 'the aws-chunked body ends too early');
