/**
 * The state machine of an action. Pure: no I/O, no clock.
 *
 *   new ──────► live ◄──────► backoff          a pod per attempt, made by its executor
 *    │           │ │             │
 *    │           │ └► stopping ──┤             abort or time-out: told to end, waits for its word
 *    │           ▼               ▼
 *    │        closing ────────► done           if it has children: they end first (I6), then the verdict
 *    ├► sleeping ──────────────► done          core-sleep: a timer, no pod
 *    ├► paused ────────────────► done          condition: signalled, timed out or aborted
 *    ├► awaiting ─► live, done                  another action computes the same result
 *    └─────────────────────────► done          cached, recovered, aborted before it began
 *
 * Entries and exits
 *   new       entered by Enqueue/CreateRun with a wake. Left in the first drain.
 *   awaiting  entered when another action holds the reservation of the result this one needs. Looks again every second:
 *             uses the result, or takes the reservation when its holder is over without one.
 *   live      entered with the letter `start` to the executor of (action, attempt). Left by its `attempt-ended`, or to
 *             stopping by an abort or an expired bound. Wakes at the nearest bound; otherwise the executor's letters wake it.
 *   stopping  entered with the letter `terminate`. Left by `attempt-ended` only: nothing is terminal while its pod lives.
 *   backoff   entered by a failure with budget left; the next attempt is counted when it starts. Left at `retryAt`, by an abort or the deadline.
 *   closing   entered when the verdict is known and there are children. Enqueue refuses new ones from this commit on, so
 *             those seen in the next drain are all there will ever be. Left when none of them is live. An action without
 *             children goes straight to done: the first Enqueue under it would raise its version, and the save would fail.
 *   done      entered once. Late letters change nothing; an abort that asks for word is answered.
 *
 * Invariants (docs/design.md): I1 a terminal phase never changes; I2 attempts grow by one and the next `start` follows the
 * `attempt-ended` of the one before; I5 every non-terminal state has a wakeAt or waits for a letter that is owed to it;
 * I6 terminal only without live children.
 *
 * If this process dies after a commit, mail and wake_at are in the database and any node goes on from there.
 */

import type { AttemptEnded, AttemptObserved, AttemptPhase, AttemptPlan } from '../executor/messages.ts';
import type { Decision } from '../runtime/actor.ts';
import type { ActionState, StopCause } from './action-state.ts';
import { ActionType } from './action-type.ts';
import { amendLast, enterPhase, openAttempt, podOf, recordEvent } from './attempt-log.ts';
import { deadlineOf, nextBound, timeoutFailure } from './bounds.ts';
import { CacheStatus } from './cache-status.ts';
import { become, type Draft, needed, policyOf, tellExecutor, tellParent } from './draft.ts';
import { abortChildren, close, conclude, fail } from './ending.ts';
import type { ActionFacts } from './facts.ts';
import type { Failure } from './failure.ts';
import type { AbortAction, ActionMessage } from './messages.ts';
import { Phase } from './phase.ts';

/** How often an action that waits for the result of another looks for it. */
const AWAIT_RECHECK_MS = 1_000;

/** How long a stopped pod may take to end by itself, in seconds. */
export interface ActionSettings {
  readonly graceSeconds: number;
}

/**
 * Folds the mail over the state, then takes the step that is due.
 * Facts may be absent only when the action is already over.
 */
export function decide(
  before: ActionState,
  mail: readonly ActionMessage[],
  now: Date,
  facts: ActionFacts | undefined,
  settings: ActionSettings,
): Decision<ActionState> {
  const draft: Draft = { state: before, letters: [] };
  for (const message of mail) receive(draft, message, now, facts);
  if (draft.state.stage !== 'done') advance(draft, now, needed(facts), settings, mail.length > 0);
  const changed = draft.state !== before;
  return {
    state: draft.state,
    letters: draft.letters,
    changes: changed && isVisible(before, draft.state) ? [{ topic: String(before.runId), subject: before.name }] : [],
    effects: [],
  };
}

