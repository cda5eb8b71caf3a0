import { expect } from 'chai';
import { CREATE_ORDER_MS, decide, MAX_INCARNATIONS, REORDER_MS } from '../../../actors/executor/decide.ts';
import type { ExecutorEffect, ExecutorMessage } from '../../../actors/executor/executor-mail.ts';
import { type ExecutorState, newExecutor } from '../../../actors/executor/executor-state.ts';
import type { AttemptEnded, AttemptObserved, Outcome, PodFacts } from '../../../actors/executor/messages.ts';
import type { PodExit, PodView } from '../../../actors/executor/pod-view.ts';
import { NOON } from './support/pods.ts';
import { plan } from './support/tasks.ts';

const facts: PodFacts = {
  name: 'pod',
  namespace: 'flyte',
  primaryContainer: 'main',
  containers: [{ name: 'main', init: false, startedAtMs: NOON }],
};
const well: PodExit = { failure: null, detail: '', decisive: false };
const live = (phase: 'initializing' | 'running', reason = `it is ${phase}`): PodView => ({
  is: 'live',
  phase,
  reason,
  facts,
});
const ended = (exit = well, over = true): PodView => ({ is: 'ended', exit, over, facts });
const lostFailure = { code: 'Interrupted', kind: 'SYSTEM' as const, message: 'the node is gone', recoverable: true };
const log = { container: 'main', uri: 's3://data/main.log' };

/** An executor under test: keeps the state, collects what it causes. */
class Subject {
  state: ExecutorState = newExecutor('7.a0.1');
  nowMs = NOON;
  effects: ExecutorEffect[] = [];
  letters: (AttemptObserved | AttemptEnded)[] = [];

  tell(...mail: ExecutorMessage[]): this {
    const decision = decide(this.state, mail, new Date(this.nowMs));
    this.state = decision.state;
    this.effects = [...decision.effects];
    this.letters.push(...(decision.letters.map(letter => letter.body) as typeof this.letters));
    for (const letter of decision.letters) expect(letter.to).to.deep.equal({ kind: 'action', key: '7.a0' });
    return this;
  }
  saw(pod: PodView | { is: 'gone' }, incarnation = this.state.incarnation): this {
    return this.tell({ type: 'pod-observed', incarnation, pod });
  }
  wakeIn(ms: number): this {
    this.nowMs += ms;
    return this.tell();
  }
  wakeWhenDue(): this {
    expect(this.state.wakeAt).to.not.equal(null);
    this.nowMs = Math.max(this.nowMs, this.state.wakeAt!.getTime());
    return this.tell();
  }
  started = () => this.tell({ type: 'start', plan });
  created = () => this.tell({ type: 'pod-created', incarnation: this.state.incarnation });
  collected = (verdict: { failure?: object | null; podLost?: boolean } = {}) =>
    this.tell({
      type: 'outcome-collected',
      incarnation: this.state.incarnation,
      verdict: { failure: null, podLost: false, hasReport: true, ...verdict } as never,
      logs: [log],
    });
  lost = () => this.collected({ failure: lostFailure, podLost: true });
  terminate = (graceSeconds = 5) => this.tell({ type: 'terminate', reason: 'aborted by ada', graceSeconds });
  stopped = (gone = false) =>
    this.tell({
      type: 'pod-stopped',
      incarnation: this.state.incarnation,
      order: this.state.machine.stopOrder ?? 0,
      gone,
      hasReport: false,
      logs: [log],
    });

  get outcomes(): Outcome[] {
    return this.letters.flatMap(letter => (letter.type === 'attempt-ended' ? [letter.outcome] : []));
  }
  get effectTypes(): string[] {
    return this.effects.map(({ type }) => type);
  }
}
const running = () => new Subject().started().created().saw(live('running'));

