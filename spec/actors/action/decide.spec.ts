import { expect } from 'chai';
import type { ActionState } from '../../../actors/action/action-state.ts';
import { decide } from '../../../actors/action/decide.ts';
import { MAX_SYSTEM_FAILURES } from '../../../actors/action/ending.ts';
import type { ActionFacts } from '../../../actors/action/facts.ts';
import type { ActionMessage } from '../../../actors/action/messages.ts';
import { Phase } from '../../../actors/action/phase.ts';
import type { Letter } from '../../../actors/runtime/actor.ts';
import { abort, aChild, anAction, aPolicy, at, ended, facts, failure, noon, observed, settings } from './builders.ts';

function step(state: ActionState, mail: ActionMessage[], fields: { now?: Date; facts?: ActionFacts } = {}) {
  return decide(state, mail, fields.now ?? noon, fields.facts ?? facts(), settings);
}

function letterTypes(letters: readonly Letter[]): string[] {
  return letters.map(({ to, body }) => `${to.kind}/${to.key} ${(body as { type: string }).type}`);
}

/** An action whose first attempt was handed to its executor. */
function live(fields: Partial<ActionState> = {}, given: ActionFacts = facts()): ActionState {
  return { ...step(anAction(fields), [], { facts: given }).state };
}

/** The same action with children, after it learned its verdict. */
function closing(state: ActionState, mail: ActionMessage[], given: ActionFacts = facts()): ActionState {
  const next = step({ ...state, hasChildren: true }, mail, { facts: given }).state;
  expect(next.stage).to.equal('closing');
  return next;
}

describe('action machine: beginning', () => {
  it('hands a new task to the executor of attempt 1 and waits for its word', () => {
    const { state, letters, changes } = step(anAction(), []);
    expect(state).to.include({ stage: 'live', phase: Phase.queued, attempt: 1, wakeAt: null });
    expect(state.waitingFor).to.be.a('string');
    expect(state.attempts).to.have.length(1);
    expect(letterTypes(letters)).to.deep.equal(['executor/7.a0.1 start']);
    expect(changes).to.deep.equal([{ topic: '7', subject: 'a0' }]);
  });

  it('tells the executor all it needs of the run', () => {
    const { letters } = step(anAction({ depth: 3 }), []);
    expect((letters[0]!.body as { plan: object }).plan).to.include({
      project: 'flytesnacks',
      domain: 'development',
      run: 'rabc',
      specDigest: 'digest',
      inputUri: 's3://flyte/inputs/inputs.pb',
      depth: 3,
    });
  });

  it('does nothing a second time when it is woken without mail', () => {
    const state = live();
    const again = step(state, []);
    expect(again.state).to.equal(state);
    expect(again.letters).to.be.empty;
    expect(again.changes).to.be.empty;
  });

  it('ends as aborted without a pod when the abort was faster', () => {
    const { state, letters } = step(anAction(), [abort()]);
    expect(state).to.include({ stage: 'done', phase: Phase.aborted });
    expect(letters).to.be.empty;
    expect(state.abort?.reason).to.equal('changed my mind');
  });

  it('uses a cached result at once and says so', () => {
    const { state, letters } = step(anAction(), [], { facts: facts({ cached: { outputUri: 's3://flyte/old' } }) });
    expect(state).to.include({ stage: 'done', phase: Phase.succeeded, cacheStatus: 2, outputUri: 's3://flyte/old' });
    expect(state.attempts).to.have.length(1);
    expect(letters).to.be.empty;
  });

  it('takes over a succeeded action of the run it recovers', () => {
    const given = facts({ recovered: { outputUri: 's3://flyte/then', run: 'rold' } });
    const { state } = step(anAction(aChild), [], { facts: given });
    expect(state).to.include({ phase: Phase.recovered, outputUri: 's3://flyte/then' });
    expect(state.recoveredFrom).to.deep.equal({ run: 'rold', action: 'c1' });
  });
});

