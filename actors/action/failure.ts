/** Why an attempt or an action failed; becomes core.ExecutionError on watches and workflow.ErrorInfo in details. */
export interface Failure {
  /** Exception class of the user's error, or one of the codes of this program (`MAX_RUNTIME_EXCEEDED`, `OOMKilled`, …). */
  readonly code: string;
  readonly kind: 'USER' | 'SYSTEM' | 'UNKNOWN';
  readonly message: string;
  /** False: another attempt would fail the same way, so none is made. */
  readonly recoverable: boolean;
}