describe('an executor', () => {
  it('creates its first pod when it is started, once, and tells what it sees', () => {
    const subject = new Subject().started();
    expect(subject.effects[0]).to.include({ type: 'create', incarnation: 1, notAfterMs: NOON + CREATE_ORDER_MS });
    expect(subject.state.podName).to.match(/^rabc123-a0-1-/);
    subject.started();
    expect(subject.effects).to.deep.equal([]);

    subject.created().saw(live('initializing')).saw(live('running'));
    expect(subject.state).to.include({ stage: 'live', wakeAt: null });
    expect(subject.letters.map(letter => letter.type === 'attempt-observed' && letter.observation.phase)).to.deep.equal(
      ['initializing', 'running'],
    );
    expect(subject.letters[1]).to.deep.include({ attempt: 1 });
  });

  it('tells nothing twice, also when its state has been in the database in between', () => {
    const subject = running();
    const { told } = subject.state.machine;
    const reordered = Object.fromEntries(Object.entries(told!).reverse()) as typeof told;
    subject.state = { ...subject.state, machine: { ...subject.state.machine, told: reordered! } };
    subject.saw(live('running'));
    expect(subject.letters).to.have.length(1);
  });

  it('takes a pod that the watch saw first as created', () => {
    expect(new Subject().started().saw(live('running')).created().state.stage).to.equal('live');
  });

  it('orders an effect again whose answer is missing', () => {
    const subject = new Subject().started().wakeIn(REORDER_MS);
    expect(subject.effectTypes).to.deep.equal(['create']);
    subject.created().saw(ended());
    expect(subject.effectTypes).to.deep.equal(['collect']);
    subject.wakeWhenDue();
    expect(subject.effectTypes).to.deep.equal(['collect']);
    subject.collected();
    expect(subject.effectTypes).to.deep.equal(['release']);
    subject.wakeWhenDue();
    expect(subject.effectTypes).to.deep.equal(['release']);
  });

  it('asks the platform again with growing pauses when it says no, and shows why', () => {
    const subject = new Subject().started();
    const pauses = [1, 2, 3].map(() => {
      subject.tell({ type: 'effect-failed', incarnation: 1, effect: 'create', reason: 'disk full' });
      const pause = subject.state.wakeAt!.getTime() - subject.nowMs;
      subject.wakeWhenDue();
      expect(subject.effectTypes).to.deep.equal(['create']);
      return pause;
    });
    expect(pauses).to.deep.equal([1_000, 2_000, 4_000]);
    const { observation } = subject.letters[0] as AttemptObserved;
    expect(observation).to.include({ phase: 'waiting-for-resources', incarnation: 1 });
    expect(observation.reason).to.include('disk full');
  });

  it('fails at once for a task that can never run, without a pod', () => {
    const failure = { code: 'ImageNotAvailable', kind: 'USER' as const, message: 'no', recoverable: false };
    const subject = new Subject().started().tell({ type: 'pod-refused', incarnation: 1, failure });
    expect(subject.outcomes[0]).to.deep.include({ status: 'failed', failure, logs: [] });
    expect(subject.state.stage).to.equal('done');
  });
});

