import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2';
import { codeToHttpStatus, errorToJsonBytes } from '@connectrpc/connect/protocol-connect';
import { type StarlingError, toConnectError } from '../errors.ts';

/** How long the rest of a refused body may keep coming before the connection is cut: long enough for a client to read why. */
const LINGER_MS = 2_000;

/** One request with its answer. HTTP/2 comes as Node's compatibility objects, which have all that is used here. */
export interface HttpExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Set for HTTP/2. */
  readonly stream: ServerHttp2Stream | undefined;
  /** The part of the URL before `?`. */
  readonly path: string;
}

export function httpExchange(
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
): HttpExchange {
  // An `error` without a listener ends the process; what matters about it arrives as `close`.
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  const url = request.url ?? '';
  const query = url.indexOf('?');
  return {
    request: request as IncomingMessage,
    response: response as ServerResponse,
    stream: 'stream' in request ? request.stream : undefined,
    path: query < 0 ? url : url.slice(0, query),
  };
}

/** Address and port of the other end, as log lines and rate limits want it. */
export function peerOf({ request }: HttpExchange): string {
  const { remoteAddress, remotePort } = request.socket;
  return `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`;
}

/** Request headers as handlers see them. */
export const headersOf = ({ headers }: IncomingMessage): { get(name: string): string | null } => ({
  get: name => headers[name.toLowerCase()]?.toString() ?? null,
});

/**
 * Writes an error as Connect clients read it: the HTTP status of its code, and `{code, message, details}`. If part of the request is
 * still coming it is read and thrown away for a moment, so that the client sees the answer rather than a reset.
 * @param status where the code's own status does not fit, e.g. 404 for a path nobody knows
 */
export function sendConnectError(
  exchange: HttpExchange,
  error: StarlingError,
  status = codeToHttpStatus(error.code),
): void {
  const { request, response, stream } = exchange;
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = errorToJsonBytes(toConnectError(error), undefined);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body, () => {
    if (request.readableEnded) return;
    if (stream) {
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    request.resume();
    const cut = setTimeout(() => request.destroy(), LINGER_MS);
    request.once('close', () => clearTimeout(cut));
  });
}