describe('action machine: serialised calls', () => {
  const policy = aPolicy({ cacheable: true, cacheSerializable: true });

  it('asks for the reservation with its start, and gives it back with its end', () => {
    const given = facts({ policy });
    const { state } = step(anAction({ cacheKey: 'key' }), [], { facts: given });
    expect(state).to.include({ stage: 'live' });
    expect(state.reserve).to.deep.equal({ scope: 'global', key: 'key' });
    const over = step(state, [ended({ status: 'failed', failure: failure() })], { facts: given }).state;
    expect(over).to.include({ stage: 'done', release: true });
  });

  it('waits while another computes the result, naming it, and uses it when it is there', () => {
    const held = facts({ policy, computedBy: 'rabc/c7' });
    const { state, letters } = step(anAction({ cacheKey: 'key' }), [], { facts: held });
    expect(state).to.include({ stage: 'awaiting', phase: Phase.waitingForResources, cacheStatus: 1 });
    expect(state.waitingFor).to.contain('rabc/c7');
    expect(state.wakeAt).to.deep.equal(at(1000));
    expect(letters).to.be.empty;
    const hit = facts({ policy, cached: { outputUri: 's3://flyte/then' } });
    expect(step(state, [], { now: at(1000), facts: hit }).state).to.include({ stage: 'done', cacheStatus: 2 });
  });

  it('computes the result itself when the other ended without one', () => {
    const held = facts({ policy, computedBy: 'rabc/c7' });
    const waiting = step(anAction({ cacheKey: 'key' }), [], { facts: held }).state;
    expect(step(waiting, [], { facts: facts({ policy }) }).state).to.include({ stage: 'live', attempt: 1 });
  });

  it('can be aborted while it waits', () => {
    const held = facts({ policy, computedBy: 'rabc/c7' });
    const waiting = step(anAction({ cacheKey: 'key' }), [], { facts: held }).state;
    expect(step(waiting, [abort()], { facts: held }).state).to.include({ stage: 'done', phase: Phase.aborted });
  });
});

describe('action machine: core-sleep', () => {
  it('is over in its first drain when it sleeps for no time', () => {
    const { state, letters } = step(anAction(aChild), [], { facts: facts({ sleep: { ms: 0 } }) });
    expect(state).to.include({ stage: 'done', phase: Phase.succeeded, wakeAt: null });
    expect(state.attempts[0]!.phases.map(entry => entry.phase)).to.deep.equal([
      Phase.queued,
      Phase.running,
      Phase.succeeded,
    ]);
    expect(letters).to.be.empty;
  });

  it('runs until its time is over, without an executor', () => {
    const { state, letters } = step(anAction(aChild), [], { facts: facts({ sleep: { ms: 1000 } }) });
    expect(state).to.include({ stage: 'sleeping', phase: Phase.running });
    expect(state.wakeAt).to.deep.equal(at(1000));
    expect(letters).to.be.empty;
    expect(step(state, [], { now: at(999) }).state).to.equal(state);
    expect(step(state, [], { now: at(1000) }).state).to.include({ stage: 'done', phase: Phase.succeeded });
  });

  it('can be aborted in its sleep', () => {
    const { state } = step(anAction(aChild), [], { facts: facts({ sleep: { ms: 1000 } }) });
    expect(step(state, [abort()], { now: at(5) }).state).to.include({ stage: 'done', phase: Phase.aborted });
  });

  it('fails with the reason when its input is no duration', () => {
    const bad = failure({ code: 'BadTaskSpecification', recoverable: false });
    const { state } = step(anAction(aChild), [], { facts: facts({ sleep: { failure: bad } }) });
    expect(state).to.include({ stage: 'done', phase: Phase.failed });
    expect(state.failure).to.deep.equal(bad);
    expect(state.attempts[0]!.failure).to.deep.equal(bad);
  });
});

