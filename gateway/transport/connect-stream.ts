import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Message } from '@bufbuild/protobuf';
import { endStreamToJson } from '@connectrpc/connect/protocol-connect';
import { Code, resourceExhausted, StarlingError, toConnectError } from '../errors.ts';
import { inflate, readBody } from './body.ts';
import type { Calls } from './call.ts';
import { connectTimeoutOf } from './deadline.ts';
import { type HttpExchange, headersOf, peerOf } from './http-exchange.ts';
import type { CodecName, MessageCodec } from './message-codec.ts';
import type { RpcMethod } from './method-table.ts';

const gzipAside = promisify(gzip);

/** Most updates are small; compressing those costs more than it saves. */
const COMPRESS_FROM_BYTES = 16 * 1024;

/** The head of an answer waits so long for the first message, to go with it. */
const HEAD_ALONE_AFTER_MS = 5;

const ENVELOPE_HEAD_BYTES = 5;
const COMPRESSED = 1;
const END = 2;

export interface ConnectStreamOptions {
  readonly calls: Calls;
  readonly codec: MessageCodec;
  readonly limits: { readonly bodyBytes: number; readonly bodyTimeoutMs: number };
}

/**
 * Server streams of the Connect protocol: the watches of the SDK and the console. The answer has its head soon, also without a message:
 * a quiet watch is an open one; the general adapter would wait. Nothing is compressed but single large messages, and only in their own
 * envelope. The returned function returns undefined for
 * a request it does not take.
 */
export function createConnectStream({ calls, codec, limits }: ConnectStreamOptions) {
  /** Watchers of the same thing are sent the same message, one after the other: it is packed once. */
  let last: { message: Message; name: CodecName; zip: boolean; packed: Buffer | Promise<Buffer> } | undefined;

  function pack(method: RpcMethod, name: CodecName, zip: boolean, message: Message): Buffer | Promise<Buffer> {
    if (last?.message === message && last.name === name && last.zip === zip) return last.packed;
    const out = codec.encode(method, name, message);
    const zipped = zip && out.length >= COMPRESS_FROM_BYTES;
    const packed = zipped ? gzipAside(out).then(bytes => seal(bytes, COMPRESSED)) : seal(out, 0);
    last = { message, name, zip, packed };
    return packed;
  }

  async function serve(
    method: RpcMethod,
    name: CodecName,
    zipped: boolean,
    zip: boolean,
    exchange: HttpExchange,
  ): Promise<void> {
    const { request, response } = exchange;
    const timeout = connectTimeoutOf(request.headers['connect-timeout-ms']);
    const call = calls.begin(method, {
      protocol: 'connect',
      headers: headersOf(request),
      peer: peerOf(exchange),
      timeoutMs: timeout instanceof StarlingError ? undefined : timeout,
    });
    response.once('close', () => call.cancel());
    let failure: StarlingError | undefined;
    let head: NodeJS.Timeout | undefined;
    try {
      response.writeHead(200, {
        'content-type': `application/connect+${name}`,
        ...(zip ? { 'connect-content-encoding': 'gzip' } : {}),
      });
      if (timeout instanceof StarlingError) throw timeout;
      const bodyLimits = { ...limits, bodyBytes: limits.bodyBytes + ENVELOPE_HEAD_BYTES };
      const { data, flag } = open(await call.within(readBody(request, undefined, bodyLimits)), limits.bodyBytes);
      if (flag === COMPRESSED && !zipped) throw malformed('is marked compressed without connect-content-encoding');
      const bytes = flag === COMPRESSED ? await call.within(inflate(data, limits.bodyBytes)) : data;
      const message = codec.decode(method, name, bytes);
      head = setTimeout(() => response.flushHeaders(), HEAD_ALONE_AFTER_MS);
      for await (const answer of call.answers(message)) {
        const packed = pack(method, name, zip, answer);
        if (!response.write(packed instanceof Promise ? await packed : packed)) await room(response, call.signal);
      }
    } catch (reason) {
      failure = call.failure(reason);
    }
    clearTimeout(head);
    call.finish(failure);
    if (response.destroyed) return;
    const end = endStreamToJson(new Headers(), failure && toConnectError(failure), undefined);
    response.end(seal(Buffer.from(JSON.stringify(end)), END));
  }

  return function take(method: RpcMethod, exchange: HttpExchange): Promise<void> | undefined {
    const { headers, method: verb } = exchange.request;
    if (verb !== 'POST' || method.desc.methodKind !== 'server_streaming') return undefined;
    const type = headers['content-type'];
    const name =
      type === 'application/connect+proto' ? 'proto' : type === 'application/connect+json' ? 'json' : undefined;
    if (!name) return undefined;
    const encoding = headers['connect-content-encoding'];
    if (encoding !== undefined && encoding !== 'gzip' && encoding !== 'identity') return undefined;
    const zip = /\bgzip\b/.test(headers['connect-accept-encoding']?.toString() ?? '');
    return serve(method, name, encoding === 'gzip', zip, exchange);
  };
}

const malformed = (what: string): StarlingError =>
  new StarlingError(Code.InvalidArgument, `the request message ${what}`);

/** The one message of the request. @throws StarlingError if there is none, more than one, or a part of one */
function open(body: Buffer, limitBytes: number): { flag: number; data: Buffer } {
  if (body.length < ENVELOPE_HEAD_BYTES) throw malformed('is missing or cut short');
  const flag = body[0]!;
  const length = body.readUInt32BE(1);
  if (length > limitBytes) {
    throw resourceExhausted(`the request message is larger than the ${limitBytes} bytes this gateway accepts`);
  }
  if (flag !== 0 && flag !== COMPRESSED) throw malformed(`has the unknown flags ${flag}`);
  const data = body.subarray(ENVELOPE_HEAD_BYTES, ENVELOPE_HEAD_BYTES + length);
  if (data.length < length) throw malformed('is cut short');
  if (body.length > ENVELOPE_HEAD_BYTES + length) throw malformed('is followed by another; this method takes one');
  return { flag, data };
}

function seal(data: Uint8Array, flag: number): Buffer {
  const sealed = Buffer.allocUnsafe(ENVELOPE_HEAD_BYTES + data.length);
  sealed[0] = flag;
  sealed.writeUInt32BE(data.length, 1);
  sealed.set(data, ENVELOPE_HEAD_BYTES);
  return sealed;
}

/**
 * Waits until the client has taken what was written. Also ends when the call does, whose signal fires when the client leaves: the last
 * envelope then goes into the buffer, and the connection waits for the client alone.
 */
export async function room(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await once(response, 'drain', { signal }).catch(() => undefined);
}
