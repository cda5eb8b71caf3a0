import type { Durable } from '../runtime/actor.ts';
import { type AttemptPlan, type LogFile, type Observation, type PodFacts, parseExecutorKey } from './messages.ts';
import type { Verdict } from './outcome.ts';
import type { AttemptIdentity } from './paths.ts';
import type { LivePod, PodExit } from './pod-view.ts';

/** Where an attempt is; the machine is described in decide.ts. */
export type ExecutorStage =
  | 'new'
  | 'creating'
  | 'live'
  | 'collecting'
  | 'releasing'
  | 'backoff'
  | 'terminating'
  | 'done';

/** One attempt as its executor knows it: a row of `pod`. */
export interface ExecutorState extends Durable {
  readonly runId: number;
  readonly action: string;
  readonly attempt: number;
  readonly stage: ExecutorStage;
  /** Number of the current pod of this attempt, from 1. */
  readonly incarnation: number;
  /** Name of the current pod, whether it exists or not. */
  readonly podName: string;
  readonly machine: ExecutorMachine;
}

/** What the machine remembers beside its stage; JSON in `pod.machine`. */
export interface ExecutorMachine {
  readonly plan?: AttemptPlan;
  /** The pod as last seen. */
  readonly pod?: PodFacts;
  /** Nothing of the pod runs any more. */
  readonly over?: boolean;
  /** The pod is not there any more. */
  readonly gone?: boolean;
  /** How the pod ended, until its outcome is collected. */
  readonly exit?: PodExit;
  /** Trouble of the live pod that may pass. */
  readonly giveUp?: LivePod['giveUp'];
  /** The outcome of the current pod. */
  readonly collected?: { readonly verdict: Verdict; readonly logs: readonly LogFile[] };
  /** Number of the last order to stop the pod. */
  readonly stopOrder?: number;
  /** The pod was told to stop by that order, and this was kept of it. */
  readonly stopped?: { readonly hasReport: boolean; readonly logs: readonly LogFile[] };
  /** Somebody wants the attempt to end. */
  readonly stop?: { readonly reason: string; readonly graceSeconds: number };
  /** Orders to create the pod that are not answered, and when the last of them is dead even if nobody answers. */
  readonly creating?: { readonly orders: number; readonly untilMs: number };
  /** How often the effect that is waited for has failed in a row. */
  readonly tries?: number;
  /** What the action was last told, without the time. */
  readonly told?: Omit<Observation, 'atMs'>;
  /** `attempt-ended` was sent: nothing is told any more. */
  readonly ended?: boolean;
}

/** The executor of an attempt that nobody has heard of: born by its first letter. */
export function newExecutor(key: string): ExecutorState {
  return {
    key,
    ...parseExecutorKey(key),
    version: 0,
    wakeAt: null,
    stage: 'new',
    incarnation: 1,
    // Unique as the table demands, and no name a pod can have.
    podName: `none:${key}`,
    machine: {},
  };
}

/** Whose pod it is, for names and paths. */
export function identityOf(
  state: Pick<ExecutorState, 'runId' | 'action' | 'attempt'>,
  plan: AttemptPlan,
  incarnation: number,
): AttemptIdentity {
  const { runId, action, attempt } = state;
  return { runId, project: plan.project, domain: plan.domain, run: plan.run, action, attempt, incarnation };
}