describe('the end of a pod', () => {
  it('is collected, told, and the pod released', () => {
    const subject = running().saw(ended());
    expect(subject.effects[0]).to.deep.include({ type: 'collect', exit: well, pod: facts });
    subject.collected();
    expect(subject.outcomes).to.have.length(1);
    expect(subject.outcomes[0]).to.deep.include({ status: 'succeeded', hasReport: true, logs: [log], pod: facts });
    expect(subject.outcomes[0]!.outputUri).to.match(/\/a0\/1$/);
    expect(subject.effects[0]).to.include({ type: 'release', graceSeconds: 1 });
    subject.saw({ is: 'gone' });
    expect(subject.state.stage).to.equal('done');
    expect(subject.outcomes).to.have.length(1);
  });

  it('tells that the pod has run even when nobody saw it', () => {
    const subject = new Subject().started().created().saw(ended());
    expect((subject.letters[0] as AttemptObserved).observation).to.include({
      phase: 'running',
      reason: 'container main has run',
    });
  });

  it('is not told before companions of the primary container have ended too', () => {
    const subject = running().saw(ended(well, false)).collected();
    expect(subject.outcomes).to.deep.equal([]);
    expect(subject.effects[0]).to.include({ type: 'release', graceSeconds: 10 });
    subject.saw(ended(well, true));
    expect(subject.outcomes).to.have.length(1);
    subject.tell({ type: 'pod-released', incarnation: 1, gone: true });
    expect(subject.state.stage).to.equal('done');
    expect(subject.outcomes).to.have.length(1);
  });

  it('is asked for again while the store cannot be read', () => {
    const subject = running().saw(ended());
    subject.tell({ type: 'effect-failed', incarnation: 1, effect: 'collect', reason: 'store is gone' }).wakeWhenDue();
    expect(subject.effectTypes).to.deep.equal(['collect']);
    expect((subject.letters.at(-1) as AttemptObserved).observation.reason).to.include('store is gone');
    expect(subject.collected().outcomes).to.have.length(1);
  });

  it('comes by itself when trouble has lasted too long', () => {
    const exit = { ...well, failure: { ...lostFailure, kind: 'USER' as const, code: 'ImagePullBackOff' } };
    const trouble: PodView = { ...live('initializing'), giveUp: { atMs: NOON + 180_000, exit } } as PodView;
    const subject = new Subject().started().created().saw(trouble);
    expect(subject.state.wakeAt!.getTime()).to.equal(NOON + 180_000);
    expect(subject.wakeIn(179_999).effects).to.deep.equal([]);
    expect(subject.wakeIn(1).effects[0]).to.deep.include({ type: 'collect', exit });
    expect(new Subject().started().created().saw(trouble).saw(live('running')).state.wakeAt).to.equal(null);
  });

  it('keeps the failure of a user as it is', () => {
    const failure = { code: 'ValueError', kind: 'USER', message: 'no', recoverable: true };
    const subject = running().saw(ended()).collected({ failure });
    expect(subject.outcomes[0]).to.deep.include({ status: 'failed', failure });
  });
});

describe('a pod the platform lost', () => {
  it('is followed by another one under the same attempt, with a name and a folder of its own, after it is gone', () => {
    const subject = running();
    const first = subject.state.podName;
    subject.saw({ is: 'gone' });
    expect(subject.effectTypes).to.deep.equal(['collect']);
    subject.lost();
    expect(subject.state.stage).to.equal('backoff');
    expect(subject.wakeWhenDue().effects[0]).to.include({ type: 'create', incarnation: 2 });
    expect(subject.state.podName).to.not.equal(first);
    expect(subject.outcomes).to.deep.equal([]);
    const { observation } = subject.created().saw(live('running')).letters.at(-1) as AttemptObserved;
    expect(observation).to.include({ incarnation: 2 });
    expect(observation.outputUri).to.match(/\/a0\/1\/incarnation-2$/);
  });

  it('is not followed before it is known to be gone', () => {
    const subject = running().saw(ended()).lost();
    expect(subject.state.stage).to.equal('releasing');
    subject.tell({ type: 'pod-released', incarnation: 1, gone: false });
    expect(subject.state.stage).to.equal('releasing');
    expect(subject.saw({ is: 'gone' }).state.stage).to.equal('backoff');
  });

  it('is followed only so often, then the platform has failed the attempt', () => {
    const subject = running();
    for (let pod = 1; pod < MAX_INCARNATIONS; pod += 1) {
      subject.saw({ is: 'gone' }).lost().wakeWhenDue().created();
    }
    subject.saw({ is: 'gone' }).lost();
    expect(subject.outcomes).to.have.length(1);
    expect(subject.outcomes[0]).to.deep.include({ status: 'failed', failure: lostFailure, incarnation: 3 });
    expect(subject.state.stage).to.equal('done');
  });

  it('has succeeded when it had written its outputs', () => {
    expect(running().saw({ is: 'gone' }).collected().outcomes[0]!.status).to.equal('succeeded');
  });

  it('is not followed after somebody asked for the end', () => {
    for (const subject of [
      running().saw({ is: 'gone' }).terminate().lost(),
      running().saw({ is: 'gone' }).lost().terminate(),
      running().saw(ended()).lost().terminate().saw({ is: 'gone' }),
    ]) {
      expect(subject.outcomes.map(({ status }) => status)).to.deep.equal(['terminated']);
      expect(subject.state.stage).to.equal('done');
    }
  });

  it('means nothing any more when it speaks after its successor was ordered', () => {
    const subject = running().saw({ is: 'gone' }).lost().wakeWhenDue().created();
    const before = subject.state;
    subject.saw(ended(), 1).tell({ type: 'outcome-collected', incarnation: 1, verdict: {} as never, logs: [] });
    expect(subject.state).to.equal(before);
  });
});

