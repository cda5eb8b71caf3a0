import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';

export { Code };

/** A typed message that travels beside the text of an error. The SDK reads none of them (sdk.md §1.3); people and the console may. */
export interface ErrorDetail<D extends DescMessage = DescMessage> {
  readonly desc: D;
  readonly value: MessageInitShape<D>;
}

interface ErrorOptions {
  readonly details?: readonly ErrorDetail[];
  /** What really happened. It is logged and never leaves the process. */
  readonly cause?: unknown;
}

/**
 * The one error a client ever sees. Its family is closed: a code of the Connect/gRPC set and a sentence for people. Every
 * adapter turns what it catches into one with `StarlingError.from`, so nothing else reaches the wire.
 *
 * Which code to choose, as the SDK reads them (sdk.md §1.6, sdk-2.12.md §1): `unavailable` and `internal` are retried, so
 * they must mean "the same call may work later" and "our fault"; `resource_exhausted` is final for every call but Enqueue;
 * a message that contains "unauthorized" or "unauthenticated" starts a log-in whatever its code.
 */
export class StarlingError extends Error {
  readonly code: Code;
  readonly details: readonly ErrorDetail[];

  constructor(code: Code, message: string, options: ErrorOptions = {}) {
    // gRPC puts the text through encodeURI, which throws at half a character.
    super(message.toWellFormed(), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'StarlingError';
    this.code = code;
    this.details = options.details ?? [];
  }

  /** True for a fault of ours: something nobody foresaw. Those are logged with their cause; all others are answers. */
  get unexpected(): boolean {
    return this.code === Code.Internal && this.cause !== undefined;
  }

  /**
   * Turns whatever was thrown into an error that may be shown. Errors of the catalogue and of Connect keep code and text; anything
   * else becomes `internal` with a sentence that names the request, because the text of a foreign error may hold secrets.
   */
  static from(reason: unknown, requestId: string): StarlingError {
    if (reason instanceof StarlingError) return reason;
    if (reason instanceof ConnectError) return new StarlingError(reason.code, reason.rawMessage, { cause: reason });
    return internal(requestId, reason);
  }
}

const SHOWN_CHARACTERS = 100;

/** A value as it may stand in a sentence: quoted, one line, cut after 100 characters; bytes only by their number. */
export function show(value: unknown): string {
  if (value === undefined || value === null || value === '') return 'empty';
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : typeof value === 'object'
        ? JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? part.toString() : part))
        : String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/**
 * A field of the request is wrong. Never pass a secret as `value`.
 * @param field path as the contract spells it, e.g. `run_id.name`
 * @param remedy what would be accepted, e.g. `must be a DNS label of at most 30 characters`
 */
export const invalidArgument = (field: string, value: unknown, remedy: string): StarlingError =>
  new StarlingError(Code.InvalidArgument, `${field} is ${show(value)}: ${remedy}`);

/** @param kind what was looked for, e.g. `run`; @param id its name as a user would write it */
export const notFound = (kind: string, id: string): StarlingError =>
  new StarlingError(Code.NotFound, `${kind} ${show(id)} does not exist`);

/** Something else holds this name; the caller may read it or choose another. */
export const alreadyExists = (kind: string, id: string): StarlingError =>
  new StarlingError(Code.AlreadyExists, `${kind} ${show(id)} already exists`);

/** The request is right but not now: `reason` says what must change first. */
export const failedPrecondition = (reason: string): StarlingError => new StarlingError(Code.FailedPrecondition, reason);

/** Two callers changed the same thing at once; the caller should read again and repeat. */
export const aborted = (reason: string): StarlingError => new StarlingError(Code.Aborted, reason);

/** We cannot serve this now and the same call may succeed later. Clients retry. */
export const unavailable = (reason: string, cause?: unknown): StarlingError =>
  new StarlingError(Code.Unavailable, reason, { cause });

/** A quota or size limit. Final for most clients: use `unavailable` to say "try again". */
export const resourceExhausted = (reason: string): StarlingError => new StarlingError(Code.ResourceExhausted, reason);

export const unimplemented = (reason: string): StarlingError => new StarlingError(Code.Unimplemented, reason);

/** Unknown caller. The SDK answers by logging in and repeating the call once. */
export const unauthenticated = (reason: string): StarlingError => new StarlingError(Code.Unauthenticated, reason);

export const deadlineExceeded = (timeoutMs: number): StarlingError =>
  new StarlingError(Code.DeadlineExceeded, `the call did not finish within its ${timeoutMs} ms`);

/** The caller went away. Nobody reads this answer; it exists so that handlers stop, and must never end a living stream. */
export const canceled = (): StarlingError => new StarlingError(Code.Canceled, 'the caller went away');

/** A fault of ours. The sentence only names the request; `cause` goes to the log under the same id. */
export const internal = (requestId: string, cause: unknown): StarlingError =>
  new StarlingError(Code.Internal, `internal error; the log of the gateway has it under request ${requestId}`, {
    cause: cause ?? 'unknown',
  });

/** The lower-snake name of a code, as Connect writes it and as metrics label it, e.g. `invalid_argument`. */
export const codeName = (code: Code): string => codeToString(code);

/** The form in which Connect, gRPC-Web and the gRPC bridge put an error on the wire. */
export const toConnectError = (error: StarlingError): ConnectError =>
  new ConnectError(error.message, error.code, undefined, [...error.details]);
