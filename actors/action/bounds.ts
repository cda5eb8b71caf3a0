/** When a live attempt must end: the deadline over all attempts, the other bounds per attempt (executor.md 2.15). */
import type { ActionState, StopCause } from './action-state.ts';
import type { Failure } from './failure.ts';
import { Phase } from './phase.ts';
import type { TaskPolicy } from './policy.ts';

export interface Bound {
  readonly at: Date;
  readonly cause: StopCause;
}

/** The bound of the live attempt that expires first, or null when it has none. */
export function nextBound(state: ActionState, policy: TaskPolicy): Bound | null {
  const bounds: Bound[] = [];
  const deadline = deadlineOf(state, policy);
  if (deadline !== null) bounds.push({ at: deadline, cause: 'deadline' });
  const phases = state.attempts.at(-1)?.phases ?? [];
  const running = phases.find(({ phase }) => phase === Phase.running);
  if (policy.maxRuntimeMs !== null && running !== undefined) {
    bounds.push({ at: after(running.at, policy.maxRuntimeMs), cause: 'max-runtime' });
  }
  const started = phases.some(({ phase }) => phase === Phase.initializing || phase === Phase.running);
  if (policy.queuedTimeoutMs !== null && !started && phases[0] !== undefined) {
    bounds.push({ at: after(phases[0].at, policy.queuedTimeoutMs), cause: 'queued-timeout' });
  }
  return bounds.reduce<Bound | null>((first, bound) => (first === null || bound.at < first.at ? bound : first), null);
}

/** The instant by which the action must be over, counted from its creation. */
export function deadlineOf(state: ActionState, policy: TaskPolicy): Date | null {
  return policy.deadlineMs === null ? null : new Date(state.createdAt.getTime() + policy.deadlineMs);
}

/** The failure of an expired bound; the SDK makes exception classes of the codes (sdk-2.12.md 2.4). */
export function timeoutFailure(cause: StopCause, policy: TaskPolicy): Failure {
  switch (cause) {
    case 'max-runtime':
      return timeout(
        'MAX_RUNTIME_EXCEEDED',
        `the attempt ran longer than its max_runtime of ${seconds(policy.maxRuntimeMs)}`,
      );
    case 'queued-timeout':
      return timeout(
        'QUEUED_TIMEOUT_EXCEEDED',
        `the attempt did not start within its queued_timeout of ${seconds(policy.queuedTimeoutMs)}`,
      );
    default:
      return timeout(
        'DEADLINE_EXCEEDED',
        `the action was not over by its deadline, ${seconds(policy.deadlineMs)} after it was queued`,
      );
  }
}

function timeout(code: string, message: string): Failure {
  return { code, kind: 'USER', message, recoverable: true };
}

function seconds(ms: number | null): string {
  return `${(ms ?? 0) / 1000} s`;
}

function after(iso: string, ms: number): Date {
  return new Date(Date.parse(iso) + ms);
}
