import type { IdentityJson } from '../run/identity.ts';
import type { Durable } from '../runtime/actor.ts';
import type { Attempt } from './attempt.ts';
import type { Failure } from './failure.ts';

/**
 * What the machine of an action is doing (the phase is what people see):
 *
 *   new       just enqueued; nothing was decided yet
 *   awaiting  another action computes the result it needs (cache_serializable)
 *   live      an executor has the current attempt
 *   backoff   the attempt failed; the next one waits for its time
 *   sleeping  a `core-sleep` leaf until its duration is over: no executor, no pod
 *   paused    a condition until somebody signals it
 *   stopping  the executor was told to end the attempt (abort or time-out)
 *   closing   the verdict is known; live children are being aborted first (I6)
 *   done      over, for ever (I1)
 */
export type Stage = 'new' | 'awaiting' | 'live' | 'backoff' | 'sleeping' | 'paused' | 'stopping' | 'closing' | 'done';

/** Why an attempt is being stopped from our side. */
export type StopCause = 'abort' | 'max-runtime' | 'queued-timeout' | 'deadline';

/** How the action will end once its children have. */
export interface Verdict {
  readonly phase: number;
  readonly failure?: Failure;
}

/** The part of the state that only the machine reads; JSON, epoch milliseconds. */
export interface Machine {
  /** Failures so far that used up the user's retries. */
  readonly userFailures?: number;
  /** Failures of the platform so far: bounded on their own, they cost no user retry. */
  readonly systemFailures?: number;
  readonly stop?: StopCause;
  readonly verdict?: Verdict;
  readonly retryAt?: number;
  readonly notifyParent?: boolean;
  /** When a paused condition gives up. */
  readonly giveUpAt?: number;
}

export interface ActionState extends Durable {
  readonly runId: number;
  readonly name: string;
  readonly parent: string | null;
  readonly depth: number;
  /** Somebody enqueued an action under it. Written by Enqueue, which raises the version with it: never by the machine. */
  readonly hasChildren: boolean;
  /** flyteidl2.workflow.ActionType */
  readonly type: number;
  readonly stage: Stage;
  readonly phase: number;
  readonly attempt: number;
  readonly specDigest: string;
  readonly taskType: string;
  readonly inputUri: string;
  readonly cacheKey: string | null;
  readonly cacheStatus: number;
  readonly outputUri: string | null;
  readonly failure: Failure | null;
  /** A condition has its value: written by the door together with a wake, never by the machine. */
  readonly hasValue: boolean;
  readonly abort: { readonly reason: string; readonly by: IdentityJson | null } | null;
  readonly recoveredFrom: { readonly run: string; readonly action: string } | null;
  readonly attempts: readonly Attempt[];
  readonly machine: Machine;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
  /** Why it waits, in words; null when it is over. */
  readonly waitingFor: string | null;
  /** A result to publish with this save; never loaded. */
  readonly cacheEntry?: { readonly scope: string; readonly key: string; readonly outputUri: string };
  /** The right to compute a result, wanted with this save; never loaded. */
  readonly reserve?: { readonly scope: string; readonly key: string };
  /** Give back what it reserved with this save; never loaded. */
  readonly release?: boolean;
}
