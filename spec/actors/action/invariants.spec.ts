/**
 * The invariants of an action under every order of events that fast-check can think of: a small world of one action, its
 * executors and its children, in which letters are repeated, late, or of another attempt, and time jumps.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import type { ActionState } from '../../../actors/action/action-state.ts';
import { decide } from '../../../actors/action/decide.ts';
import type { ActionMessage } from '../../../actors/action/messages.ts';
import { isTerminal } from '../../../actors/action/phase.ts';
import type { TaskPolicy } from '../../../actors/action/policy.ts';
import { abort, anAction, aPolicy, at, ended, facts, failure, observed, settings } from './builders.ts';

type Event =
  | { do: 'observe'; phase: 'queued' | 'waiting-for-resources' | 'initializing' | 'running'; stale: boolean }
  | { do: 'end'; how: 'succeeded' | 'failed' | 'fatal' | 'system' | 'terminated'; stale: boolean }
  | { do: 'abort'; notify: boolean }
  | { do: 'wake' }
  | { do: 'pass'; ms: number }
  | { do: 'child-born' }
  | { do: 'child-dies' }
  | { do: 'repeat' };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    do: fc.constant('observe' as const),
    phase: fc.constantFrom(
      'queued' as const,
      'waiting-for-resources' as const,
      'initializing' as const,
      'running' as const,
    ),
    stale: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('end' as const),
    how: fc.constantFrom(
      'succeeded' as const,
      'failed' as const,
      'fatal' as const,
      'system' as const,
      'terminated' as const,
    ),
    stale: fc.boolean(),
  }),
  fc.record({ do: fc.constant('abort' as const), notify: fc.boolean() }),
  fc.constant({ do: 'wake' as const }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  fc.constant({ do: 'child-born' as const }),
  fc.constant({ do: 'child-dies' as const }),
  fc.constant({ do: 'repeat' as const }),
);

const policy: fc.Arbitrary<TaskPolicy> = fc
  .record({
    retries: fc.integer({ min: 0, max: 3 }),
    maxRuntimeMs: fc.option(fc.integer({ min: 1, max: 10_000 })),
    queuedTimeoutMs: fc.option(fc.integer({ min: 1, max: 10_000 })),
    deadlineMs: fc.option(fc.integer({ min: 1, max: 30_000 })),
    backoff: fc.option(
      fc.record({ baseMs: fc.integer({ min: 1, max: 5000 }), factor: fc.constant(2), capMs: fc.constant(8000) }),
    ),
  })
  .map(fields => aPolicy(fields));

class World {
  state: ActionState = anAction();
  nowMs = 0;
  readonly children = new Set<string>();
  readonly started: number[] = [];
  readonly over: number[] = [];
  terminalChanges = 0;
  private born = 0;
  private last: ActionMessage[] = [];
  private readonly policy: TaskPolicy;

  constructor(given: TaskPolicy) {
    this.policy = given;
  }

  deliver(mail: ActionMessage[]): void {
    const before = this.state;
    const ending =
      before.stage === 'closing' || before.stage === 'stopping' || mail.some(({ type }) => type === 'abort');
    const given = facts({
      policy: this.policy,
      closing: before.stage === 'closing',
      ...(before.hasChildren && (ending || before.abort !== null) ? { liveChildren: [...this.children] } : {}),
    });
    const decision = decide(before, mail, at(this.nowMs), given, settings);
    if (mail.length === 0 && decision.state === before) {
      expect([...decision.letters, ...decision.changes], 'a wake that changes nothing says nothing (I3)').to.deep.equal(
        [],
      );
    }
    this.state = decision.state === before ? before : { ...decision.state, version: before.version + 1 };
    this.last = mail;
    for (const { to, body } of decision.letters) {
      const { type } = body as { type: string };
      if (to.kind === 'executor' && type === 'start') {
        const attempt = Number(to.key.split('.')[2]);
        expect(this.over, 'the attempt before is over').to.deep.equal(this.started);
        this.started.push(attempt);
      }
    }
    this.check(before);
  }

  private check(before: ActionState): void {
    const { state } = this;
    expect(this.started, 'attempts grow from 1 without gaps (I2)').to.deep.equal(
      this.started.map((_, index) => index + 1),
    );
    expect(state.attempts.map(({ attempt }) => attempt)).to.deep.equal(state.attempts.map((_, index) => index + 1));
    expect(
      state.attempts.slice(0, -1).every(({ endedAt }) => endedAt !== undefined),
      'only the last is live',
    ).to.equal(true);
    for (const attempt of state.attempts) {
      const ends = attempt.phases.filter(({ phase }) => isTerminal(phase));
      expect(ends.length, 'one terminal event per attempt (I1)').to.equal(attempt.endedAt === undefined ? 0 : 1);
      const times = attempt.phases.map(entry => Date.parse(entry.at));
      expect(times, 'phases in order of time').to.deep.equal([...times].sort((a, b) => a - b));
    }
    if (isTerminal(before.phase)) expect(state, 'terminal is final (I1)').to.equal(before);
    if (isTerminal(state.phase)) {
      if (!isTerminal(before.phase)) this.terminalChanges++;
      expect([...this.children], 'no live child (I6)').to.deep.equal([]);
      expect(this.over, 'no live pod').to.deep.equal(this.started);
      expect(state.stage).to.equal('done');
      expect(state.wakeAt).to.equal(null);
    } else {
      const owed = state.stage === 'live' || state.stage === 'stopping';
      expect(state.wakeAt !== null || owed, 'it knows what wakes it (I5)').to.equal(true);
      expect(state.waitingFor, 'it says what it waits for').to.be.a('string').and.not.equal('');
    }
  }

  apply(event: Event): void {
    const current = this.started.at(-1) ?? 1;
    switch (event.do) {
      case 'observe':
        return this.deliver([
          observed(event.phase, { attempt: event.stale ? current - 1 : current, at: at(this.nowMs) }),
        ]);
      case 'end': {
        if (!event.stale && this.started.length > this.over.length) this.over.push(current);
        else if (!event.stale) return this.deliver([]);
        return this.deliver([this.outcome(event.how, event.stale ? current - 1 : current)]);
      }
      case 'abort':
        return this.deliver([abort({ notifyParent: event.notify })]);
      case 'wake':
        return this.deliver([]);
      case 'pass':
        this.nowMs += event.ms;
        return;
      case 'child-born': // Enqueue refuses unless the parent is open: see actors/run/enqueuer.ts
        if (this.state.stage !== 'live') return;
        this.children.add(`c${this.born++}`);
        this.state = { ...this.state, hasChildren: true };
        return;
      case 'child-dies': {
        const child = [...this.children][0];
        if (child === undefined) return;
        this.children.delete(child);
        return this.deliver([{ type: 'child-ended', child }]);
      }
      case 'repeat':
        return this.deliver(this.last.filter(({ type }) => type !== 'attempt-ended'));
    }
  }

  private outcome(how: Extract<Event, { do: 'end' }>['how'], attempt: number): ActionMessage {
    const fields = { attempt, at: at(this.nowMs) };
    if (how === 'succeeded') return ended({ status: 'succeeded' }, fields);
    if (how === 'terminated') return ended({ status: 'terminated', reason: 'told to' }, fields);
    const kind = how === 'system' ? 'SYSTEM' : 'USER';
    return ended({ status: 'failed', failure: failure({ kind, recoverable: how !== 'fatal' }) }, fields);
  }

  /** From here on nothing unexpected happens: executors answer, children end, time passes. */
  settle(): void {
    for (let turn = 0; turn < 60 && !isTerminal(this.state.phase); turn++) {
      if (this.started.length > this.over.length) this.apply({ do: 'end', how: 'succeeded', stale: false });
      else if (this.children.size > 0) this.apply({ do: 'child-dies' });
      else this.apply({ do: 'wake' });
      this.nowMs += 10_000;
    }
  }
}

describe('action invariants', () => {
  it('hold under any order of letters, repetitions and time, and the action ends once nothing goes wrong any more', () => {
    fc.assert(
      fc.property(policy, fc.array(event, { maxLength: 60 }), (given, events) => {
        const world = new World(given);
        world.deliver([]);
        for (const each of events) world.apply(each);
        world.settle();
        expect(isTerminal(world.state.phase), `it ended (${world.state.stage})`).to.equal(true);
        expect(world.terminalChanges).to.equal(1);
      }),
      { numRuns: 3000 },
    );
  });
});
