import { isDeepStrictEqual } from 'node:util';
import type { ExecutorEffect } from './executor-mail.ts';
import { type ExecutorMachine, type ExecutorState, identityOf } from './executor-state.ts';
import type { AttemptPhase, ExecutorReport, Observation, Outcome } from './messages.ts';
import { attemptPaths } from './paths.ts';

/** The state being worked on and what it causes. Local to one call of `decide`. */
export interface Draft {
  state: ExecutorState;
  readonly now: number;
  readonly reports: ExecutorReport[];
  readonly effects: ExecutorEffect[];
}

/** Changes of the state. */
export function become(draft: Draft, changes: Partial<ExecutorState>): void {
  draft.state = { ...draft.state, ...changes };
}

/** Changes of the memory; undefined forgets. Without a difference the state stays the same object. */
export function remember(
  draft: Draft,
  changes: { [K in keyof ExecutorMachine]?: ExecutorMachine[K] | undefined },
): void {
  const { machine } = draft.state;
  const merged = { ...machine, ...changes };
  const kept = Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined)) as ExecutorMachine;
  // By value: what comes back from jsonb has its keys in another order.
  if (!isDeepStrictEqual(kept, machine)) become(draft, { machine: kept });
}

/** The attempt is over. What was not told yet is told now (I1); the row stays, without what only the machine needed. */
export function finish(draft: Draft, outcome: Outcome): void {
  if (draft.state.machine.ended !== true) report(draft, outcome);
  become(draft, { stage: 'done', wakeAt: null, machine: { ended: true } });
}

/** Tells the action how the attempt ended; nothing is told after it. */
export function report(draft: Draft, outcome: Outcome): void {
  draft.reports.push({ type: 'attempt-ended', attempt: draft.state.attempt, outcome });
  remember(draft, { ended: true });
}

/** The outcome that was collected of the current pod. */
export function collectedOutcome(draft: Draft): Outcome {
  const { verdict, logs } = draft.state.machine.collected!;
  const common = { ...endingOf(draft.state, draft.now), hasReport: verdict.hasReport, logs };
  if (verdict.failure === null) return { ...common, status: 'succeeded' };
  return { ...common, status: 'failed', failure: verdict.failure };
}

/** The outcome of an attempt that was told to end. */
export function terminated(state: ExecutorState, now: number): Outcome {
  const { stop: asked, stopped, collected } = state.machine;
  return {
    ...endingOf(state, now),
    hasReport: stopped?.hasReport ?? collected?.verdict.hasReport ?? false,
    logs: stopped?.logs ?? collected?.logs ?? [],
    status: 'terminated',
    reason: asked!.reason,
  };
}

/** What every outcome of the current pod tells. */
export function endingOf(state: ExecutorState, now: number) {
  const { pod } = state.machine;
  return {
    atMs: now,
    incarnation: state.incarnation,
    outputUri: outputUriOf(state),
    hasReport: false,
    logs: [],
    ...(pod !== undefined && { pod }),
  };
}

/** Tells the action how the attempt looks, when it looks different than before. */
export function tell(draft: Draft, phase: AttemptPhase, reason: string): void {
  const { state, now } = draft;
  const { pod, told } = state.machine;
  if (state.machine.ended === true) return;
  const seen: Omit<Observation, 'atMs'> = {
    phase,
    reason,
    incarnation: state.incarnation,
    outputUri: outputUriOf(state),
    ...(pod !== undefined && { pod }),
  };
  if (isDeepStrictEqual(told, seen)) return;
  remember(draft, { told: seen });
  draft.reports.push({ type: 'attempt-observed', attempt: state.attempt, observation: { ...seen, atMs: now } });
}

function outputUriOf(state: ExecutorState): string {
  const { plan } = state.machine;
  return plan === undefined ? '' : attemptPaths(identityOf(state, plan, state.incarnation), plan).outputUri;
}
