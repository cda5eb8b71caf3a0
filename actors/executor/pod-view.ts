import type { Failure } from '../action/failure.ts';
import type { AttemptPhase, PodFacts } from './messages.ts';

/** A pod as pod-status.ts reads it: all the executor needs to know, small enough for a letter. */
export type PodView = LivePod | EndedPod;

export interface LivePod {
  readonly is: 'live';
  readonly phase: AttemptPhase;
  /** Why it is in this phase, in words. */
  readonly reason: string;
  readonly facts: PodFacts;
  /** It is in trouble that may pass; if it is still so at this moment, it has failed. */
  readonly giveUp?: { readonly atMs: number; readonly exit: PodExit };
}

export interface EndedPod {
  readonly is: 'ended';
  readonly exit: PodExit;
  /** Nothing of it runs any more; false while companions outlive the primary container. */
  readonly over: boolean;
  readonly facts: PodFacts;
}

/** What the exit of a pod says by itself, before anybody has looked at what it wrote. */
export interface PodExit {
  /** Null: everything that counts ended well. */
  readonly failure: Failure | null;
  /** The container to blame; its log tells more. Absent: the primary one, or none. Without a failure: the uploader, which failed. */
  readonly container?: string;
  /** The last words of the container that failed, as the kubelet tells them; may be empty. */
  readonly detail: string;
  /** The files it wrote cannot change the verdict (copilot/injection.ts: the main container's exit comes first). */
  readonly decisive: boolean;
}