function receive(draft: Draft, message: ActionMessage, now: Date, facts: ActionFacts | undefined): void {
  switch (message.type) {
    case 'abort':
      return receiveAbort(draft, message);
    case 'child-ended':
      return; // a doorbell: `close` counts the live children from the facts
    case 'attempt-observed':
      return receiveObservation(draft, message);
    case 'attempt-ended':
      return receiveEnd(draft, message, now, facts);
  }
}

function receiveAbort(draft: Draft, message: AbortAction): void {
  const { state } = draft;
  if (state.stage === 'done') {
    if (message.notifyParent) tellParent(draft);
    return;
  }
  const machine = message.notifyParent ? { ...state.machine, notifyParent: true } : state.machine;
  // With the verdict known there is nothing left to abort but the children, and they are on their way out.
  const abort = state.stage === 'closing' ? state.abort : (state.abort ?? { reason: message.reason, by: message.by });
  if (abort !== state.abort || machine.notifyParent !== state.machine.notifyParent) become(draft, { abort, machine });
}

/** A report about another attempt than the current one is old news (I2). */
function receiveObservation(draft: Draft, { attempt, observation }: AttemptObserved): void {
  const { state } = draft;
  if (attempt !== state.attempt || (state.stage !== 'live' && state.stage !== 'stopping')) return;
  const at = new Date(observation.atMs);
  const noted = amendLast(state.attempts, last => ({
    ...recordEvent(last, at, observation.phase, observation.reason),
    outputUri: observation.outputUri,
    ...(observation.pod === undefined ? {} : { pod: podOf(observation.pod) }),
  }));
  const seen = { attempts: noted, outputUri: observation.outputUri };
  if (state.stage === 'stopping') return become(draft, seen);
  const phase = observedPhase[observation.phase];
  become(draft, {
    ...seen,
    phase,
    attempts: enterPhase(noted, phase, at),
    startedAt: phase === Phase.running ? (state.startedAt ?? at) : state.startedAt,
    waitingFor: observation.reason,
  });
}

function receiveEnd(draft: Draft, { attempt, outcome }: AttemptEnded, now: Date, given: ActionFacts | undefined): void {
  const { state } = draft;
  if (attempt !== state.attempt || (state.stage !== 'live' && state.stage !== 'stopping')) return;
  const facts = needed(given);
  const at = new Date(outcome.atMs);
  become(draft, {
    outputUri: outcome.outputUri,
    attempts: amendLast(state.attempts, last => ({
      ...last,
      outputUri: outcome.outputUri,
      ...(outcome.hasReport ? { hasReport: true } : {}),
      ...(outcome.pod === undefined ? {} : { pod: podOf(outcome.pod) }),
      ...(outcome.logs[0] === undefined ? {} : { logUri: outcome.logs[0].uri }),
    })),
  });
  // An abort that was accepted is kept even when the pod was faster: the caller was told it would be aborted.
  if (state.abort !== null) return conclude(draft, at, now, facts, { phase: Phase.aborted });
  if (outcome.status === 'succeeded') return conclude(draft, at, now, facts, { phase: Phase.succeeded });
  if (outcome.status === 'failed') return fail(draft, at, now, facts, Phase.failed, outcome.failure);
  const { stop } = state.machine;
  if (stop === undefined || stop === 'abort') {
    const failure: Failure = { code: 'Interrupted', kind: 'SYSTEM', message: outcome.reason, recoverable: true };
    return fail(draft, at, now, facts, Phase.failed, failure);
  }
  const failure = timeoutFailure(stop, policyOf(facts));
  if (stop === 'deadline') return conclude(draft, at, now, facts, { phase: Phase.timedOut, failure });
  fail(draft, at, now, facts, Phase.timedOut, failure);
}