describe('action machine: what the executor reports', () => {
  it('follows the phases of its pod, remembers when it first ran, and gives the reason it waits for', () => {
    const waiting = step(live(), [observed('waiting-for-resources', { reason: 'waiting for a process slot' })]).state;
    expect(waiting).to.include({ phase: Phase.waitingForResources, waitingFor: 'waiting for a process slot' });
    const running = step(waiting, [observed('initializing', { at: at(1) }), observed('running', { at: at(2) })]).state;
    expect(running.phase).to.equal(Phase.running);
    expect(running.startedAt).to.deep.equal(at(2));
    expect(running.outputUri).to.equal('s3://flyte/out/1');
    expect(running.attempts[0]!.phases.map(entry => entry.phase)).to.deep.equal([1, 2, 3, 4]);
  });

  it('records a repeated reason once', () => {
    const state = step(live(), [observed('running'), observed('running'), observed('running')]).state;
    expect(state.attempts[0]!.events).to.have.length(1);
    expect(state.attempts[0]!.phases.filter(entry => entry.phase === Phase.running)).to.have.length(1);
  });

  it('ignores an older attempt (I2)', () => {
    const state = live({ attempts: [{ attempt: 1, phases: [], endedAt: noon.toISOString() }] });
    expect(state.attempt).to.equal(2);
    expect(
      step(state, [observed('running', { attempt: 1 }), ended({ status: 'succeeded' }, { attempt: 1 })]).state,
    ).to.equal(state);
  });

  it('ends together with its pod when nobody was enqueued under it', () => {
    const { state, letters } = step(live(), [ended({ status: 'succeeded' }, { at: at(9) })]);
    expect(state).to.include({ stage: 'done', phase: Phase.succeeded });
    expect(letters).to.be.empty;
  });

  it('with children, ends in the drain after it refused further ones (I6)', () => {
    const state = closing(live(), [ended({ status: 'succeeded' }, { at: at(9) })]);
    expect(state.phase).to.not.equal(Phase.succeeded);
    const { state: over, letters } = step(state, [], { facts: facts({ closing: true }) });
    expect(over).to.include({ stage: 'done', phase: Phase.succeeded, waitingFor: null, wakeAt: null });
    expect(over.endedAt).to.deep.equal(at(9));
    expect(letters).to.be.empty;
  });

  it('publishes a cacheable result with its end', () => {
    const given = facts({ policy: aPolicy({ cacheable: true }) });
    const state = closing(live({ cacheKey: 'key' }, given), [ended({ status: 'succeeded' })], given);
    const over = step(state, [], { facts: { ...given, closing: true } }).state;
    expect(over.cacheEntry).to.deep.equal({ scope: 'global', key: 'key', outputUri: 's3://flyte/out/1' });
    expect(over.cacheStatus).to.equal(3);
  });

  it('fails with the error of its task when no retry is left', () => {
    const state = closing(live(), [ended({ status: 'failed', failure: failure() })]);
    const over = step(state, [], { facts: facts({ closing: true }) }).state;
    expect(over).to.include({ phase: Phase.failed });
    expect(over.failure).to.deep.equal(failure());
    expect(over.attempts[0]).to.include({ endedAt: noon.toISOString() });
    expect(over.attempts[0]!.failure).to.deep.equal(failure());
  });
});

