/** What an executor tells itself: what the pod watch saw, and how its effects ended. Letters of others: messages.ts. */
import type { Failure } from '../action/failure.ts';
import type { AttemptPlan, LogFile, PodFacts, StartAttempt, TerminateAttempt } from './messages.ts';
import type { Verdict } from './outcome.ts';
import type { PodExit, PodView } from './pod-view.ts';

/** The pod looks like this now, or is not there (any more). */
export interface PodObserved {
  readonly type: 'pod-observed';
  readonly incarnation: number;
  readonly pod: PodView | { readonly is: 'gone' };
}

/** The pod is created; the watch tells the rest. */
export interface PodCreated {
  readonly type: 'pod-created';
  readonly incarnation: number;
}

/** There can be no pod for this task; none was created. */
export interface PodRefused {
  readonly type: 'pod-refused';
  readonly incarnation: number;
  readonly failure: Failure;
}

/** The ended pod is judged and its logs are kept. */
export interface OutcomeCollected {
  readonly type: 'outcome-collected';
  readonly incarnation: number;
  readonly verdict: Verdict;
  readonly logs: readonly LogFile[];
}

/** The pod is told to end (or was not there); its logs until then are kept. */
export interface PodStopped {
  readonly type: 'pod-stopped';
  readonly incarnation: number;
  readonly order: number;
  readonly gone: boolean;
  readonly hasReport: boolean;
  readonly logs: readonly LogFile[];
}

/** The pod of a collected attempt is told to go (or was gone). */
export interface PodReleased {
  readonly type: 'pod-released';
  readonly incarnation: number;
  readonly gone: boolean;
}

/** The platform would not let an effect through; it is ordered again later. */
export interface EffectFailed {
  readonly type: 'effect-failed';
  readonly incarnation: number;
  readonly effect: ExecutorEffect['type'];
  readonly reason: string;
}

export type ExecutorMessage =
  | StartAttempt
  | TerminateAttempt
  | PodObserved
  | PodCreated
  | PodRefused
  | OutcomeCollected
  | PodStopped
  | PodReleased
  | EffectFailed;

/** Intents of the executor. All are idempotent; see executor-actor.ts for how they are carried out. */
export type ExecutorEffect =
  | {
      readonly type: 'create';
      readonly incarnation: number;
      readonly podName: string;
      readonly plan: AttemptPlan;
      /** After this moment nobody waits for the pod any more: it must not be created. */
      readonly notAfterMs: number;
    }
  | {
      readonly type: 'collect';
      readonly incarnation: number;
      readonly plan: AttemptPlan;
      readonly pod: PodFacts;
      readonly exit: PodExit;
    }
  | {
      readonly type: 'stop';
      readonly incarnation: number;
      readonly podName: string;
      readonly plan: AttemptPlan;
      readonly graceSeconds: number;
      /** Comes back in the answer. */
      readonly order: number;
    }
  | {
      readonly type: 'release';
      readonly incarnation: number;
      readonly podName: string;
      readonly graceSeconds: number;
    };
