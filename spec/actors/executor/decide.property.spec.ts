import { expect } from 'chai';
import fc from 'fast-check';
import { decide, MAX_INCARNATIONS } from '../../../actors/executor/decide.ts';
import type { ExecutorEffect, ExecutorMessage } from '../../../actors/executor/executor-mail.ts';
import { type ExecutorState, newExecutor } from '../../../actors/executor/executor-state.ts';
import type { AttemptEnded, AttemptObserved, PodFacts } from '../../../actors/executor/messages.ts';
import type { PodExit, PodView } from '../../../actors/executor/pod-view.ts';
import { NOON } from './support/pods.ts';
import { plan } from './support/tasks.ts';

const well: PodExit = { failure: null, detail: '', decisive: false };
const lostFailure = { code: 'Interrupted', kind: 'SYSTEM' as const, message: 'lost', recoverable: true };
const lost: PodExit = { failure: lostFailure, detail: '', decisive: false };

interface WorldPod {
  readonly name: string;
  readonly incarnation: number;
  state: 'live' | 'companions' | 'ended';
  wrote: boolean;
  lost: boolean;
  /** It was told to go, and will. */
  deleting?: boolean;
}

/** A platform where everything that may happen can happen: late, twice, or never. */
class World {
  state: ExecutorState = newExecutor('7.a0.1');
  nowMs = NOON;
  readonly pods = new Map<string, WorldPod>();
  /** What pods had written before they went. */
  readonly written = new Map<number, boolean>();
  orders: ExecutorEffect[] = [];
  mail: ExecutorMessage[] = [];
  readonly heard: (AttemptObserved | AttemptEnded)[] = [];
  terminated = false;

  get ends(): AttemptEnded[] {
    return this.heard.filter(letter => letter.type === 'attempt-ended');
  }

  /** One drain: a prefix of the mail, state through JSON as the database does it. */
  drain(count: number): void {
    const { wakeAt } = this.state;
    const loaded = { ...(JSON.parse(JSON.stringify(this.state)) as ExecutorState), wakeAt };
    const decision = decide(loaded, this.mail.splice(0, count), new Date(this.nowMs));
    this.state = decision.state;
    this.orders.push(...decision.effects);
    for (const { body } of decision.letters) {
      const letter = body as AttemptObserved | AttemptEnded;
      expect(this.ends, 'nothing is told after the end').to.have.length(0);
      this.heard.push(letter);
      if (letter.type === 'attempt-ended') {
        expect(this.livePods(), 'nothing runs when the end is told').to.equal(0);
      }
    }
    if (this.state.stage !== 'done' && this.state.stage !== 'live' && this.state.version + count > 0) {
      if (this.state.stage !== 'new') expect(this.state.wakeAt, `${this.state.stage} has a wake-up`).to.not.equal(null);
    }
  }

  livePods(): number {
    return [...this.pods.values()].filter(({ state }) => state !== 'ended').length;
  }

  /** Carries out an order, as the executor's `perform` does. */
  perform(order: ExecutorEffect, fails: boolean, slowly: boolean): void {
    const { type, incarnation } = order;
    if (fails) {
      this.mail.push({ type: 'effect-failed', incarnation, effect: type, reason: 'no' });
      return;
    }
    switch (order.type) {
      case 'create':
        if (this.nowMs > order.notAfterMs) return;
        // Orders of one executor are carried out one after the other, so a late double meets the pod, never its grave.
        if (!this.pods.has(order.podName) && !this.written.has(incarnation)) {
          this.pods.set(order.podName, { name: order.podName, incarnation, state: 'live', wrote: false, lost: false });
          expect(this.livePods(), 'one live pod at a time').to.be.at.most(1);
        }
        this.mail.push({ type: 'pod-created', incarnation });
        return;
      case 'collect': {
        const pod = [...this.pods.values()].find(candidate => candidate.incarnation === incarnation);
        const wrote = pod?.wrote ?? this.written.get(incarnation) ?? false;
        const podLost = !wrote && order.exit.failure !== null;
        this.mail.push({
          type: 'outcome-collected',
          incarnation,
          verdict: { failure: wrote ? null : order.exit.failure, podLost, hasReport: false },
          logs: [],
        });
        return;
      }
      case 'stop':
      case 'release': {
        const pod = this.pods.get(order.podName);
        if (pod !== undefined && !slowly) this.remove(pod);
        if (pod !== undefined && slowly) pod.deleting = true;
        const gone = !this.pods.has(order.podName);
        if (order.type === 'release') this.mail.push({ type: 'pod-released', incarnation, gone });
        else {
          const { order: number } = order;
          this.mail.push({ type: 'pod-stopped', incarnation, order: number, gone, hasReport: false, logs: [] });
        }
        return;
      }
    }
  }

