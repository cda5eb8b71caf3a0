/**
 * The state machine of one attempt. Pure: no I/O, no clock.
 *
 *   new ───────► creating ──► live ──► collecting ──► releasing ──► done
 *    │             │  ▲        │           │              │
 *    │             │  │        │           │              └──► backoff ──┐   the platform lost the pod: another one
 *    │             │  └────────┼───────────┼─────────────────────────────┘
 *    │             ▼           ▼           │
 *    │           terminating ◄─────────────┘ (only when another pod would follow)
 *    │             │
 *    └─────────────┴──────────────────────────────────────────────► done
 *
 * Entries and exits
 *   new          born by its first letter. `start` leads to creating; `terminate` without a start ends it at once.
 *   creating     entered with effect `create`. Left to live when the pod is created or seen, to done when the task is
 *                refused. A platform that says no is asked again with back-off, for ever, with its reason shown: the
 *                bounds on waiting are the action's.
 *   live         the pod exists; the pod watch tells what it does. Left to collecting when it has ended or vanished, or
 *                when trouble that may pass has lasted too long (wakeAt).
 *   collecting   entered with effect `collect`: logs are kept, the files and the exit are judged. Left by its answer.
 *   releasing    entered with effect `release`: the pod is deleted. Left when it is gone: to done, or to backoff.
 *   backoff      the platform lost the pod and it left nothing. Left at wakeAt to creating, with the next incarnation.
 *   terminating  entered by `terminate` with effect `stop`: logs are kept, the pod is deleted. Left to done when it is gone.
 *   done         never left; late letters change nothing.
 *
 * `attempt-ended` is sent once, on the way into releasing when nothing of the pod runs any more, else when it is gone.
 *
 * Invariants (docs/design.md)
 *   I1  exactly one attempt-ended, and no attempt-observed after it.
 *   I2  a pod is created only in creating, and the next incarnation only after the one before is known to be gone. An
 *       order to create that is under way is waited for (`creating`), so it cannot come true behind our back.
 *   I5  every stage but live and done has a wakeAt that orders its effect again; live is woken by the pod watch, which
 *       compares all live executors with all pods every few seconds (pod-watch.ts).
 *
 * If this process dies after a commit, the sweeper finds the wakeAt and any node orders the effect again.
 */
import { ACTION_KIND, actionKey } from '../action/messages.ts';
import type { Decision, Letter } from '../runtime/actor.ts';
import {
  become,
  collectedOutcome,
  type Draft,
  endingOf,
  finish,
  remember,
  report,
  tell,
  terminated,
} from './executor-draft.ts';
import type { EffectFailed, ExecutorEffect, ExecutorMessage, OutcomeCollected, PodObserved } from './executor-mail.ts';
import { type ExecutorState, identityOf } from './executor-state.ts';
import type { PodFacts, TerminateAttempt } from './messages.ts';
import { podName } from './names.ts';
import type { PodExit } from './pod-view.ts';

/** Pods that one attempt may have. */
export const MAX_INCARNATIONS = 3;
/** An effect whose answer is missing for so long is ordered again: it is idempotent. */
export const REORDER_MS = 10_000;
/** An order to create a pod is not carried out any more after this time. */
export const CREATE_ORDER_MS = 20_000;
/** Back-off of an effect the platform refused, and before the next incarnation; both double. */
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;
/** Between SIGTERM and SIGKILL for what still runs beside a primary container that has ended. */
const COMPANION_GRACE_SECONDS = 10;
/** A deleted pod may take this much longer than its grace. */
const REMOVAL_MS = 10_000;

/** Folds the mail over the state, then takes the step that is due. */
export function decide(
  before: ExecutorState,
  mail: readonly ExecutorMessage[],
  now: Date,
): Decision<ExecutorState, ExecutorEffect> {
  const draft: Draft = { state: before, now: now.getTime(), reports: [], effects: [] };
  for (const message of mail) receive(draft, message);
  if (isDue(draft)) wake(draft);
  const { state } = draft;
  const to = { kind: ACTION_KIND, key: actionKey(state.runId, state.action) };
  return {
    state,
    letters: draft.reports.map((body): Letter => ({ to, body })),
    changes: [],
    effects: draft.effects,
  };
}

