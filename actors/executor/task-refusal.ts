import type { Failure } from '../action/failure.ts';

/**
 * A task that can never run as it is specified: the user has to change it. Thrown while its pod is built; the executor
 * turns it into the attempt's failure (kind USER, not recoverable).
 */
export class TaskRefused extends Error {
  override readonly name = 'TaskRefused';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }

  get failure(): Failure {
    return { code: this.code, kind: 'USER', message: this.message, recoverable: false };
  }
}

/** Code of a task template that makes no sense (executor.md 2.6). */
export const BAD_TASK = 'BadTaskSpecification';
