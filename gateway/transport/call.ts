import { randomUUID } from 'node:crypto';
import { create, type DescMessage, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { Code, canceled, codeName, deadlineExceeded, StarlingError, unavailable, unimplemented } from '../errors.ts';
import { LONGEST_TIMEOUT_MS } from './deadline.ts';
import type { Protocol, RpcContext } from './handler.ts';
import type { RpcMethod } from './method-table.ts';
import type { RequestValidator } from './validation.ts';

/** What is counted when a call is over. */
export interface FinishedRequest {
  readonly service: string;
  readonly method: string;
  readonly protocol: Protocol;
  /** `ok`, or the lower-snake name of the code. */
  readonly code: string;
  readonly durationMs: number;
}

export interface GatewayMetrics {
  onRequest(request: FinishedRequest): void;
}

/** What an adapter knows about a call when it begins. */
export interface CallOrigin {
  readonly protocol: Protocol;
  readonly headers: { get(name: string): string | null };
  readonly peer: string;
  /** Whole milliseconds the caller will wait, from now. */
  readonly timeoutMs?: number | undefined;
}

const ACCEPTED_REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

interface CallDependencies {
  readonly validate: RequestValidator;
  readonly log: Logger;
  readonly metrics: GatewayMetrics | undefined;
}

/** All calls in flight, so that a shutdown can end the streams and wait for the rest. */
export class Calls {
  readonly #active = new Set<Call>();
  readonly #dependencies: CallDependencies;
  #shutdown: StarlingError | undefined;
  #idle: (() => void) | undefined;

  constructor(dependencies: CallDependencies) {
    this.#dependencies = dependencies;
  }

  get size(): number {
    return this.#active.size;
  }

  begin(method: RpcMethod, origin: CallOrigin): Call {
    const call = new Call(method, origin, this.#dependencies, () => {
      this.#active.delete(call);
      if (this.#active.size === 0) this.#idle?.();
    });
    this.#active.add(call);
    if (this.#shutdown && call.method.methodKind !== 'unary') call.abort(this.#shutdown);
    return call;
  }

  /** Ends every stream with `unavailable`, which clients answer by connecting again; unary calls go on. */
  endStreams(): void {
    this.#shutdown = unavailable('the gateway is shutting down; connect again');
    for (const call of this.#active) if (call.method.methodKind !== 'unary') call.abort(this.#shutdown);
  }

  /** Ends what is left after the grace period. */
  endAll(): void {
    const reason = unavailable('the gateway shut down before the call was done; repeat it');
    for (const call of this.#active) call.abort(reason);
  }

  /** Resolves when no call is in flight. */
  async drained(): Promise<void> {
    if (this.#active.size === 0) return;
    await new Promise<void>(resolve => {
      this.#idle = resolve;
    });
  }
}

/**
 * One call, the same in every protocol: begun → (answered | failed | abandoned), counted exactly once.
 *
 * It is abandoned when `abort` comes first: the caller went away, its deadline passed, or the gateway shuts down. What the handler
 * does afterwards is awaited by nobody and its outcome is dropped. The reason of the abort is the error of the call, so a handler that
 * reacts to its signal with an error of its own cannot change it.
 */
export class Call implements RpcContext {
  readonly #method: RpcMethod;
  readonly #origin: CallOrigin;
  readonly #dependencies: CallDependencies;
  readonly #onEnd: () => void;
  readonly #begunAt = performance.now();
  readonly deadline?: Date;
  #timer: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #reason: StarlingError | undefined;
  /** Rejects what the call is waiting for at this moment. */
  #interrupt: ((reason: StarlingError) => void) | undefined;
  #requestId: string | undefined;
  #log: Logger | undefined;
  #over = false;

  constructor(method: RpcMethod, origin: CallOrigin, dependencies: CallDependencies, onEnd: () => void) {
    this.#method = method;
    this.#origin = origin;
    this.#dependencies = dependencies;
    this.#onEnd = onEnd;
    const timeoutMs = origin.timeoutMs;
    if (timeoutMs !== undefined && timeoutMs <= LONGEST_TIMEOUT_MS) {
      this.deadline = new Date(Date.now() + timeoutMs);
      this.#timer = setTimeout(() => this.abort(deadlineExceeded(timeoutMs)), timeoutMs);
    }
  }

  get method() {
    return this.#method.desc;
  }

  get protocol(): Protocol {
    return this.#origin.protocol;
  }

  get headers() {
    return this.#origin.headers;
  }

  get peer(): string {
    return this.#origin.peer;
  }

  get requestId(): string {
    if (this.#requestId === undefined) {
      const given = this.#origin.headers.get('x-request-id');
      this.#requestId = given !== null && ACCEPTED_REQUEST_ID.test(given) ? given : randomUUID();
    }
    return this.#requestId;
  }

  get log(): Logger {
    this.#log ??= this.#dependencies.log.child({ rpc: this.#method.path, requestId: this.requestId });
    return this.#log;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Ends the call from outside; the first reason counts, and none counts once the call is over. */
  abort(reason: StarlingError): void {
    if (this.#reason || this.#over) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#interrupt?.(reason);
  }

  /** The caller went away. Said of every call when its connection or stream closes, so a finished one must cost nothing. */
  cancel(): void {
    if (!this.#over) this.abort(canceled());
  }

  /**
   * Waits for something that belongs to the call (its body, its handler), but no longer than the call lives.
   * @throws StarlingError the reason of the abort, or whatever `pending` rejects with
   */
  within<T>(pending: PromiseLike<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#reason) {
        Promise.resolve(pending).catch(() => undefined);
        reject(this.#reason);
        return;
      }
      this.#interrupt = reject;
      pending.then(resolve, reject);
    });
  }

  /**
   * Validates the request and runs the unary handler.
   * @throws StarlingError always of the catalogue; the call still has to be ended by the adapter with `finish`
   */
  async answer(request: Message): Promise<Message> {
    const { handler, desc } = this.#method;
    if (handler?.kind !== 'unary') throw this.#unserved();
    const invalid = this.#dependencies.validate(desc.input, request);
    if (invalid) throw invalid;
    return create(desc.output, await this.within(handler.run(request, this)));
  }

  /**
   * Validates the request, or each of the requests, and runs the streaming handler; ends the call itself.
   * @throws StarlingError as `answer` does
   */
  async *answers(request: Message | AsyncIterable<Message>): AsyncGenerator<Message> {
    let messages: AsyncIterator<MessageInitShape<DescMessage>> | undefined;
    let failure: StarlingError | undefined = canceled();
    try {
      messages = this.#run(request)[Symbol.asyncIterator]();
      for (;;) {
        const step = await this.within(messages.next());
        if (step.done) break;
        yield create(this.method.output, step.value);
      }
      failure = undefined;
      messages = undefined;
    } catch (reason) {
      failure = this.failure(reason);
      throw failure;
    } finally {
      // The consumer may have left at a `yield`; then the signal tells the handler, and its own `finally` runs.
      if (failure) this.abort(failure);
      messages?.return?.()?.then(undefined, () => undefined);
      this.finish(failure && (this.#reason ?? failure));
    }
  }

  #run(request: Message | AsyncIterable<Message>): AsyncIterable<MessageInitShape<DescMessage>> {
    const { handler } = this.#method;
    if (Symbol.asyncIterator in request) {
      if (handler?.kind !== 'bidi_streaming') throw this.#unserved();
      return handler.run(this.#validated(request), this);
    }
    if (handler?.kind !== 'server_streaming') throw this.#unserved();
    const invalid = this.#dependencies.validate(this.method.input, request);
    if (invalid) throw invalid;
    return handler.run(request, this);
  }

  async *#validated(requests: AsyncIterable<Message>): AsyncGenerator<Message> {
    for await (const request of requests) {
      const invalid = this.#dependencies.validate(this.method.input, request);
      if (invalid) throw invalid;
      yield request;
    }
  }

  /** The error this call ends with when `reason` was thrown. Logs what nobody foresaw. */
  failure(reason: unknown): StarlingError {
    if (this.#reason) return this.#reason;
    const error = StarlingError.from(reason, this.requestId);
    if (error.unexpected) this.log.error({ err: error.cause }, 'a handler failed');
    // A living caller never hears `canceled`: the controller of the SDK would stop for good and hang its task (sdk.md §0 row 6).
    if (error.code === Code.Canceled) return unavailable('the gateway gave up on the call; repeat it', error);
    return error;
  }

  /** The call is over and is counted; only the first of these counts. */
  finish(failure?: StarlingError): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#onEnd();
    this.#dependencies.metrics?.onRequest({
      service: this.#method.desc.parent.typeName,
      method: this.#method.desc.name,
      protocol: this.#origin.protocol,
      code: failure ? codeName(failure.code) : 'ok',
      durationMs: performance.now() - this.#begunAt,
    });
  }

  #unserved(): StarlingError {
    return unimplemented(`${this.#method.desc.parent.typeName}.${this.#method.desc.name} is not served yet`);
  }
}
