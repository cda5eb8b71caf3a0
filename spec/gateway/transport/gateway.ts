import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pino } from 'pino';
import type { FinishedRequest } from '../../../gateway/transport/call.ts';
import type { ServiceImplementation } from '../../../gateway/transport/handler.ts';
import { createGatewayServer, type GatewayLimits, type GatewayServer } from '../../../gateway/transport/server.ts';

/** A gateway on a free port of the loopback, with what it logged and counted. */
export interface TestGateway {
  readonly server: GatewayServer;
  readonly port: number;
  readonly logged: Record<string, unknown>[];
  readonly finished: FinishedRequest[];
}

const open: GatewayServer[] = [];

export async function startGateway(
  services: readonly ServiceImplementation[],
  options: { limits?: Partial<GatewayLimits>; fallback?: RequestListener } = {},
): Promise<TestGateway> {
  const logged: Record<string, unknown>[] = [];
  const finished: FinishedRequest[] = [];
  const server = createGatewayServer({
    services,
    fallback: options.fallback ?? ((_, response) => response.writeHead(404).end('no page')),
    limits: options.limits ?? {},
    log: pino({ level: 'debug' }, { write: line => logged.push(JSON.parse(line)) }),
    metrics: { onRequest: request => finished.push(request) },
  });
  open.push(server);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  return { server, port, logged, finished };
}

/** For `afterEach`: closes every gateway a test started. */
export async function closeGateways(): Promise<void> {
  await Promise.all(open.splice(0).map(server => server.close({ graceMs: 0 })));
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: () => { code: string; message: string };
}

/** One HTTP/1.1 request on a connection of its own. */
export async function send(
  port: number,
  path: string,
  headers: Record<string, string>,
  body: Uint8Array | string = '',
  method = 'POST',
): Promise<Answer> {
  const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent: false });
  request.end(body);
  const [response] = await once(request, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return {
    status: response.statusCode,
    headers: response.headers,
    body: bytes,
    json: () => JSON.parse(bytes.toString()),
  };
}

/** A bare connection that collects what it hears. */
export interface Wire {
  readonly socket: Socket;
  heard(): string;
  /** Resolves when the other side closed. */
  readonly closed: Promise<unknown>;
}

export async function wire(port: number, allowHalfOpen = false): Promise<Wire> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen });
  let text = '';
  socket.on('data', chunk => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  const closed = new Promise(resolve => socket.once('close', resolve));
  await once(socket, 'connect');
  return { socket, heard: () => text, closed };
}

/** Waits until `condition` holds; gives up, naming it, after five seconds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const giveUpAt = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > giveUpAt) throw new Error(`never happened: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

/** One envelope of a Connect stream: a flag, a length, the bytes. */
export function envelope(bytes: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** The envelopes in what a Connect stream sent. */
export function envelopes(bytes: Buffer): { flag: number; data: Buffer }[] {
  const parts: { flag: number; data: Buffer }[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    parts.push({ flag: bytes[at]!, data: bytes.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return parts;
}