/** What is due without a letter. Each step moves on to another stage or to a later wake-up. */
function advance(draft: Draft, now: Date, facts: ActionFacts, settings: ActionSettings, hasMail: boolean): void {
  switch (draft.state.stage) {
    case 'new':
    case 'awaiting':
      return begin(draft, now, facts);
    case 'live':
      return watchBounds(draft, now, facts, settings);
    case 'stopping':
      // Only an abort takes the children along: after a time-out the next attempt may want them. A wake without mail brings
      // nothing new, and two nodes may have it at once; a child born from now on is found by `close`.
      return hasMail && draft.state.abort !== null ? abortChildren(draft, facts) : undefined;
    case 'backoff':
      return awaitRetry(draft, now, facts);
    case 'sleeping':
      return sleep(draft, now, facts);
    case 'paused':
      return awaitSignal(draft, now, facts);
    case 'closing':
      return close(draft, now, facts);
    case 'done':
      return;
  }
}

function begin(draft: Draft, now: Date, facts: ActionFacts): void {
  const { state } = draft;
  if (state.abort !== null) return conclude(draft, now, now, facts, { phase: Phase.aborted });
  if (state.type === ActionType.condition) return pause(draft, now, facts);
  if (facts.recovered !== undefined) {
    const { outputUri, run } = facts.recovered;
    become(draft, { outputUri, recoveredFrom: { run, action: state.name } });
    return conclude(draft, now, now, facts, { phase: Phase.recovered });
  }
  if (facts.cached !== undefined) {
    const { outputUri } = facts.cached;
    const attempts = openAttempt(state.attempts, state.attempt, now, { cacheStatus: CacheStatus.hit, outputUri });
    become(draft, { attempts, outputUri, cacheStatus: CacheStatus.hit });
    return conclude(draft, now, now, facts, { phase: Phase.succeeded });
  }
  if (facts.computedBy !== undefined) return awaitResult(draft, now, facts.computedBy);
  if (
    facts.policy?.cacheSerializable &&
    facts.policy.cacheable &&
    state.cacheKey !== null &&
    !facts.run.overwriteCache
  ) {
    become(draft, { reserve: { scope: facts.run.cacheScope, key: state.cacheKey } });
  }
  if (facts.sleep !== undefined) return fallAsleep(draft, now, facts, facts.sleep);
  startAttempt(draft, now, facts);
}

function awaitResult(draft: Draft, now: Date, owner: string): void {
  const waitingFor = `${owner} to compute the same result`;
  become(draft, {
    stage: 'awaiting',
    phase: Phase.waitingForResources,
    cacheStatus: CacheStatus.miss,
    waitingFor,
    wakeAt: new Date(now.getTime() + AWAIT_RECHECK_MS),
  });
}

function pause(draft: Draft, now: Date, facts: ActionFacts): void {
  const { giveUpAt } = draft.state.machine;
  become(draft, {
    stage: 'paused',
    phase: Phase.paused,
    startedAt: now,
    waitingFor: 'a signal',
    wakeAt: giveUpAt === undefined ? null : new Date(giveUpAt),
  });
  awaitSignal(draft, now, facts);
}

/** A signal that is there wins over a time-out that has just passed (executor.md 2.12). */
function awaitSignal(draft: Draft, now: Date, facts: ActionFacts): void {
  const { state } = draft;
  if (state.hasValue) return conclude(draft, now, now, facts, { phase: Phase.succeeded });
  if (state.abort !== null) return conclude(draft, now, now, facts, { phase: Phase.aborted });
  const { giveUpAt } = state.machine;
  if (giveUpAt === undefined || now.getTime() < giveUpAt) return;
  const message = 'nobody signalled the condition before its time-out';
  const failure: Failure = { code: 'ConditionTimedOut', kind: 'USER', message, recoverable: false };
  conclude(draft, now, now, facts, { phase: Phase.timedOut, failure });
}

