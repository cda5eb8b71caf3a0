import {
  create,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import pino from 'pino';
import type { RpcContext, ServiceImplementation } from '../../gateway/transport/handler.ts';

/** The methods of a service as a caller in this process sees them: no sockets, but the messages of the contract. */
export type InProcess<S extends DescService> = {
  [K in keyof S['method']]: S['method'][K] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>) => Promise<MessageShape<O>>
    : S['method'][K] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, signal?: AbortSignal) => AsyncGenerator<MessageShape<O>>
      : never;
};

/** Calls the handlers of one of the implementations directly. */
export function inProcess<S extends DescService>(
  implementations: readonly ServiceImplementation[],
  service: S,
): InProcess<S> {
  const { handlers } = implementations.find(it => it.service === service)!;
  const methods: Record<string, unknown> = {};
  for (const method of service.methods) {
    const handler = handlers.get(method.localName);
    if (handler?.kind === 'unary') {
      methods[method.localName] = async (request: never) =>
        create(method.output, await handler.run(create(method.input, request), contextOf(method)));
    } else if (handler?.kind === 'server_streaming') {
      methods[method.localName] = async function* (request: never, signal?: AbortSignal) {
        const messages = handler.run(create(method.input, request), contextOf(method, signal));
        for await (const message of messages) yield create(method.output, message);
      };
    }
  }
  return methods as InProcess<S>;
}

function contextOf(method: RpcContext['method'], signal = new AbortController().signal): RpcContext {
  return {
    method,
    protocol: 'connect',
    signal,
    headers: { get: () => null },
    peer: 'in process',
    requestId: 'spec',
    log: pino({ level: 'silent' }),
  };
}

/** The next message of a stream. */
export async function next<T>(stream: AsyncGenerator<T>): Promise<T> {
  const result = await stream.next();
  if (result.done) throw new Error('the stream has ended');
  return result.value;
}

/** Messages of a stream until one fulfils the condition, that one included. */
export async function until<T>(stream: AsyncGenerator<T>, condition: (message: T) => boolean): Promise<T[]> {
  const messages: T[] = [];
  for (;;) {
    messages.push(await next(stream));
    if (condition(messages.at(-1)!)) return messages;
  }
}
