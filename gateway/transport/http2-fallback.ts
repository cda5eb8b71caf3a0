import { createServer, request as httpRequest, type RequestListener } from 'node:http';
import type { OutgoingHttpHeaders } from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import type { HttpExchange } from './http-exchange.ts';

/** Headers that belong to one connection and must not cross to the other side. */
const CONNECTION_HEADERS = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te'];

/**
 * Plain HTTP over HTTP/2. Express swaps the prototype of its requests for that of HTTP/1.1, so an HTTP/2 request must become one
 * first: each is replayed through a pair of streams in memory to an HTTP/1.1 server that only serves the fallback. Bodies flow with
 * back-pressure both ways. RPCs never come here.
 */
export function createHttp2Fallback(fallback: RequestListener): (exchange: HttpExchange) => void {
  const server = createServer({ requestTimeout: 0 }, fallback);

  return ({ request, response, stream }) => {
    const headers: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(request.headers)) {
      if (!name.startsWith(':') && !CONNECTION_HEADERS.includes(name)) headers[name] = value;
    }
    headers.host ??= request.headers[':authority']?.toString() ?? 'gateway';
    const [near, far] = duplexPair();
    const { remoteAddress, remotePort } = request.socket;
    Object.assign(far, { remoteAddress, remotePort });
    near.on('error', () => undefined);
    far.on('error', () => undefined);
    server.emit('connection', far);

    const replay = httpRequest({
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers,
      createConnection: () => near as Duplex,
    });
    response.once('close', () => replay.destroy());
    replay.on('error', () => {
      if (!response.headersSent && !response.destroyed) response.writeHead(502);
      response.end();
    });
    replay.on('response', answer => {
      const answerHeaders = { ...answer.headers };
      for (const name of CONNECTION_HEADERS) delete answerHeaders[name];
      response.writeHead(answer.statusCode ?? 502, answerHeaders);
      answer.on('error', () => stream?.close());
      answer.pipe(response);
    });
    request.pipe(replay);
  };
}
