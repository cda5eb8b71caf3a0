/** The letters a run actor (kind `run`, key = run id) receives. */
import type { IdentityJson } from './identity.ts';

export const RUN_KIND = 'run';

/** The caller wants the run to end. The reason and the identity reach every descendant. */
export interface AbortRun {
  readonly type: 'abort';
  readonly reason: string;
  readonly by: IdentityJson | null;
}

export type RunMessage = AbortRun;

/** Key of a run actor. */
export function runKey(runId: number): string {
  return String(runId);
}

/** Name of every root action (runs.md 1.1). */
export const ROOT_ACTION = 'a0';