  /** The pod goes; the watch may tell. */
  remove(pod: WorldPod): void {
    this.pods.delete(pod.name);
    this.written.set(pod.incarnation, pod.wrote);
  }

  /** What the watch tells; of a pod that never was it says nothing. */
  look(incarnation: number): ExecutorMessage[] {
    const pod = [...this.pods.values()].find(candidate => candidate.incarnation === incarnation);
    if (pod !== undefined) return [{ type: 'pod-observed', incarnation, pod: viewOf(pod) }];
    return this.written.has(incarnation) ? [{ type: 'pod-observed', incarnation, pod: { is: 'gone' } }] : [];
  }

  pick<T>(items: readonly T[], seed: number): T | undefined {
    return items.length === 0 ? undefined : items[seed % items.length];
  }

  step(what: number, seed: number): void {
    const pod = this.pick([...this.pods.values()], seed);
    switch (what) {
      case 0:
        this.drain(seed % 4);
        return;
      case 1:
      case 2: {
        const order = this.pick(this.orders, seed);
        if (order === undefined) return;
        // Each is carried out at most once; on two nodes they may overtake each other.
        this.orders = this.orders.filter(other => other !== order);
        this.perform(order, seed % 7 === 0, seed % 2 === 0);
        return;
      }
      case 3:
        // Every order is forgotten: the node died.
        this.orders = this.orders.filter(order => order.type === 'create' && seed % 2 === 0);
        return;
      case 4:
        if (pod !== undefined && pod.state !== 'ended') {
          pod.wrote ||= seed % 3 === 0;
          pod.lost = !pod.wrote;
          pod.state = seed % 2 === 0 && pod.state === 'live' ? 'companions' : 'ended';
        }
        return;
      case 5:
        if (pod !== undefined) this.remove(pod); // a node is lost, with what it ran
        return;
      case 6:
        this.mail.push(...this.look(1 + (seed % MAX_INCARNATIONS)));
        return;
      case 7:
        this.nowMs += [100, 3_000, 15_000, 60_000][seed % 4]!;
        return;
      case 8: {
        const letter = this.pick(this.mail, seed);
        if (letter !== undefined) this.mail.push(letter); // told twice
        return;
      }
      case 9:
        if (seed % 3 > 0) return;
        this.terminated = true;
        this.mail.push({ type: 'terminate', reason: 'enough', graceSeconds: seed % 20 });
        return;
      case 10:
        this.mail.push({ type: 'start', plan });
        return;
    }
  }

  /** From now on everything works: pods end, orders and letters arrive, time passes. */
  settle(): void {
    for (let round = 0; round < 200 && !(this.state.stage === 'done' && this.mail.length === 0); round += 1) {
      for (const pod of this.pods.values()) {
        pod.wrote ||= !pod.lost;
        pod.state = 'ended';
        if (pod.deleting === true) this.remove(pod);
      }
      for (const order of this.orders.splice(0)) this.perform(order, false, round % 2 === 0);
      this.mail.push(...this.look(this.state.incarnation)); // the reconciliation of the pod watch
      this.drain(64);
      if (this.state.wakeAt !== null) this.nowMs = Math.max(this.nowMs, this.state.wakeAt.getTime());
      this.drain(64);
    }
  }
}

function viewOf(pod: WorldPod): PodView {
  const facts: PodFacts = { name: pod.name, namespace: 'n', primaryContainer: 'main', containers: [] };
  if (pod.state === 'live') return { is: 'live', phase: 'running', reason: 'it runs', facts };
  return { is: 'ended', exit: pod.lost ? lost : well, over: pod.state === 'ended', facts };
}

describe('an executor under any order of events', () => {
  it('ends exactly once, with at most one live pod, at most three pods, and never hangs (I1, I2, I5)', () => {
    const step = fc.constantFrom(
      ...Array(8).fill(0),
      ...Array(6).fill(1),
      2,
      3,
      ...Array(3).fill(4),
      5,
      ...Array(6).fill(6),
      7,
      8,
      9,
      10,
    );
    const steps = fc.array(fc.tuple(step as fc.Arbitrary<number>, fc.nat(1_000)), { maxLength: 120, size: 'max' });
    fc.assert(
      fc.property(steps, sequence => {
        const world = new World();
        world.mail.push({ type: 'start', plan });
        for (const [what, seed] of sequence) world.step(what, seed);
        world.settle();
        expect(world.state.stage).to.equal('done');
        expect(world.ends).to.have.length(1);
        expect(world.state.incarnation).to.be.at.most(MAX_INCARNATIONS);
        expect(world.livePods()).to.equal(0);
        if (!world.terminated) expect(world.ends[0]!.outcome.status).to.not.equal('terminated');
      }),
      { numRuns: 1_500 },
    );
  });
});