describe('termination', () => {
  it('stops the live pod with the grace asked for and ends the attempt when it is gone', () => {
    const subject = running().terminate(7);
    expect(subject.effects[0]).to.include({ type: 'stop', graceSeconds: 7 });
    subject.stopped();
    expect(subject.outcomes).to.deep.equal([]);
    subject.saw({ is: 'gone' });
    expect(subject.outcomes[0]).to.deep.include({ status: 'terminated', reason: 'aborted by ada', logs: [log] });
  });

  it('may become harder, never softer', () => {
    const subject = running().terminate(60);
    expect(subject.terminate(90).effects).to.deep.equal([]);
    expect(subject.terminate(0).effects[0]).to.include({ type: 'stop', graceSeconds: 0 });
  });

  it('is ordered again when the pod does not go', () => {
    expect(running().terminate(5).stopped().wakeWhenDue().effectTypes).to.deep.equal(['stop']);
  });

  it('before the start ends an attempt that never had a pod, and the start comes too late', () => {
    const subject = new Subject().terminate().started();
    expect(subject.outcomes).to.deep.equal([
      {
        status: 'terminated',
        reason: 'aborted by ada',
        atMs: NOON,
        incarnation: 1,
        outputUri: '',
        hasReport: false,
        logs: [],
      },
    ]);
    expect(subject.effects).to.deep.equal([]);
  });

  it('while the pod is being created waits until that is certain', () => {
    const subject = new Subject().started().terminate(0).stopped(true);
    expect(subject.outcomes).to.deep.equal([]);
    subject.created();
    expect(subject.effectTypes).to.deep.equal(['stop']);
    expect(subject.stopped(true).outcomes).to.have.length(1);
  });

  it('while the pod is being created by a node that died waits until nobody can create it any more', () => {
    const subject = new Subject().started().terminate(0).stopped(true);
    expect(subject.state.wakeAt!.getTime()).to.be.greaterThan(NOON + CREATE_ORDER_MS);
    subject.wakeWhenDue();
    expect(subject.effectTypes).to.deep.equal(['stop']);
    expect(subject.stopped(true).outcomes).to.have.length(1);
  });

  it('believes only the answer to its last order: an older one tells how it was before the pod came', () => {
    const subject = new Subject().started().terminate(0).wakeWhenDue();
    const answer = { type: 'pod-stopped', incarnation: 1, gone: true, hasReport: false, logs: [] } as const;
    expect(subject.tell({ ...answer, order: 1 }).outcomes).to.deep.equal([]);
    expect(subject.tell({ ...answer, order: 2 }).outcomes).to.have.length(1);
  });

  it('does not take back an outcome that is being collected', () => {
    const subject = running().saw(ended()).terminate().collected();
    expect(subject.outcomes.map(({ status }) => status)).to.deep.equal(['succeeded']);
  });

  it('of an attempt that is over changes nothing', () => {
    const subject = running().saw(ended()).collected().saw({ is: 'gone' });
    const before = subject.state;
    expect(subject.terminate().state).to.equal(before);
    expect(subject.outcomes).to.have.length(1);
  });
});
