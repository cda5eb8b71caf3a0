import { createServer as createHttp1Server, type RequestListener, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  Http2ServerRequest,
  Http2ServerResponse,
  type Http2Session,
} from 'node:http2';
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { contractRegistry, contractServices } from '../../proto/contract.ts';
import { unimplemented } from '../errors.ts';
import { Calls, type GatewayMetrics } from './call.ts';
import { createConnectAdapter } from './connect-adapter.ts';
import { createConnectStream } from './connect-stream.ts';
import { createConnectUnary } from './connect-unary.ts';
import { onFirstBytes } from './first-bytes.ts';
import { createGrpcBridge } from './grpc-bridge.ts';
import type { ServiceImplementation } from './handler.ts';
import { createHealthService } from './health.ts';
import { type HttpExchange, httpExchange, sendConnectError } from './http-exchange.ts';
import { createHttp2Fallback } from './http2-fallback.ts';
import { createMessageCodec } from './message-codec.ts';
import { methodTable } from './method-table.ts';
import { createReflectionService } from './reflection.ts';
import { createRequestValidator } from './validation.ts';

/** Bounds on what one client can make us hold. All have defaults. */
export interface GatewayLimits {
  /** Largest request message, compressed or inflated. @default 32 MiB */
  readonly bodyBytes: number;
  /** How long the body of an RPC may take to arrive. @default 120,000 */
  readonly bodyTimeoutMs: number;
  /** How long a new connection may take to send its first bytes, and a request its headers. @default 60,000 */
  readonly headersTimeoutMs: number;
  /** How long an idle connection is kept. The SDK reuses connections for 90 s, so it must be more (sdk.md §1.1). @default 120,000 */
  readonly keepAliveTimeoutMs: number;
  /** RPCs at once on one HTTP/2 connection. @default 1,000 */
  readonly streamsPerConnection: number;
}

export const DEFAULT_LIMITS: GatewayLimits = Object.freeze({
  bodyBytes: 32 * 1024 * 1024,
  bodyTimeoutMs: 120_000,
  headersTimeoutMs: 60_000,
  keepAliveTimeoutMs: 120_000,
  streamsPerConnection: 1_000,
});

export interface GatewayServerOptions {
  /** Services with handlers. Those of the contract that are missing answer `unimplemented`. */
  readonly services: readonly ServiceImplementation[];
  /** Serves every path that is no RPC: console, metrics, uploads. An Express application will do, over HTTP/2 as well. */
  readonly fallback: RequestListener;
  readonly limits?: Partial<GatewayLimits>;
  readonly log: Logger;
  readonly metrics?: GatewayMetrics;
}

export interface GatewayServer {
  /** @throws the error of the socket, e.g. EADDRINUSE */
  listen(at: { readonly host: string; readonly port: number }): Promise<AddressInfo>;
  /**
   * Stops accepting, ends streams with `unavailable`, lets unary calls and plain HTTP finish for `graceMs`, then cuts what is left.
   * Resolves when the last connection is gone. Calling it again waits for the same end.
   */
  close(how: { readonly graceMs: number }): Promise<void>;
  /** Undefined before `listen`. */
  readonly address: AddressInfo | undefined;
  /** What gRPC health answers; true from the start, false from `close` on. */
  setServing(serving: boolean): void;
}

const RPC_PATH = /^\/[\w.]+\.\w+\/\w+$/;
const RPC_CONTENT_TYPE = /^application\/(proto|json|connect\+|grpc)/;
const PURE_GRPC = /^application\/grpc(\+proto)?$/;

/**
 * One port for everything: HTTP/1.1 and cleartext HTTP/2; Connect, gRPC, gRPC-Web and plain HTTP.
 *
 * The way of a connection: first bytes → HTTP/1.1 or HTTP/2. The way of a request: gRPC streams of HTTP/2 → grpc-js; paths of the
 * method table → the fast paths for Connect unary and streams, else the Connect adapter; anything else → the fallback. Routing is by request, not by
 * connection, because an ingress mixes protocols on one.
 */
