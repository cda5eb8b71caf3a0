import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Message, Registry } from '@bufbuild/protobuf';
import { createConnectRouter, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { compressionGzip } from '@connectrpc/connect-node';
import type { Logger } from 'pino';
import { Code, StarlingError, toConnectError, unimplemented } from '../errors.ts';
import type { Call, Calls } from './call.ts';
import { room } from './connect-stream.ts';
import { parseConnectTimeout, parseGrpcTimeout } from './deadline.ts';
import type { Protocol } from './handler.ts';
import { type HttpExchange, peerOf, sendConnectError } from './http-exchange.ts';
import type { RpcMethod } from './method-table.ts';

/** Messages of a stream smaller than this are sent as they are: most updates are small, and compressing costs more than it saves. */
const COMPRESS_FROM_BYTES = 16 * 1024;

/** What the connect library does not carry from the request to the handler. */
interface Arrival {
  readonly exchange: HttpExchange;
  readonly at: number;
  readonly timeoutMs: number | undefined;
  call: Call | undefined;
}

const arrivalKey = createContextKey<Arrival | undefined>(undefined);

export interface ConnectAdapterOptions {
  readonly calls: Calls;
  readonly table: ReadonlyMap<string, RpcMethod>;
  readonly registry: Registry;
  readonly limits: { readonly bodyBytes: number; readonly bodyTimeoutMs: number };
  readonly log: Logger;
}

/**
 * Everything the fast paths leave: Connect GET, gRPC-Web, client streams, other encodings, and the refusals of wrong media types and methods.
 * The protocols are those of @connectrpc/connect; reading and writing is ours, because the library's own adapter to Node cannot parse
 * some Host headers, logs to the console, and ends the connection when it refuses a body half way.
 *
 * Timeouts are taken out of the headers and kept by the call, so that one clock rules in all protocols. A malformed one is left for the
 * library to refuse.
 */
export function createConnectAdapter({ calls, table, registry, limits, log }: ConnectAdapterOptions) {
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    compressMinBytes: COMPRESS_FROM_BYTES,
    readMaxBytes: limits.bodyBytes,
    jsonOptions: { registry },
  });
  // The types of the library tie each implementation to its method; here both come from the same table entry.
  for (const method of table.values()) router.rpc(method.desc, implementationOf(method) as never);
  const handlers = new Map<string, UniversalHandler>(router.handlers.map(handler => [handler.requestPath, handler]));

  function begin(method: RpcMethod, context: HandlerContext): Call {
    const arrival = context.values.get(arrivalKey)!;
    const timeoutMs =
      arrival.timeoutMs === undefined
        ? undefined
        : Math.max(0, Math.round(arrival.timeoutMs - (performance.now() - arrival.at)));
    const call = calls.begin(method, {
      protocol: context.protocolName as Protocol,
      headers: context.requestHeader,
      peer: peerOf(arrival.exchange),
      timeoutMs,
    });
    arrival.call = call;
    context.signal.addEventListener('abort', () => call.cancel());
    if (context.signal.aborted) call.cancel();
    return call;
  }

  async function answer(method: RpcMethod, request: Message, context: HandlerContext): Promise<Message> {
    const call = begin(method, context);
    try {
      const message = await call.answer(request);
      call.finish();
      return message;
    } catch (reason) {
      const error = call.failure(reason);
      call.finish(error);
      throw toConnectError(error);
    }
  }

  async function* answers(
    method: RpcMethod,
    request: Message | AsyncIterable<Message>,
    context: HandlerContext,
  ): AsyncGenerator<Message> {
    try {
      yield* begin(method, context).answers(request);
    } catch (reason) {
      throw toConnectError(reason as StarlingError);
    }
  }

  /** Methods that stream from the client only have no handlers; the refusal is counted like any other answer. */
  function refuse(method: RpcMethod, context: HandlerContext): never {
    const call = begin(method, context);
    const error = unimplemented(`${method.desc.parent.typeName}.${method.desc.name} is not served yet`);
    call.finish(error);
    throw toConnectError(error);
  }

  function implementationOf(method: RpcMethod) {
    switch (method.desc.methodKind) {
      case 'unary':
        return (request: Message, context: HandlerContext) => answer(method, request, context);
      case 'server_streaming':
        return (request: Message, context: HandlerContext) => answers(method, request, context);
      case 'client_streaming':
        return async (_: AsyncIterable<Message>, context: HandlerContext) => refuse(method, context);
      case 'bidi_streaming':
        return (requests: AsyncIterable<Message>, context: HandlerContext) => answers(method, requests, context);
    }
  }

  /** Serves one request for a path of the table. Never throws and never rejects. */
  return async function serve(exchange: HttpExchange): Promise<void> {
    const { request, response, path } = exchange;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      const { header, timeoutMs } = readHeaders(exchange);
      const arrival: Arrival = { exchange, at: performance.now(), timeoutMs, call: undefined };
      const answered = await handlers.get(path)!({
        httpVersion: request.httpVersion,
        method: request.method ?? '',
        url: `http://gateway${request.url}`,
        header,
        body: bodyOf(exchange, limits.bodyTimeoutMs),
        signal: gone.signal,
        contextValues: createContextValues().set(arrivalKey, arrival),
      });
      await write(answered, response, arrival, gone.signal);
    } catch (reason) {
      if (gone.signal.aborted) return;
      const requestId = randomUUID();
      const error = StarlingError.from(reason, requestId);
      if (error.unexpected) log.error({ err: error.cause, requestId, path }, 'the connect adapter failed');
      sendConnectError(exchange, error);
    }
  };
}