function isDue({ state, now }: Draft): boolean {
  return state.wakeAt !== null && now >= state.wakeAt.getTime();
}

function receive(draft: Draft, message: ExecutorMessage): void {
  const { state } = draft;
  if (state.stage === 'done') return;
  if (message.type === 'terminate') return receiveTerminate(draft, message);
  if (message.type === 'start') {
    if (state.stage !== 'new') return;
    become(draft, { machine: { plan: message.plan } });
    return create(draft, 1);
  }
  // What is said of another pod than the current one is old news.
  if (message.incarnation !== state.incarnation) return;
  if (isCreateAnswer(message)) receiveCreateAnswer(draft);
  switch (message.type) {
    case 'pod-observed':
      return receiveSight(draft, message);
    case 'pod-created':
      if (state.stage === 'creating') return enterLive(draft);
      // The pod that was ordered before the stop is there now.
      if (state.stage === 'terminating') stopAgain(draft);
      return;
    case 'pod-refused':
      if (state.stage === 'terminating') return stopAgain(draft);
      if (state.stage !== 'creating') return;
      return finish(draft, { ...endingOf(draft.state, draft.now), status: 'failed', failure: message.failure });
    case 'outcome-collected':
      if (state.stage === 'collecting') receiveOutcome(draft, message);
      return;
    case 'pod-stopped':
      // An answer to an earlier order tells how it was before the pod came, perhaps.
      if (state.stage !== 'terminating' || message.order !== state.machine.stopOrder) return;
      remember(draft, {
        stopped: { hasReport: message.hasReport, logs: message.logs },
        gone: state.machine.gone === true || message.gone,
        tries: undefined,
      });
      return finishStopped(draft);
    case 'pod-released':
      if (state.stage === 'releasing' && message.gone) leaveReleasing(draft);
      return;
    case 'effect-failed':
      return receiveEffectFailed(draft, message);
  }
}

function receiveTerminate(draft: Draft, { reason, graceSeconds }: TerminateAttempt): void {
  const { stage, machine } = draft.state;
  if (machine.stop !== undefined) {
    // A second, harder stop counts; a softer one would take back what was asked for.
    if (graceSeconds >= machine.stop.graceSeconds) return;
    remember(draft, { stop: { ...machine.stop, graceSeconds } });
    if (stage === 'terminating') stop(draft);
    return;
  }
  remember(draft, { stop: { reason, graceSeconds } });
  switch (stage) {
    case 'new':
    case 'backoff':
      remember(draft, { gone: true });
      return finish(draft, terminated(draft.state, draft.now));
    case 'creating':
    case 'live':
      return stop(draft);
    // The pod has ended: its outcome is the truth, unless another pod would follow.
    case 'collecting':
    case 'releasing':
    case 'terminating':
    case 'done':
      return;
  }
}

function receiveSight(draft: Draft, { pod }: PodObserved): void {
  const { stage, machine } = draft.state;
  if (stage === 'new' || stage === 'backoff') return;
  if (stage === 'creating' && pod.is === 'gone') return; // not there yet, as far as the watch knows
  if (stage === 'creating') enterLive(draft);
  const over = machine.over === true || pod.is === 'gone' || (pod.is === 'ended' && pod.over);
  remember(draft, {
    ...(pod.is === 'gone' ? { gone: true } : { pod: pod.facts }),
    ...(over && { over }),
  });
  if (draft.state.stage === 'live') return followPod(draft, pod);
  if (stage === 'releasing') {
    if (pod.is === 'gone') return leaveReleasing(draft);
    if (over) return tellEnd(draft);
  }
  if (stage === 'terminating' && pod.is === 'gone') finishStopped(draft);
}