function fallAsleep(draft: Draft, now: Date, facts: ActionFacts, input: NonNullable<ActionFacts['sleep']>): void {
  const opened = openAttempt(draft.state.attempts, draft.state.attempt, now);
  become(draft, { attempts: opened });
  if ('failure' in input) return conclude(draft, now, now, facts, { phase: Phase.failed, failure: input.failure });
  become(draft, {
    stage: 'sleeping',
    phase: Phase.running,
    attempts: enterPhase(opened, Phase.running, now),
    startedAt: now,
    waitingFor: `its sleep of ${input.ms / 1000} s to be over`,
    wakeAt: new Date(now.getTime() + input.ms),
  });
  sleep(draft, now, facts);
}

function sleep(draft: Draft, now: Date, facts: ActionFacts): void {
  const { state } = draft;
  if (state.abort !== null) return conclude(draft, now, now, facts, { phase: Phase.aborted });
  if (state.wakeAt === null || now >= state.wakeAt) conclude(draft, now, now, facts, { phase: Phase.succeeded });
}

function startAttempt(draft: Draft, now: Date, facts: ActionFacts): void {
  const { state } = draft;
  const { run } = facts;
  const plan: AttemptPlan = {
    project: run.project,
    domain: run.domain,
    run: run.name,
    specDigest: state.specDigest,
    inputUri: state.inputUri,
    outputBase: run.outputBase,
    rawDataPrefix: run.rawDataPrefix,
    runStartedAtMs: run.startedAtMs,
    depth: state.depth,
  };
  const { retryAt: _over, ...machine } = state.machine;
  const attempt = state.attempts.length + 1;
  become(draft, {
    stage: 'live',
    phase: Phase.queued,
    attempt,
    attempts: openAttempt(state.attempts, attempt, now),
    waitingFor: 'its executor to create the pod',
    machine,
  });
  become(draft, { wakeAt: nextBound(draft.state, policyOf(facts))?.at ?? null });
  tellExecutor(draft, { type: 'start', plan });
}

function watchBounds(draft: Draft, now: Date, facts: ActionFacts, settings: ActionSettings): void {
  const { state } = draft;
  if (state.abort !== null) {
    stopAttempt(draft, 'abort', state.abort.reason, settings);
    return abortChildren(draft, facts);
  }
  const policy = policyOf(facts);
  const bound = nextBound(state, policy);
  if (bound !== null && now >= bound.at) {
    return stopAttempt(draft, bound.cause, timeoutFailure(bound.cause, policy).message, settings);
  }
  if (bound?.at.getTime() !== state.wakeAt?.getTime()) become(draft, { wakeAt: bound?.at ?? null });
}

function stopAttempt(draft: Draft, cause: StopCause, reason: string, settings: ActionSettings): void {
  tellExecutor(draft, { type: 'terminate', reason, graceSeconds: settings.graceSeconds });
  become(draft, {
    stage: 'stopping',
    machine: { ...draft.state.machine, stop: cause },
    waitingFor: `its pod to end (${reason})`,
    wakeAt: null,
  });
}

function awaitRetry(draft: Draft, now: Date, facts: ActionFacts): void {
  const { state } = draft;
  if (state.abort !== null) return conclude(draft, now, now, facts, { phase: Phase.aborted });
  const policy = policyOf(facts);
  const deadline = deadlineOf(state, policy);
  if (deadline !== null && now >= deadline) {
    return conclude(draft, now, now, facts, { phase: Phase.timedOut, failure: timeoutFailure('deadline', policy) });
  }
  const { retryAt } = state.machine;
  if (retryAt === undefined || now.getTime() >= retryAt) startAttempt(draft, now, facts);
}

const observedPhase: Record<AttemptPhase, number> = {
  queued: Phase.queued,
  'waiting-for-resources': Phase.waitingForResources,
  initializing: Phase.initializing,
  running: Phase.running,
};

/** Private bookkeeping is no news to anyone who watches. */
function isVisible(before: ActionState, after: ActionState): boolean {
  return (
    before.phase !== after.phase ||
    before.attempt !== after.attempt ||
    before.attempts !== after.attempts ||
    before.outputUri !== after.outputUri ||
    before.waitingFor !== after.waitingFor
  );
}