export function createGatewayServer(options: GatewayServerOptions): GatewayServer {
  const limits: GatewayLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const { log, fallback } = options;
  const health = createHealthService(contractServices.map(service => service.typeName));
  const reflection = createReflectionService([...contractServices, health.implementation.service]);
  const table = methodTable([...options.services, health.implementation, reflection], contractServices);
  const calls = new Calls({ validate: createRequestValidator(), log, metrics: options.metrics });
  const codec = createMessageCodec(contractRegistry);
  const takeUnary = createConnectUnary({ calls, codec, limits });
  const takeStream = createConnectStream({ calls, codec, limits });
  const serveConnect = createConnectAdapter({ calls, table, registry: contractRegistry, limits, log });
  const grpc = createGrpcBridge({ calls, table, limits, log });
  const http2Fallback = createHttp2Fallback(fallback);

  const sockets = new Set<Socket>();
  const silent = new Set<Socket>();
  const sessions = new Set<Http2Session>();
  /** Answers under way over HTTP/1.1. While closing, each is the last of its connection; HTTP/2 says so with GOAWAY. */
  const responses = new Set<ServerResponse>();
  let closing: Promise<void> | undefined;

  function route(exchange: HttpExchange): void {
    const { request, response, stream, path } = exchange;
    if (!stream) {
      responses.add(response);
      response.once('close', () => responses.delete(response));
      if (closing) response.shouldKeepAlive = false;
    }
    const method = table.get(path);
    if (method) {
      const served = takeUnary(method, exchange) ?? takeStream(method, exchange) ?? serveConnect(exchange);
      served.catch(reason => broken(exchange, reason));
    } else if (
      request.method === 'POST' &&
      RPC_CONTENT_TYPE.test(request.headers['content-type'] ?? '') &&
      RPC_PATH.test(path)
    ) {
      sendConnectError(exchange, unimplemented(`there is no method ${path.slice(1)}`), 404);
    } else if (stream) {
      http2Fallback(exchange);
    } else {
      try {
        fallback(request, response);
      } catch (reason) {
        broken(exchange, reason);
      }
    }
  }

  /** Something threw past its own handling of errors. Only this request pays for it. */
  function broken({ request, response, path }: HttpExchange, reason: unknown): void {
    log.error({ err: reason, path, method: request.method }, 'serving a request failed');
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end();
  }

  const http1 = createHttp1Server({
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    headersTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: Math.min(30_000, limits.headersTimeoutMs),
    // Bodies of RPCs have their own clock; an upload through the fallback may take as long as it moves.
    requestTimeout: 0,
  });
  http1.on('request', (request, response) => route(httpExchange(request, response)));
  // Node starts its watch over slow headers when a server listens. Ours never does: connections are handed to it.
  http1.emit('listening');

  const http2 = createHttp2Server({
    settings: { maxConcurrentStreams: limits.streamsPerConnection, initialWindowSize: 1024 * 1024 },
  });
  http2.on('session', session => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.setTimeout(limits.keepAliveTimeoutMs, () => {
      if (!streamsOf(session)) session.close();
    });
  });
  const openStreams = new WeakMap<Http2Session, number>();
  const streamsOf = (session: Http2Session): number => openStreams.get(session) ?? 0;
  http2.on('stream', (stream, headers, _flags, rawHeaders) => {
    stream.on('error', () => undefined);
    const { session } = stream;
    if (session) {
      openStreams.set(session, streamsOf(session) + 1);
      stream.once('close', () => openStreams.set(session, streamsOf(session) - 1));
    }
    if (PURE_GRPC.test(headers['content-type'] ?? '')) {
      grpc.serve(stream, headers);
      return;
    }
    const request = new Http2ServerRequest(stream, headers, {}, rawHeaders);
    route(httpExchange(request, new Http2ServerResponse(stream)));
  });

  const net = createNetServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }, socket => {
    sockets.add(socket);
    silent.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      sockets.delete(socket);
      silent.delete(socket);
    });
    onFirstBytes(socket, limits.headersTimeoutMs, isHttp2 => {
      silent.delete(socket);
      (isHttp2 ? http2 : http1).emit('connection', socket);
    });
  });

  async function drain(graceMs: number): Promise<void> {
    health.setServing(false);
    const closed = new Promise<void>(resolve => net.close(() => resolve()));
    calls.endStreams();
    for (const socket of silent) socket.destroy();
    for (const session of sessions) session.close();
    for (const response of responses) response.shouldKeepAlive = false;
    http1.closeIdleConnections();
    const cut = setTimeout(() => {
      calls.endAll();
      // The last answers are on their way; a turn of the loop lets them reach the sockets.
      setImmediate(() => {
        for (const session of sessions) session.destroy();
        for (const socket of sockets) socket.destroySoon();
        setTimeout(() => {
          for (const socket of sockets) socket.destroy();
        }, LAST_BYTES_MS);
      });
    }, graceMs);
    await closed;
    clearTimeout(cut);
    http1.close(() => undefined);
    grpc.close();
  }

  return {
    async listen({ host, port }) {
      await new Promise<void>((resolve, reject) => {
        net.once('error', reject);
        net.listen({ host, port }, () => {
          net.off('error', reject);
          resolve();
        });
      });
      return net.address() as AddressInfo;
    },
    close({ graceMs }) {
      closing ??= drain(graceMs);
      return closing;
    },
    get address() {
      return (net.address() as AddressInfo | null) ?? undefined;
    },
    setServing: health.setServing,
  };
}

/** How long a socket may take to deliver what it holds after the grace period. */
const LAST_BYTES_MS = 200;