function followPod(draft: Draft, pod: PodObserved['pod']): void {
  const { machine } = draft.state;
  if (pod.is === 'gone') return collect(draft, vanished);
  if (pod.is === 'ended') {
    // A pod may be over before anybody saw it run; its action still ought to know that it did.
    const { primaryContainer: primary, containers } = pod.facts;
    const hasRun = containers.some(({ name, startedAtMs }) => name === primary && startedAtMs !== undefined);
    if (hasRun && machine.told?.phase !== 'running') tell(draft, 'running', `container ${primary} has run`);
    return collect(draft, pod.exit);
  }
  remember(draft, { giveUp: pod.giveUp });
  become(draft, { wakeAt: pod.giveUp === undefined ? null : new Date(pod.giveUp.atMs) });
  tell(draft, pod.phase, pod.reason);
}

const vanished: PodExit = {
  failure: {
    code: 'Interrupted',
    kind: 'SYSTEM',
    message: 'the pod vanished: its node is gone, or somebody deleted it',
    recoverable: true,
  },
  detail: '',
  decisive: false,
};

function receiveOutcome(draft: Draft, { verdict, logs }: OutcomeCollected): void {
  remember(draft, { collected: { verdict, logs }, exit: undefined, tries: undefined });
  release(draft);
  if (!willRetry(draft.state)) tellEnd(draft);
}

/** The platform lost the pod and another one may be made, so the current one only has to go. */
function willRetry({ machine, incarnation }: ExecutorState): boolean {
  return machine.collected?.verdict.podLost === true && incarnation < MAX_INCARNATIONS;
}

function receiveEffectFailed(draft: Draft, { effect, reason }: EffectFailed): void {
  const { stage, machine } = draft.state;
  if (stage === 'terminating' && effect === 'create') return stopAgain(draft);
  if (effect !== awaitedEffect[stage]) return;
  const tries = (machine.tries ?? 0) + 1;
  remember(draft, { tries });
  become(draft, { wakeAt: new Date(draft.now + delayMs(tries)) });
  if (effect === 'create')
    tell(draft, 'waiting-for-resources', `its pod could not be created, trying again: ${reason}`);
  if (effect === 'collect') tell(draft, 'running', `it has ended; its outcome cannot be read, trying again: ${reason}`);
}

const awaitedEffect: Readonly<Partial<Record<ExecutorState['stage'], ExecutorEffect['type']>>> = {
  creating: 'create',
  collecting: 'collect',
  releasing: 'release',
  terminating: 'stop',
};

/** Without news: the time of something has come. */
function wake(draft: Draft): void {
  const { stage, machine, incarnation } = draft.state;
  switch (stage) {
    case 'creating':
      return create(draft, incarnation);
    case 'live':
      if (machine.giveUp !== undefined) collect(draft, machine.giveUp.exit);
      return;
    case 'collecting':
      return collect(draft, machine.exit!);
    case 'releasing':
      return release(draft);
    case 'backoff':
      return create(draft, incarnation + 1);
    case 'terminating':
      if (machine.creating !== undefined && draft.now >= machine.creating.untilMs) {
        remember(draft, { creating: undefined });
      }
      return stopAgain(draft);
    case 'new':
    case 'done':
      return;
  }
}

function create(draft: Draft, incarnation: number): void {
  const { plan, told, tries, creating } = draft.state.machine;
  const notAfterMs = draft.now + CREATE_ORDER_MS;
  const unanswered = incarnation === draft.state.incarnation && creating !== undefined && draft.now < creating.untilMs;
  const name = podName(identityOf(draft.state, plan!, incarnation));
  become(draft, {
    stage: 'creating',
    incarnation,
    podName: name,
    wakeAt: new Date(draft.now + REORDER_MS),
    machine: {
      plan: plan!,
      creating: { orders: unanswered ? creating.orders + 1 : 1, untilMs: notAfterMs },
      ...(told !== undefined && { told }),
      ...(tries !== undefined && { tries }),
    },
  });
  draft.effects.push({ type: 'create', incarnation, podName: name, plan: plan!, notAfterMs });
}

function enterLive(draft: Draft): void {
  become(draft, { stage: 'live', wakeAt: null });
  remember(draft, { tries: undefined });
}

