import { once } from 'node:events';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { StatusSchema } from '../../proto/gen/google/rpc/status_pb.js';
import { Code, deadlineExceeded, StarlingError, unimplemented } from '../errors.ts';
import type { Call, Calls } from './call.ts';
import { LONGEST_TIMEOUT_MS, parseGrpcTimeout } from './deadline.ts';
import type { RpcMethod } from './method-table.ts';

export interface GrpcBridgeOptions {
  readonly calls: Calls;
  readonly table: ReadonlyMap<string, RpcMethod>;
  readonly limits: { readonly bodyBytes: number };
  readonly log: Logger;
}

export interface GrpcBridge {
  /** Serves one HTTP/2 stream whose content type is gRPC. Never throws. */
  serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
  close(): void;
}

/** The entry of grpc-js that takes one stream. Private there: `grpc-bridge.spec.ts` fails when an upgrade moves it. */
interface StreamDoor {
  _streamHandler(interceptors: [], stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
}

/**
 * gRPC through @grpc/grpc-js, several times as fast as the general adapter. grpc-js takes whole connections in public and would answer
 * 415 to Connect calls on the same one, so each stream is handed over by a private door (libraries.md §7).
 */
export function createGrpcBridge({ calls, table, limits, log }: GrpcBridgeOptions): GrpcBridge {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': limits.bodyBytes,
    'grpc.max_send_message_length': -1,
    'grpc.enable_channelz': 0,
  });
  const byService = Map.groupBy(table.values(), method => method.desc.parent);
  for (const methods of byService.values()) {
    server.addService(
      Object.fromEntries(methods.map(method => [method.desc.localName, definitionOf(method)])),
      Object.fromEntries(methods.map(method => [method.desc.localName, implementationOf(calls, method)])),
    );
  }
  const door = server as unknown as StreamDoor;

  return {
    serve(stream, headers) {
      // A timeout longer than a timer holds would end the call at once.
      const timeout = headers['grpc-timeout'];
      if (typeof timeout === 'string' && (parseGrpcTimeout(timeout) ?? 0) > LONGEST_TIMEOUT_MS) {
        delete headers['grpc-timeout'];
      }
      try {
        door._streamHandler([], stream, headers);
      } catch (reason) {
        // It answers some refusals at once and throws when the client has already left.
        if (stream.destroyed) return;
        log.error({ err: reason, path: headers[':path'] }, 'grpc-js failed to take a stream');
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      }
    },
    close: () => server.forceShutdown(),
  };
}

/** What could not be decoded reaches the handler as the error to answer, because grpc-js would call it internal. */
type Received = Message | StarlingError;

function definitionOf({ desc, path }: RpcMethod): grpc.MethodDefinition<Received, Message> {
  return {
    path,
    requestStream: desc.methodKind === 'client_streaming' || desc.methodKind === 'bidi_streaming',
    responseStream: desc.methodKind === 'server_streaming' || desc.methodKind === 'bidi_streaming',
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: bytes => {
      try {
        return fromBinary(desc.input, bytes);
      } catch {
        return new StarlingError(Code.InvalidArgument, `the message is not a ${desc.input.typeName}`);
      }
    },
    responseSerialize: message => Buffer.from(toBinary(desc.output, message)),
    responseDeserialize: bytes => fromBinary(desc.output, bytes),
  };
}

function implementationOf(calls: Calls, method: RpcMethod): grpc.UntypedHandleCall {
  switch (method.desc.methodKind) {
    case 'unary':
      return (grpcCall: grpc.ServerUnaryCall<Received, Message>, callback: grpc.sendUnaryData<Message>) => {
        const call = begin(calls, method, grpcCall);
        answer(call, grpcCall.request).then(
          message => callback(null, message),
          (error: StarlingError) => callback(statusOf(error)),
        );
      };
    case 'server_streaming':
      return (grpcCall: grpc.ServerWritableStream<Received, Message>) =>
        void pump(begin(calls, method, grpcCall), grpcCall.request, grpcCall);
    case 'client_streaming':
      return (grpcCall: grpc.ServerReadableStream<Received, Message>, callback: grpc.sendUnaryData<Message>) =>
        callback(statusOf(refuse(begin(calls, method, grpcCall))));
    case 'bidi_streaming':
      return (grpcCall: grpc.ServerDuplexStream<Received, Message>) =>
        void pump(begin(calls, method, grpcCall), received(grpcCall), grpcCall);
  }
}

type GrpcCall = Pick<grpc.ServerUnaryCall<unknown, unknown>, 'metadata' | 'getPeer' | 'getDeadline'> & {
  on(event: 'cancelled', listener: () => void): unknown;
};

function begin(calls: Calls, method: RpcMethod, grpcCall: GrpcCall): Call {
  const deadline = grpcCall.getDeadline();
  const deadlineMs = typeof deadline === 'number' ? deadline : deadline.getTime();
  const timeoutMs = Number.isFinite(deadlineMs) ? Math.max(0, deadlineMs - Date.now()) : undefined;
  const call = calls.begin(method, {
    protocol: 'grpc',
    headers: {
      get: name => {
        const values = grpcCall.metadata.get(name);
        return values.length === 0 ? null : values.map(String).join(', ');
      },
    },
    peer: grpcCall.getPeer(),
    timeoutMs,
  });
  // grpc-js has its own clock for the deadline and says `cancelled` for both; whichever is first gives the same answer.
  grpcCall.on('cancelled', () => {
    if (timeoutMs !== undefined && Date.now() >= deadlineMs) call.abort(deadlineExceeded(timeoutMs));
    else call.cancel();
  });
  return call;
}

async function answer(call: Call, request: Received): Promise<Message> {
  try {
    if (request instanceof StarlingError) throw request;
    const message = await call.answer(request);
    call.finish();
    return message;
  } catch (reason) {
    const error = call.failure(reason);
    call.finish(error);
    throw error;
  }
}

/** Moves messages as fast as the client takes them: `write` returning false stops the pull until `drain`. */
async function pump(
  call: Call,
  request: Received | AsyncIterable<Message>,
  grpcCall: grpc.ServerWritableStream<Received, Message> | grpc.ServerDuplexStream<Received, Message>,
): Promise<void> {
  const { signal } = call;
  try {
    if (request instanceof StarlingError) {
      call.finish(request);
      throw request;
    }
    for await (const message of call.answers(request)) {
      if (!grpcCall.write(message)) await once(grpcCall, 'drain', { signal }).catch(() => undefined);
    }
    grpcCall.end();
  } catch (reason) {
    if (!grpcCall.cancelled) grpcCall.emit('error', statusOf(reason as StarlingError));
  }
}

async function* received(requests: AsyncIterable<Received>): AsyncGenerator<Message> {
  for await (const request of requests) {
    if (request instanceof StarlingError) throw request;
    yield request;
  }
}

function refuse(call: Call): StarlingError {
  const error = unimplemented(`${call.method.parent.typeName}.${call.method.name} is not served yet`);
  call.finish(error);
  return error;
}

/** The error as grpc-js sends it; details go into `grpc-status-details-bin` as a google.rpc.Status. */
function statusOf(error: StarlingError): Partial<grpc.StatusObject> & Error {
  const metadata = new grpc.Metadata();
  if (error.details.length > 0) {
    const details = error.details.map(({ desc, value }) => anyPack(desc, create(desc, value)));
    const status = create(StatusSchema, { code: error.code, message: error.message, details });
    metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, status)));
  }
  return Object.assign(new Error(error.message), { code: error.code as number, details: error.message, metadata });
}
