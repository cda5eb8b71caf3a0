import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { gunzip, gunzipSync } from 'node:zlib';
import { Code, canceled, resourceExhausted, StarlingError } from '../errors.ts';

const gunzipAside = promisify(gunzip);

/** Below this many compressed bytes inflating here costs less than the way to the thread pool and back. */
const INFLATE_HERE_BYTES = 8 * 1024;
/** What may be inflated on the main thread: a bomb hits this at once and is then defused on the pool. */
const INFLATED_HERE_BYTES = 256 * 1024;

const tooLarge = (limitBytes: number): StarlingError =>
  resourceExhausted(`the request is larger than the ${limitBytes} bytes this gateway accepts; send less at once`);

/**
 * Reads a request body to its end.
 * @param declaredBytes content-length if the caller sent one; a larger body is refused before it is read
 * @throws StarlingError resource_exhausted (too large), deadline_exceeded (too slow), canceled (the caller went away)
 */
export function readBody(
  request: Readable,
  declaredBytes: number | undefined,
  limits: { readonly bodyBytes: number; readonly bodyTimeoutMs: number },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (declaredBytes !== undefined && declaredBytes > limits.bodyBytes) {
      reject(tooLarge(limits.bodyBytes));
      return;
    }
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => {
      const reason = `the body did not arrive within ${limits.bodyTimeoutMs} ms`;
      settle(() => reject(new StarlingError(Code.DeadlineExceeded, reason)));
    }, limits.bodyTimeoutMs);
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > limits.bodyBytes) settle(() => reject(tooLarge(limits.bodyBytes)));
      else chunks.push(chunk);
    };
    const onEnd = (): void => settle(() => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)));
    const onGone = (): void => settle(() => reject(canceled()));
    function settle(done: () => void): void {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      request.pause();
      done();
    }
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

/**
 * Undoes `content-encoding: gzip`. A body without the gzip magic is returned as it is: some HTTP layers keep the label after they
 * have inflated (services.md §2.2).
 * @throws StarlingError resource_exhausted (inflates beyond the limit), invalid_argument (broken or truncated)
 */
export async function inflate(body: Buffer, limitBytes: number): Promise<Buffer> {
  if (body.length < 2 || body[0] !== 0x1f || body[1] !== 0x8b) return body;
  try {
    if (body.length <= INFLATE_HERE_BYTES) {
      try {
        return gunzipSync(body, { maxOutputLength: Math.min(INFLATED_HERE_BYTES, limitBytes) });
      } catch (reason) {
        if (!exceeded(reason)) throw reason;
      }
    }
    return await gunzipAside(body, { maxOutputLength: limitBytes });
  } catch (reason) {
    if (exceeded(reason)) throw tooLarge(limitBytes);
    throw new StarlingError(Code.InvalidArgument, 'the body is labelled gzip but is broken or cut short');
  }
}

const exceeded = (reason: unknown): boolean => (reason as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
