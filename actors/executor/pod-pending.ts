import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import type { Failure } from '../action/failure.ts';
import type { PodFacts } from './messages.ts';
import { timeOf } from './pod-facts.ts';
import type { LivePod } from './pod-view.ts';

/** What becomes of a container that waits for this reason: how long to hope, and whose fault it is then. */
interface Trouble {
  readonly graceMs: number;
  readonly kind: 'USER' | 'SYSTEM';
  readonly recoverable: boolean;
}

const MINUTES = 60_000;
const GRACE_MS = 3 * MINUTES;

/** Reasons a container waits for although all is well. */
const NORMAL: ReadonlySet<string> = new Set(['', 'ContainerCreating', 'PodInitializing', 'ErrImagePull']);

/** The table of executor.md 2.8. ErrImagePull is followed by ImagePullBackOff, whose grace then counts. */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  CreateContainerError: { graceMs: GRACE_MS, kind: 'USER', recoverable: false },
  CreateContainerConfigError: { graceMs: 0, kind: 'USER', recoverable: false },
  InvalidImageName: { graceMs: 0, kind: 'USER', recoverable: false },
  ErrImageNeverPull: { graceMs: 0, kind: 'USER', recoverable: false },
  ImagePullBackOff: { graceMs: GRACE_MS, kind: 'USER', recoverable: true },
  CrashLoopBackOff: { graceMs: GRACE_MS, kind: 'USER', recoverable: true },
};
const UNKNOWN_TROUBLE: Trouble = { graceMs: GRACE_MS, kind: 'SYSTEM', recoverable: true };

/** Reads a pod that has not started: where it is stuck, and until when that may be. */
export function classifyPending(pod: V1Pod, facts: PodFacts): LivePod {
  const { conditions = [], initContainerStatuses = [], containerStatuses = [], startTime } = pod.status ?? {};
  const live = (phase: LivePod['phase'], reason: string): LivePod => ({ is: 'live', phase, reason, facts });

  const unplaced = conditions.find(
    ({ type, status }) => (type === 'PodScheduled' && status === 'False') || type === 'Unschedulable',
  );
  if (unplaced !== undefined) {
    return live(
      'waiting-for-resources',
      [unplaced.reason, unplaced.message].filter(Boolean).join(': ') || 'no room yet',
    );
  }
  const placed = conditions.some(({ type, status }) => type === 'PodScheduled' && status === 'True');
  const waiting = [...initContainerStatuses, ...containerStatuses].find(({ state }) =>
    isTrouble(state?.waiting?.reason),
  );
  if (waiting !== undefined) {
    const ready = conditions.find(({ type, status }) => type === 'Ready' && status === 'False');
    const sinceMs = timeOf(ready?.lastTransitionTime ?? startTime ?? pod.metadata?.creationTimestamp) ?? 0;
    return inTrouble(waiting, sinceMs, facts);
  }
  // They start in order, so the last one that runs is the one to wait for; those before it are sidecars.
  const running = initContainerStatuses.findLast(({ state }) => state?.running !== undefined);
  if (running !== undefined) return live('initializing', `init container ${running.name} runs`);
  const creating = [...initContainerStatuses, ...containerStatuses].find(({ state }) => state?.waiting !== undefined);
  if (creating !== undefined) {
    const { reason = 'ContainerCreating', message } = creating.state!.waiting!;
    return live('initializing', `container ${creating.name}: ${[reason, message].filter(Boolean).join(': ')}`);
  }
  return placed
    ? live('initializing', 'its node prepares it')
    : live('queued', 'the scheduler has not looked at it yet');
}

function isTrouble(reason: string | undefined): boolean {
  return reason !== undefined && !NORMAL.has(reason);
}

function inTrouble(status: V1ContainerStatus, sinceMs: number, facts: PodFacts): LivePod {
  const { reason = '', message = '' } = status.state!.waiting!;
  const trouble = TROUBLES[reason] ?? UNKNOWN_TROUBLE;
  const text = `container ${status.name} cannot start: ${reason}${message === '' ? '' : `: ${message}`}`;
  const waited = trouble.graceMs === 0 ? '' : ` (for more than ${trouble.graceMs / MINUTES} min)`;
  const failure: Failure = {
    code: reason,
    // A registry that is asked too often is nobody's mistake in the task.
    kind: message.includes('429 Too Many Requests') ? 'SYSTEM' : trouble.kind,
    message: `${text}${waited}`,
    recoverable: trouble.recoverable,
  };
  return {
    is: 'live',
    phase: 'initializing',
    reason: text,
    facts,
    giveUp: { atMs: sinceMs + trouble.graceMs, exit: { failure, detail: '', decisive: true } },
  };
}
