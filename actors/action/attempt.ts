import type { Failure } from './failure.ts';

/** One phase of an attempt and when it began; it ends when the next begins. */
export interface PhaseEntry {
  readonly phase: number;
  readonly at: string;
}

/** Something that happened to the pod of an attempt, for people: shown as a cluster event. */
export interface AttemptEvent {
  readonly at: string;
  readonly reason: string;
  readonly message: string;
}

/**
 * One attempt of an action as stored in `action.attempts` (JSON; times are ISO 8601 with milliseconds). The list is
 * contiguous from 1; only the last element can be live. A failed attempt keeps its failure when the next one starts.
 */
export interface Attempt {
  readonly attempt: number;
  readonly phases: readonly PhaseEntry[];
  readonly endedAt?: string;
  readonly failure?: Failure;
  /** Directory of outputs.pb, error.pb and report.html of this attempt. */
  readonly outputUri?: string;
  /** True once a report exists. */
  readonly hasReport?: boolean;
  readonly cacheStatus?: number;
  /** Where its logs come from: the live pod while it runs, the object store afterwards. */
  readonly pod?: { readonly name: string; readonly container: string; readonly startedAt?: string };
  readonly logUri?: string;
  readonly events?: readonly AttemptEvent[];
}
