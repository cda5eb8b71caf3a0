/** How an action ends: the verdict on its last attempt, the children first, then the one terminal step (I1, I6). */

import type { Verdict } from './action-state.ts';
import { closeAttempt } from './attempt-log.ts';
import { deadlineOf } from './bounds.ts';
import { CacheStatus } from './cache-status.ts';
import { become, type Draft, policyOf, tellParent } from './draft.ts';
import type { ActionFacts } from './facts.ts';
import type { Failure } from './failure.ts';
import { type AbortAction, ACTION_KIND, actionKey } from './messages.ts';
import { Phase } from './phase.ts';
import { retryDelayMs } from './policy.ts';

/** Platform failures an action survives by further attempts, beyond those its executors survive by further pods. */
export const MAX_SYSTEM_FAILURES = 3;
/** First delay after a platform failure; it doubles with each. */
const SYSTEM_RETRY_MS = 1_000;
/** A closing parent looks again after this time even if a child's word got lost. */
const CLOSING_RECHECK_MS = 5_000;

/** The attempt failed: another one if the budget of its kind allows, else the verdict. */
export function fail(draft: Draft, at: Date, now: Date, facts: ActionFacts, phase: number, failure: Failure): void {
  const { state } = draft;
  const policy = policyOf(facts);
  const system = failure.kind === 'SYSTEM';
  const userFailures = (state.machine.userFailures ?? 0) + (system ? 0 : 1);
  const systemFailures = (state.machine.systemFailures ?? 0) + (system ? 1 : 0);
  const budgetLeft = system ? systemFailures <= MAX_SYSTEM_FAILURES : userFailures <= policy.retries;
  if (!failure.recoverable || !budgetLeft) return conclude(draft, at, now, facts, { phase, failure });

  const delayMs = system ? SYSTEM_RETRY_MS * 2 ** (systemFailures - 1) : retryDelayMs(policy, userFailures);
  const retryAt = new Date(at.getTime() + delayMs);
  const deadline = deadlineOf(state, policy);
  const { stop: _over, ...machine } = state.machine;
  become(draft, {
    stage: 'backoff',
    phase: Phase.queued,
    attempts: closeAttempt(state.attempts, at, phase, failure),
    machine: { ...machine, userFailures, systemFailures, retryAt: retryAt.getTime() },
    waitingFor: system
      ? `another attempt after platform failure ${systemFailures} of at most ${MAX_SYSTEM_FAILURES}`
      : `retry ${userFailures} of ${policy.retries}, ${delayMs / 1000} s after the failure`,
    wakeAt: deadline !== null && deadline < retryAt ? deadline : retryAt,
  });
}

/** The verdict is known. With children: refuse further ones from this commit on, and read those that live in the next drain. */
export function conclude(draft: Draft, at: Date, now: Date, facts: ActionFacts, verdict: Verdict): void {
  const { state } = draft;
  become(draft, { attempts: closeAttempt(state.attempts, at, verdict.phase, verdict.failure) });
  if (!state.hasChildren) return finish(draft, now, facts, verdict);
  const { stop: _stopped, retryAt: _over, ...machine } = state.machine;
  become(draft, {
    stage: 'closing',
    machine: { ...machine, verdict },
    waitingFor: 'its children to end',
    wakeAt: now,
  });
}

/** Only children read after the commit that entered `closing` are known to be all: `conclude` never gets here itself. */
export function close(draft: Draft, now: Date, facts: ActionFacts): void {
  const { state } = draft;
  if (!facts.closing) return;
  const children = facts.liveChildren ?? [];
  const verdict = state.machine.verdict!;
  if (children.length === 0) return finish(draft, now, facts, verdict);
  abortChildren(draft, facts);
  become(draft, {
    waitingFor: `${children.length} ${children.length === 1 ? 'child' : 'children'} to end`,
    wakeAt: new Date(now.getTime() + CLOSING_RECHECK_MS),
  });
}

/** Idempotent: a child that was told before only learns that its parent wants word. */
export function abortChildren(draft: Draft, facts: ActionFacts): void {
  const { state } = draft;
  const ending = endings[state.machine.verdict?.phase ?? 0] ?? 'is ending';
  const { reason, by } = state.abort ?? { reason: `parent action ${state.name} ${ending}`, by: null };
  for (const child of facts.liveChildren ?? []) {
    const body: AbortAction = { type: 'abort', reason, by, notifyParent: true };
    draft.letters.push({ to: { kind: ACTION_KIND, key: actionKey(state.runId, child) }, body });
  }
}

/** The one place where an action becomes terminal (I1). */
function finish(draft: Draft, now: Date, facts: ActionFacts, verdict: Verdict): void {
  const { state } = draft;
  if (
    verdict.phase === Phase.succeeded &&
    state.cacheStatus !== CacheStatus.hit &&
    facts.policy?.cacheable &&
    state.cacheKey !== null
  ) {
    const cacheEntry = { scope: facts.run.cacheScope, key: state.cacheKey, outputUri: state.outputUri ?? '' };
    become(draft, { cacheEntry, cacheStatus: CacheStatus.populated });
  }
  const attempts = closeAttempt(state.attempts, now, verdict.phase, verdict.failure);
  const lastEnd = attempts.at(-1)?.endedAt;
  const { userFailures = 0, systemFailures = 0 } = state.machine;
  become(draft, {
    stage: 'done',
    phase: verdict.phase,
    failure: verdict.failure ?? null,
    attempts,
    endedAt: lastEnd === undefined ? now : new Date(lastEnd),
    waitingFor: null,
    wakeAt: null,
    machine: { userFailures, systemFailures },
    ...(facts.policy?.cacheSerializable ? { release: true } : {}),
  });
  if (state.machine.notifyParent === true) tellParent(draft);
}

const endings: Record<number, string> = {
  [Phase.succeeded]: 'has succeeded',
  [Phase.failed]: 'has failed',
  [Phase.aborted]: 'was aborted',
  [Phase.timedOut]: 'has timed out',
};
