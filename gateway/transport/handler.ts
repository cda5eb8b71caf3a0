import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import type { Logger } from 'pino';

/** Which of the wire forms a call arrived in; handlers never need it, logs and metrics do. */
export type Protocol = 'connect' | 'grpc' | 'grpc-web';

/** What a handler may know about the call it serves. */
export interface RpcContext {
  readonly method: DescMethod;
  readonly protocol: Protocol;
  /**
   * Fires when the caller went away, the deadline passed or the gateway shuts down; its reason is the StarlingError the call ends
   * with. A handler that ignores it is abandoned: its promise may go on, but nobody waits for it.
   */
  readonly signal: AbortSignal;
  /** When the caller stops waiting. Absent if it named no timeout. */
  readonly deadline?: Date;
  /** Request headers, any case; null when absent. Values sent more than once are joined with a comma. */
  readonly headers: { get(name: string): string | null };
  /** Address and port of the other end of the connection (a proxy's, if there is one). */
  readonly peer: string;
  /** The caller's x-request-id, or one of ours. Errors and log lines carry it. */
  readonly requestId: string;
  /** Bound to method and request id. */
  readonly log: Logger;
}

export type UnaryHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: RpcContext,
) => Promise<MessageInitShape<O>>;

/**
 * One message is pulled when the caller has room for it: a slow reader stops the generator at its `yield`, and when the call ends
 * early the generator's `finally` runs. What was yielded must not change afterwards: a message that several calls yield is encoded once.
 */
export type StreamHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: RpcContext,
) => AsyncIterable<MessageInitShape<O>>;

/**
 * Both sides stream. Requests arrive as they are pulled; each is validated, and an invalid one throws where it is pulled. Only gRPC and
 * HTTP/2 can carry it while both sides are open.
 */
export type BidiHandler<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageShape<I>>,
  context: RpcContext,
) => AsyncIterable<MessageInitShape<O>>;

type HandlerOf<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryHandler<I, O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? StreamHandler<I, O>
      : M extends DescMethodBiDiStreaming<infer I, infer O>
        ? BidiHandler<I, O>
        : never;

/** Handlers of a service by the local (camelCase) name of the method. Every method may be left out. */
export type Handlers<S extends DescService> = { [K in keyof S['method']]?: HandlerOf<S['method'][K]> };

/** A handler with its types forgotten: what the transport and wrappers (authorisation, audit) work with. */
export type AnyHandler =
  | { readonly kind: 'unary'; readonly run: UnaryHandler<DescMessage, DescMessage> }
  | { readonly kind: 'server_streaming'; readonly run: StreamHandler<DescMessage, DescMessage> }
  | { readonly kind: 'bidi_streaming'; readonly run: BidiHandler<DescMessage, DescMessage> };

/** A service and what serves it. Methods without a handler answer `unimplemented`. */
export interface ServiceImplementation {
  readonly service: DescService;
  readonly handlers: ReadonlyMap<string, AnyHandler>;
}

/**
 * Binds handlers to a service of the contract. Methods left out, and all that stream from the client only, answer `unimplemented`.
 * @throws TypeError if a name is no method of the service that a handler can serve
 */
export function implement<S extends DescService>(service: S, handlers: Handlers<S>): ServiceImplementation {
  const bound = new Map<string, AnyHandler>();
  for (const [name, run] of Object.entries(handlers)) {
    const kind = service.methods.find(method => method.localName === name)?.methodKind;
    if (kind === undefined || kind === 'client_streaming') {
      throw new TypeError(`${service.typeName} has no method ${name} that a handler can serve`);
    }
    bound.set(name, { kind, run } as AnyHandler);
  }
  return { service, handlers: bound };
}

/** The same implementation with every handler replaced by `wrap(handler, method)`: how authorisation goes round all of them. */
export function wrapHandlers(
  implementation: ServiceImplementation,
  wrap: (handler: AnyHandler, method: DescMethod) => AnyHandler,
): ServiceImplementation {
  const handlers = new Map<string, AnyHandler>();
  for (const method of implementation.service.methods) {
    const handler = implementation.handlers.get(method.localName);
    if (handler) handlers.set(method.localName, wrap(handler, method));
  }
  return { service: implementation.service, handlers };
}
