/**
 * The letters of the executor, the durable actor of one attempt (kind `executor`, key `<run id>.<action>.<attempt>`).
 * Everything here travels as JSON: times are epoch milliseconds, no bigint, no Date, `undefined` fields are left out.
 */
import type { Failure } from '../action/failure.ts';

export const EXECUTOR_KIND = 'executor';

/** Key of the executor of one attempt; attempts count from 1. */
export function executorKey(runId: number, action: string, attempt: number): string {
  return `${runId}.${action}.${attempt}`;
}

/**
 * The parts of an executor's key. Action names never hold a dot, so the first and the last one delimit.
 * @throws RangeError when it is no such key
 */
export function parseExecutorKey(key: string): { runId: number; action: string; attempt: number } {
  const match = /^([1-9]\d*)\.(.+)\.([1-9]\d*)$/.exec(key);
  if (match === null) throw new RangeError(`'${key}' is no executor key: expected <run id>.<action>.<attempt>`);
  return { runId: Number(match[1]), action: match[2]!, attempt: Number(match[3]) };
}

/** All an attempt needs beside its task spec (by digest) and the RunSpec of its run (read from the `run` row). */
export interface AttemptPlan {
  readonly project: string;
  readonly domain: string;
  /** Name of the run, as the user knows it. */
  readonly run: string;
  /** Digest of the TaskSpec in table `spec`. */
  readonly specDigest: string;
  /** Full URI of the inputs blob (`…/inputs.pb`). */
  readonly inputUri: string;
  /** `<base>/<project>/<domain>/<run>/` with a trailing slash (`run.output_base`). */
  readonly outputBase: string;
  /** `run.raw_data_prefix`. */
  readonly rawDataPrefix: string;
  /** `run.start_time`: the same for every action and attempt of the run. */
  readonly runStartedAtMs: number;
  /** Distance from the root action (a0 = 0): a waiting parent must never keep its children from a slot. */
  readonly depth: number;
}

/** Action → executor: begin the attempt named by the key. Repeating it changes nothing. */
export interface StartAttempt {
  readonly type: 'start';
  readonly plan: AttemptPlan;
}

/**
 * Action → executor: end the attempt, whatever it is doing. Answered by the one `attempt-ended` of the attempt: with
 * outcome `terminated`, or with its real outcome when its pod had ended before. Repeating it changes nothing.
 */
export interface TerminateAttempt {
  readonly type: 'terminate';
  /** In words, shown to people: `aborted by …`, `ran longer than 60 s`. */
  readonly reason: string;
  /** Between SIGTERM and SIGKILL, in seconds; 0 = at once. */
  readonly graceSeconds: number;
}

/** What a live attempt is doing. `waiting-for-resources`: no room for its pod yet; `queued`: not looked at yet. */
export type AttemptPhase = 'queued' | 'waiting-for-resources' | 'initializing' | 'running';

/** A container of the pod, for log context and details. */
export interface ContainerFacts {
  readonly name: string;
  readonly init: boolean;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  readonly exitCode?: number;
}

/** The pod an attempt has or had. */
export interface PodFacts {
  readonly name: string;
  readonly namespace: string;
  /** Its exit decides the task, and its log is the task's log. */
  readonly primaryContainer: string;
  readonly containers: readonly ContainerFacts[];
}

/** How a live attempt looks now; sent whenever phase, reason or pod change. */
export interface Observation {
  readonly phase: AttemptPhase;
  /** Why it is in this phase, in words; never empty. */
  readonly reason: string;
  /** When it was seen so. */
  readonly atMs: number;
  /** From 1; a system failure (lost node, eviction, vanished pod) makes a new pod of the same attempt. */
  readonly incarnation: number;
  /** Directory of outputs.pb, error.pb and report.html of this incarnation, without trailing slash. */
  readonly outputUri: string;
  readonly pod?: PodFacts;
}

/** The log of one container in the object store. */
export interface LogFile {
  readonly container: string;
  readonly uri: string;
}

/** What every outcome tells, however the attempt ended. */
interface Ended {
  readonly atMs: number;
  readonly incarnation: number;
  readonly outputUri: string;
  /** `report.html` exists in `outputUri`. */
  readonly hasReport: boolean;
  readonly pod?: PodFacts;
  /** The primary container first. Empty when no container ever ran. */
  readonly logs: readonly LogFile[];
}

/**
 * How an attempt ended, once. A failure of kind SYSTEM is not the user's: either the task said so itself (its error
 * document), or the platform lost as many pods of this attempt as the executor may make. The action decides what its own
 * budget makes of it.
 */
export type Outcome =
  | (Ended & { readonly status: 'succeeded' })
  | (Ended & { readonly status: 'failed'; readonly failure: Failure })
  | (Ended & { readonly status: 'terminated'; readonly reason: string });

/** Executor → action (key `<run id>.<action>`): something visible changed about a live attempt. */
export interface AttemptObserved {
  readonly type: 'attempt-observed';
  readonly attempt: number;
  readonly observation: Observation;
}

/** Executor → action: the attempt is over and nothing of it runs any more. Exactly one per attempt (I1), always last. */
export interface AttemptEnded {
  readonly type: 'attempt-ended';
  readonly attempt: number;
  readonly outcome: Outcome;
}

/** What an action actor hears from the executors of its attempts. */
export type ExecutorReport = AttemptObserved | AttemptEnded;