describe('action machine: retries', () => {
  const given = facts({ policy: aPolicy({ retries: 2, backoff: { baseMs: 1000, factor: 2, capMs: 1500 } }) });

  it('waits the back-off, keeps the error of the failed attempt, and starts the next attempt after it', () => {
    const state = step(live({}, given), [ended({ status: 'failed', failure: failure() })], { facts: given }).state;
    expect(state).to.include({ stage: 'backoff', phase: Phase.queued, attempt: 1 });
    expect(state.wakeAt).to.deep.equal(at(1000));
    expect(state.attempts[0]!.failure).to.deep.equal(failure());
    expect(step(state, [], { now: at(999), facts: given }).state).to.equal(state);
    const { state: next, letters } = step(state, [], { now: at(1000), facts: given });
    expect(next).to.include({ stage: 'live', attempt: 2 });
    expect(next.attempts.map(attempt => attempt.attempt)).to.deep.equal([1, 2]);
    expect(letterTypes(letters)).to.deep.equal(['executor/7.a0.2 start']);
  });

  it('caps the back-off and stops after the granted retries', () => {
    let state = live({}, given);
    for (const [attempt, delay] of [
      [1, 1000],
      [2, 1500],
    ] as const) {
      const now = new Date((state.wakeAt ?? noon).getTime());
      state = step(state, [ended({ status: 'failed', failure: failure() }, { attempt, at: now })], {
        now,
        facts: given,
      }).state;
      expect(state.wakeAt!.getTime() - now.getTime()).to.equal(delay);
      state = { ...step(state, [], { now: state.wakeAt!, facts: given }).state, wakeAt: state.wakeAt };
    }
    const last = step(state, [ended({ status: 'failed', failure: failure() }, { attempt: 3 })], { facts: given }).state;
    expect(last).to.include({ stage: 'done', phase: Phase.failed });
    expect(last.attempts).to.have.length(3);
  });

  it('does not retry an error that says it would come again', () => {
    const state = step(live({}, given), [ended({ status: 'failed', failure: failure({ recoverable: false }) })], {
      facts: given,
    });
    expect(state.state.stage).to.equal('done');
  });

  it('spends no user retry on a failure of the platform, but not without end', () => {
    const system = failure({ kind: 'SYSTEM', code: 'NodeLost' });
    let state = live();
    for (let attempt = 1; attempt <= MAX_SYSTEM_FAILURES; attempt++) {
      state = step(state, [ended({ status: 'failed', failure: system }, { attempt })]).state;
      expect(state.stage).to.equal('backoff');
      expect(state.machine.userFailures).to.equal(0);
      state = step(state, [], { now: at(3_600_000) }).state;
      expect(state.stage).to.equal('live');
    }
    state = step(state, [ended({ status: 'failed', failure: system }, { attempt: MAX_SYSTEM_FAILURES + 1 })]).state;
    expect(state).to.include({ stage: 'done', phase: Phase.failed });
    expect(state.failure).to.deep.equal(system);
  });

  it('can be aborted between two attempts', () => {
    const state = step(live({}, given), [ended({ status: 'failed', failure: failure() })], { facts: given }).state;
    const aborted = step(state, [abort()], { facts: given }).state;
    expect(aborted).to.include({ stage: 'done', phase: Phase.aborted });
  });
});

