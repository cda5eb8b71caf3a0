/**
 * Why a download or an upload did not happen, in the terms of the error document: who is to blame (`origin`), and whether
 * another attempt may help (`recoverable`). The message names the variable, the file and the remedy; it is what the user reads.
 */
export class CopilotFailure extends Error {
  override readonly name = 'CopilotFailure';
  readonly origin: 'user' | 'system';
  readonly recoverable: boolean;

  constructor(origin: 'user' | 'system', recoverable: boolean, message: string, options?: ErrorOptions) {
    super(message, options);
    this.origin = origin;
    this.recoverable = recoverable;
  }
}

/** The container or its inputs are at fault, and another attempt may do better (a file not written, a value not readable). */
export const userFailure = (message: string, options?: ErrorOptions): CopilotFailure =>
  new CopilotFailure('user', true, message, options);

/** The declaration of the task is at fault: every attempt would end the same way. */
export const declarationFailure = (message: string): CopilotFailure => new CopilotFailure('user', false, message);

/** The platform is at fault (store, network, disk): another attempt may do better. */
export const systemFailure = (message: string, options?: ErrorOptions): CopilotFailure =>
  new CopilotFailure('system', true, message, options);

/** Anything thrown, as a failure: what is not one already is the platform's fault. */
export const asFailure = (thrown: unknown): CopilotFailure =>
  thrown instanceof CopilotFailure
    ? thrown
    : systemFailure(thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });

/** Runs `work`; a failure inside it is told with `prefix` in front, blame and recoverability unchanged. */
export const told = async <T>(prefix: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (thrown) {
    const failure = asFailure(thrown);
    throw new CopilotFailure(failure.origin, failure.recoverable, `${prefix}: ${failure.message}`, { cause: thrown });
  }
};