function collect(draft: Draft, exit: PodExit): void {
  const { machine, incarnation, podName: name } = draft.state;
  become(draft, { stage: 'collecting', wakeAt: new Date(draft.now + REORDER_MS) });
  remember(draft, { exit, giveUp: undefined });
  const pod: PodFacts = machine.pod ?? { name, namespace: '', primaryContainer: '', containers: [] };
  draft.effects.push({ type: 'collect', incarnation, plan: machine.plan!, pod, exit });
}

function release(draft: Draft): void {
  const { machine, incarnation, podName: name } = draft.state;
  if (machine.gone === true) {
    become(draft, { stage: 'releasing' });
    return leaveReleasing(draft);
  }
  const graceSeconds = machine.over === true ? 1 : COMPANION_GRACE_SECONDS;
  become(draft, { stage: 'releasing', wakeAt: new Date(draft.now + graceSeconds * 1_000 + REMOVAL_MS) });
  draft.effects.push({ type: 'release', incarnation, podName: name, graceSeconds });
}

/** The pod is gone. */
function leaveReleasing(draft: Draft): void {
  remember(draft, { gone: true, over: true });
  const { state, now } = draft;
  if (!willRetry(state)) return finish(draft, collectedOutcome(draft));
  if (state.machine.stop !== undefined) return finish(draft, terminated(state, now));
  const waitMs = delayMs(state.incarnation);
  become(draft, { stage: 'backoff', wakeAt: new Date(now + waitMs) });
  const { failure } = state.machine.collected!.verdict;
  tell(draft, 'queued', `pod ${state.incarnation + 1} of at most ${MAX_INCARNATIONS} follows: ${failure!.message}`);
}

function stop(draft: Draft): void {
  const { machine, incarnation, podName: name } = draft.state;
  const { reason, graceSeconds } = machine.stop!;
  // An order to create that is under way is answered, or dead after its time; until then nothing is certain.
  const from = Math.max(draft.now, machine.creating?.untilMs ?? 0);
  const order = (machine.stopOrder ?? 0) + 1;
  become(draft, { stage: 'terminating', wakeAt: new Date(from + graceSeconds * 1_000 + REMOVAL_MS) });
  remember(draft, { giveUp: undefined, stopOrder: order });
  draft.effects.push({ type: 'stop', incarnation, podName: name, plan: machine.plan!, graceSeconds, order });
  if (machine.told !== undefined) tell(draft, machine.told.phase, `it is being stopped: ${reason}`);
}

/** Forgets what the last order to stop found: the pod may have come since. */
function stopAgain(draft: Draft): void {
  remember(draft, { stopped: undefined, gone: undefined });
  stop(draft);
}

function finishStopped(draft: Draft): void {
  const { gone, stopped, creating } = draft.state.machine;
  if (gone !== true || stopped === undefined) return;
  // "Not there" means little while somebody may still create it: its answer, or the wake-up after its time, stops again.
  if (creating !== undefined) return;
  finish(draft, terminated(draft.state, draft.now));
}

function isCreateAnswer(message: ExecutorMessage): boolean {
  const { type } = message;
  return type === 'pod-created' || type === 'pod-refused' || (type === 'effect-failed' && message.effect === 'create');
}

/** Every order is carried out at most once and answered at most once, so they can be counted. */
function receiveCreateAnswer(draft: Draft): void {
  const { creating } = draft.state.machine;
  if (creating === undefined) return;
  const orders = creating.orders - 1;
  remember(draft, { creating: orders > 0 ? { ...creating, orders } : undefined });
}

/** Tells the end as soon as it is true: nothing of the attempt runs any more. */
function tellEnd(draft: Draft): void {
  const { machine } = draft.state;
  if (machine.ended === true || machine.over !== true || machine.collected === undefined) return;
  if (willRetry(draft.state)) return;
  report(draft, collectedOutcome(draft));
}

function delayMs(times: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** (times - 1), LONGEST_DELAY_MS);
}