describe('action machine: bounds', () => {
  function stopped(policy: Partial<Parameters<typeof aPolicy>[0]>, mail: ActionMessage[], now: Date) {
    const given = facts({ policy: aPolicy(policy) });
    const state = step(live({}, given), mail, { facts: given }).state;
    return { given, ...step(state, [], { now, facts: given }) };
  }

  it('ends an attempt that runs too long, and the action with it when no retry is left', () => {
    const { given, letters, state } = stopped({ maxRuntimeMs: 4000 }, [observed('running')], at(4000));
    expect(letterTypes(letters)).to.deep.equal(['executor/7.a0.1 terminate']);
    expect((letters[0]!.body as { graceSeconds: number }).graceSeconds).to.equal(7);
    expect(state.stage).to.equal('stopping');
    const over = step(state, [ended({ status: 'terminated', reason: 'too long' })], { facts: given }).state;
    expect(over).to.include({ stage: 'done', phase: Phase.timedOut });
    expect(over.failure).to.include({ code: 'MAX_RUNTIME_EXCEEDED' });
  });

  it('wakes at the bound, which is counted from the phase it is about', () => {
    const given = facts({ policy: aPolicy({ maxRuntimeMs: 4000, queuedTimeoutMs: 1000 }) });
    const queued = live({}, given);
    expect(queued.wakeAt).to.deep.equal(at(1000));
    const running = step(queued, [observed('initializing', { at: at(10) }), observed('running', { at: at(500) })], {
      facts: given,
    });
    expect(running.state.wakeAt).to.deep.equal(at(4500));
  });

  it('gives up an attempt that is queued too long', () => {
    const { state, given } = stopped({ queuedTimeoutMs: 1000 }, [observed('waiting-for-resources')], at(1000));
    const over = step(state, [ended({ status: 'terminated', reason: 'x' })], { facts: given }).state;
    expect(over.failure).to.include({ code: 'QUEUED_TIMEOUT_EXCEEDED' });
  });

  it('keeps the real result when the pod was faster than its time-out', () => {
    const { state, given } = stopped({ maxRuntimeMs: 4000 }, [observed('running')], at(4000));
    const over = step(state, [ended({ status: 'succeeded' })], { facts: given }).state;
    expect(over).to.include({ stage: 'done', phase: Phase.succeeded });
  });

  it('lets the deadline beat retries that are left, also between attempts', () => {
    const policy = aPolicy({ retries: 20, deadlineMs: 6000, backoff: { baseMs: 60_000, factor: 1, capMs: 60_000 } });
    const given = facts({ policy });
    const state = step(live({}, given), [ended({ status: 'failed', failure: failure() })], { facts: given }).state;
    expect(state.wakeAt).to.deep.equal(at(6000));
    const over = step(state, [], { now: at(6000), facts: given }).state;
    expect(over).to.include({ stage: 'done', phase: Phase.timedOut });
    expect(over.failure).to.include({ code: 'DEADLINE_EXCEEDED' });
  });

  it('retries an attempt that ran too long like any other failure of the user', () => {
    const given = facts({ policy: aPolicy({ maxRuntimeMs: 4000, retries: 1 }) });
    const running = step(live({}, given), [observed('running')], { facts: given }).state;
    const stopping = step(running, [], { now: at(4000), facts: given }).state;
    const retry = step(stopping, [ended({ status: 'terminated', reason: 'x' }, { at: at(4100) })], {
      now: at(4100),
      facts: given,
    }).state;
    expect(retry).to.include({ stage: 'live', attempt: 2 });
    expect(retry.attempts[0]!.failure).to.include({ code: 'MAX_RUNTIME_EXCEEDED' });
    expect(retry.attempts[0]!.phases.at(-1)!.phase).to.equal(Phase.timedOut);
  });
});

describe('action machine: abort', () => {
  it('stops the pod and tells the children at once, with the reason and who asked', () => {
    const given = facts({ liveChildren: ['c1', 'c2'] });
    const { state, letters } = step(step(live(), [observed('running')]).state, [abort()], { facts: given });
    expect(state.stage).to.equal('stopping');
    expect(letterTypes(letters)).to.deep.equal(['executor/7.a0.1 terminate', 'action/7.c1 abort', 'action/7.c2 abort']);
    expect(letters[1]!.body).to.deep.equal({ ...abort(), notifyParent: true });
  });

  it('is aborted only when its pod is gone and its children are over (I6)', () => {
    const stopping = step(live(), [abort()]).state;
    const pending = closing(stopping, [ended({ status: 'terminated', reason: 'x' })]);
    const waiting = step(pending, [], { facts: facts({ closing: true, liveChildren: ['c1'] }) });
    expect(waiting.state.stage).to.equal('closing');
    expect(waiting.state.waitingFor).to.equal('1 child to end');
    expect(waiting.state.wakeAt).to.not.equal(null);
    const mail: ActionMessage[] = [{ type: 'child-ended', child: 'c1' }];
    const over = step(waiting.state, mail, { facts: facts({ closing: true, liveChildren: [] }) }).state;
    expect(over).to.include({ stage: 'done', phase: Phase.aborted });
    expect(over.abort).to.deep.include({ reason: 'changed my mind' });
  });

  it('wins over a pod that ended well after the abort was accepted', () => {
    const stopping = step(live(), [abort()]).state;
    expect(step(stopping, [ended({ status: 'succeeded' })]).state.phase).to.equal(Phase.aborted);
  });

  it('keeps its first reason', () => {
    const first = step(live(), [abort()]).state;
    expect(step(first, [abort({ reason: 'another' })]).state.abort?.reason).to.equal('changed my mind');
  });

  it('comes too late when the verdict is known', () => {
    const state = closing(live(), [ended({ status: 'succeeded' })]);
    const next = step(state, [abort()], { facts: facts({ closing: true, liveChildren: ['c1'] }) }).state;
    expect(next.machine.verdict).to.deep.equal({ phase: Phase.succeeded });
    expect(next.abort).to.equal(null);
  });

  it('tells a parent that asked for word, once it is over and also when it was over before', () => {
    const ask = abort({ notifyParent: true });
    const sleeping = step(anAction(aChild), [], { facts: facts({ sleep: { ms: 1000 } }) }).state;
    const { state, letters } = step(sleeping, [ask]);
    expect(letterTypes(letters)).to.deep.equal(['action/7.a0 child-ended']);
    expect(letterTypes(step(state, [ask]).letters)).to.deep.equal(['action/7.a0 child-ended']);
    expect(step(state, [ask]).state).to.equal(state);
  });

  it('stops children that a finished parent left behind, naming the parent', () => {
    const state = closing(live(), [ended({ status: 'succeeded' })]);
    const { letters } = step(state, [], { facts: facts({ closing: true, liveChildren: ['c1'] }) });
    expect((letters[0]!.body as { reason: string }).reason).to.equal('parent action a0 has succeeded');
  });
});

