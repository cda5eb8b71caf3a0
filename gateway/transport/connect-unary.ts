import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { StarlingError } from '../errors.ts';
import { inflate, readBody } from './body.ts';
import type { Calls } from './call.ts';
import { connectTimeoutOf } from './deadline.ts';
import { type HttpExchange, headersOf, peerOf, sendConnectError } from './http-exchange.ts';
import type { CodecName, MessageCodec } from './message-codec.ts';
import type { RpcMethod } from './method-table.ts';

const gzipAside = promisify(gzip);

/** Answers smaller than this are not worth the CPU of compressing them. */
const COMPRESS_FROM_BYTES = 16 * 1024;

/** The codec of a Connect unary content type, or undefined when this is something else. */
function codecOf(contentType: string | undefined): CodecName | undefined {
  if (contentType === 'application/proto') return 'proto';
  if (contentType === 'application/json') return 'json';
  const bare = contentType?.replace(/;.*/, '').trim().toLowerCase();
  if (bare === 'application/proto') return 'proto';
  if (bare === 'application/json') return 'json';
  return undefined;
}

export interface ConnectUnaryOptions {
  readonly calls: Calls;
  readonly codec: MessageCodec;
  readonly limits: { readonly bodyBytes: number; readonly bodyTimeoutMs: number };
}

/**
 * The hot path: unary calls of the Connect protocol over HTTP/1.1 and HTTP/2, several times as fast as the general adapter
 * (libraries.md §7). The returned function returns undefined for a request it does not take; what it leaves (GET, streams, gRPC-Web, other encodings
 * and media types) belongs to the adapter.
 */
export function createConnectUnary({ calls, codec, limits }: ConnectUnaryOptions) {
  async function serve(method: RpcMethod, name: CodecName, zipped: boolean, exchange: HttpExchange): Promise<void> {
    const { request, response } = exchange;
    const { headers } = request;
    const timeout = connectTimeoutOf(headers['connect-timeout-ms']);
    const call = calls.begin(method, {
      protocol: 'connect',
      headers: headersOf(request),
      peer: peerOf(exchange),
      timeoutMs: timeout instanceof StarlingError ? undefined : timeout,
    });
    response.once('close', () => call.cancel());
    try {
      if (timeout instanceof StarlingError) throw timeout;
      const declared = headers['content-length'];
      const sent = await call.within(readBody(request, declared === undefined ? undefined : Number(declared), limits));
      const body = zipped ? await call.within(inflate(sent, limits.bodyBytes)) : sent;
      const bytes = codec.encode(method, name, await call.answer(codec.decode(method, name, body)));
      const zip = bytes.length >= COMPRESS_FROM_BYTES && /\bgzip\b/.test(headers['accept-encoding']?.toString() ?? '');
      const out = zip ? await call.within(gzipAside(bytes)) : bytes;
      response.writeHead(200, {
        'content-type': name === 'proto' ? 'application/proto' : 'application/json',
        'content-length': out.length,
        ...(zip ? { 'content-encoding': 'gzip' } : {}),
      });
      response.end(out);
      call.finish();
    } catch (reason) {
      const error = call.failure(reason);
      call.finish(error);
      sendConnectError(exchange, error);
    }
  }

  return function take(method: RpcMethod, exchange: HttpExchange): Promise<void> | undefined {
    const { request } = exchange;
    if (request.method !== 'POST' || method.desc.methodKind !== 'unary') return undefined;
    const { headers } = request;
    const name = codecOf(headers['content-type']);
    if (!name) return undefined;
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'gzip' && encoding !== 'identity') return undefined;
    return serve(method, name, encoding === 'gzip', exchange);
  };
}