/** The request headers without the timeout, and the timeout. @throws StarlingError if a header cannot be represented */
function readHeaders({ request }: HttpExchange): { header: Headers; timeoutMs: number | undefined } {
  const header = new Headers();
  try {
    for (const [name, value] of Object.entries(request.headers)) {
      if (name.startsWith(':') || value === undefined) continue;
      for (const one of Array.isArray(value) ? value : [value]) header.append(name, one);
    }
  } catch {
    throw new StarlingError(Code.InvalidArgument, 'a request header holds characters that HTTP does not allow');
  }
  const grpc = header.get('content-type')?.startsWith('application/grpc');
  const name = grpc ? 'grpc-timeout' : 'connect-timeout-ms';
  header.delete(grpc ? 'connect-timeout-ms' : 'grpc-timeout');
  const given = header.get(name);
  const timeoutMs = given === null ? undefined : grpc ? parseGrpcTimeout(given) : parseConnectTimeout(given);
  if (timeoutMs !== undefined) header.delete(name);
  return { header, timeoutMs };
}

/** The body, chunk by chunk; a client that does not finish it in time loses its connection. */
async function* bodyOf({ request, stream }: HttpExchange, timeoutMs: number): AsyncGenerator<Uint8Array> {
  const cut = setTimeout(() => (stream ? stream.close() : request.destroy()), timeoutMs);
  try {
    // destroyOnReturn would take the connection along when the library refuses the rest of a body.
    yield* request.iterator({ destroyOnReturn: false });
  } finally {
    clearTimeout(cut);
  }
}

/**
 * Writes an answer and never more than the client takes: while its buffer is full, nothing is pulled from the handler. A deadline or
 * shutdown also ends that waiting; the last envelope then goes into the buffer and the connection waits for the client alone.
 */
async function write(
  answered: UniversalServerResponse,
  response: ServerResponse,
  arrival: Arrival,
  gone: AbortSignal,
): Promise<void> {
  response.writeHead(answered.status, plainHeaders(answered.header));
  response.flushHeaders();
  const chunks = answered.body?.[Symbol.asyncIterator]();
  try {
    for (let step = await chunks?.next(); step && !step.done; step = await chunks?.next()) {
      if (gone.aborted) return;
      if (!response.write(step.value)) await room(response, arrival.call?.signal ?? gone);
    }
    if (answered.trailer) response.addTrailers(plainHeaders(answered.trailer));
    response.end();
  } finally {
    // Lets the generators below run their `finally` when the client left in the middle.
    chunks?.return?.().catch(() => undefined);
  }
}

const plainHeaders = (headers: Headers | undefined): Record<string, string> =>
  Object.fromEntries(headers?.entries() ?? []);