describe('action machine: conditions', () => {
  const condition: Partial<ActionState> = { ...aChild, type: 3 };

  it('pauses, and succeeds when it has its value', () => {
    const paused = step(anAction(condition), []).state;
    expect(paused).to.include({ stage: 'paused', phase: Phase.paused, wakeAt: null });
    expect(step({ ...paused, hasValue: true }, []).state).to.include({ stage: 'done', phase: Phase.succeeded });
  });

  it('times out when nobody signals, unless the signal is there', () => {
    const paused = step(anAction({ ...condition, machine: { giveUpAt: at(1000).getTime() } }), []).state;
    expect(paused.wakeAt).to.deep.equal(at(1000));
    const late = step(paused, [], { now: at(1000) }).state;
    expect(late).to.include({ phase: Phase.timedOut });
    expect(late.failure).to.include({ code: 'ConditionTimedOut' });
    expect(step({ ...paused, hasValue: true }, [], { now: at(1000) }).state.phase).to.equal(Phase.succeeded);
  });

  it('can be aborted', () => {
    const paused = step(anAction(condition), []).state;
    expect(step(paused, [abort()]).state).to.include({ stage: 'done', phase: Phase.aborted });
  });
});

describe('action machine: children of anything', () => {
  it('end before what they were enqueued under, whatever that is (I6)', () => {
    const parents: [ActionState, ActionFacts][] = [
      [anAction({ hasChildren: true }), facts({ cached: { outputUri: 's3://flyte/old' } })],
      [anAction({ hasChildren: true, ...aChild }), facts({ sleep: { ms: 0 } })],
      [anAction({ hasChildren: true, type: 3, hasValue: true }), facts()],
    ];
    for (const [state, given] of parents) {
      const closingNow = step(state, [], { facts: given }).state;
      expect(closingNow).to.include({ stage: 'closing' });
      const over = step(closingNow, [], { facts: facts({ closing: true, liveChildren: [] }) }).state;
      expect(over).to.include({ stage: 'done', phase: Phase.succeeded });
    }
  });
});

describe('action machine: the end', () => {
  it('never changes again, whatever comes (I1)', () => {
    const over = step(closing(live(), [ended({ status: 'succeeded' })]), [], { facts: facts({ closing: true }) }).state;
    const late: ActionMessage[] = [observed('running'), ended({ status: 'failed', failure: failure() }), abort()];
    const { state, letters, changes } = decide(over, late, at(99), undefined, settings);
    expect(state).to.equal(over);
    expect(letters).to.be.empty;
    expect(changes).to.be.empty;
  });
});
