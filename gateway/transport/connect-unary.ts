import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { fromBinary, fromJsonString, type Message, type Registry, toBinary, toJsonString } from '@bufbuild/protobuf';
import { Code, StarlingError } from '../errors.ts';
import { inflate, readBody } from './body.ts';
import type { Calls } from './call.ts';
import { parseConnectTimeout } from './deadline.ts';
import { type HttpExchange, peerOf, sendConnectError } from './http-exchange.ts';
import type { RpcMethod } from './method-table.ts';

const gzipAside = promisify(gzip);

/** Answers smaller than this are not worth the CPU of compressing them. */
const COMPRESS_FROM_BYTES = 16 * 1024;

type Codec = 'proto' | 'json';

/** The codec of a Connect unary content type, or undefined when this is something else. */
function codecOf(contentType: string | undefined): Codec | undefined {
  if (contentType === 'application/proto') return 'proto';
  if (contentType === 'application/json') return 'json';
  const bare = contentType?.replace(/;.*/, '').trim().toLowerCase();
  if (bare === 'application/proto') return 'proto';
  if (bare === 'application/json') return 'json';
  return undefined;
}

/** Milliseconds of a connect-timeout-ms header, or what is wrong with it. */
function timeoutOf(header: string | string[] | undefined): number | undefined | StarlingError {
  if (header === undefined) return undefined;
  return (
    parseConnectTimeout(header.toString()) ??
    new StarlingError(
      Code.InvalidArgument,
      'connect-timeout-ms must be a whole number of milliseconds of at most 10 digits',
    )
  );
}

export interface ConnectUnaryOptions {
  readonly calls: Calls;
  readonly registry: Registry;
  readonly limits: { readonly bodyBytes: number; readonly bodyTimeoutMs: number };
}

/**
 * The hot path: unary calls of the Connect protocol over HTTP/1.1 and HTTP/2, several times as fast as the general adapter
 * (libraries.md §7). The returned function says whether it took the request; what it leaves (GET, streams, gRPC-Web, other encodings
 * and media types) belongs to the adapter.
 */
export function createConnectUnary({ calls, registry, limits }: ConnectUnaryOptions) {
  const jsonRead = { registry, ignoreUnknownFields: true };
  const jsonWrite = { registry };

  function decode(method: RpcMethod, codec: Codec, body: Buffer): Message {
    try {
      return codec === 'proto'
        ? fromBinary(method.desc.input, body)
        : fromJsonString(method.desc.input, body.toString('utf8'), jsonRead);
    } catch (reason) {
      const why = reason instanceof Error ? `: ${reason.message}` : '';
      throw new StarlingError(
        Code.InvalidArgument,
        `the body is not a ${method.desc.input.typeName} in ${codec}${why}`,
      );
    }
  }

  const encode = (method: RpcMethod, codec: Codec, message: Message): Uint8Array =>
    codec === 'proto'
      ? toBinary(method.desc.output, message)
      : Buffer.from(toJsonString(method.desc.output, message, jsonWrite));

  async function serve(method: RpcMethod, codec: Codec, zipped: boolean, exchange: HttpExchange): Promise<void> {
    const { request, response } = exchange;
    const { headers } = request;
    const timeout = timeoutOf(headers['connect-timeout-ms']);
    const call = calls.begin(method, {
      protocol: 'connect',
      headers: { get: name => headers[name.toLowerCase()]?.toString() ?? null },
      peer: peerOf(exchange),
      timeoutMs: timeout instanceof StarlingError ? undefined : timeout,
    });
    response.once('close', () => call.cancel());
    try {
      if (timeout instanceof StarlingError) throw timeout;
      const declared = headers['content-length'];
      const sent = await call.within(readBody(request, declared === undefined ? undefined : Number(declared), limits));
      const body = zipped ? await call.within(inflate(sent, limits.bodyBytes)) : sent;
      const bytes = encode(method, codec, await call.answer(decode(method, codec, body)));
      const zip = bytes.length >= COMPRESS_FROM_BYTES && /\bgzip\b/.test(headers['accept-encoding']?.toString() ?? '');
      const out = zip ? await call.within(gzipAside(bytes)) : bytes;
      response.writeHead(200, {
        'content-type': codec === 'proto' ? 'application/proto' : 'application/json',
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

  return function take(method: RpcMethod, exchange: HttpExchange): boolean {
    const { request } = exchange;
    if (request.method !== 'POST' || method.desc.methodKind !== 'unary') return false;
    const { headers } = request;
    const codec = codecOf(headers['content-type']);
    if (!codec) return false;
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'gzip' && encoding !== 'identity') return false;
    void serve(method, codec, encoding === 'gzip', exchange);
    return true;
  };
}
