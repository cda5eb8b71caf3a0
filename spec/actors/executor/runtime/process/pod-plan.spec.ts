import { expect } from 'chai';
import type {
  ContainerView,
  Outcome,
  PodView,
} from '../../../../../actors/executor/runtime/process/container-state.ts';
import { isTerminal, planPod, verdict } from '../../../../../actors/executor/runtime/process/pod-plan.ts';

const noon = 1_000_000;
const outcome = (exitCode: number, finishedAtMs = noon): Outcome => ({ exitCode, reason: 'Error', finishedAtMs });
const aContainer = (name: string, more: Partial<ContainerView> = {}): ContainerView => ({
  name,
  kind: 'main',
  image: '',
  state: { is: 'waiting' },
  restarts: 0,
  ...more,
});
const running = { state: { is: 'running', startedAtMs: noon } } as const;
const ended = (exitCode: number, atMs = noon) =>
  ({ state: { is: 'ended', outcome: outcome(exitCode, atMs) } }) as const;
const aView = (containers: ContainerView[], more: Partial<PodView> = {}): PodView => ({
  nowMs: noon,
  createdAtMs: noon,
  admittedAtMs: noon,
  blocked: false,
  expired: false,
  gracePeriodMs: 30_000,
  containers,
  ...more,
});

describe('plan of a pod', () => {
  it('starts nothing without a slot', () => {
    const { admittedAtMs: _, ...queued } = aView([aContainer('main')]);
    expect(planPod(queued).start).to.deep.equal([]);
  });

  it('starts a sidecar, then the next init container, then all main containers', () => {
    const sidecar = aContainer('side', { kind: 'sidecar' });
    const init = aContainer('init', { kind: 'init' });
    const mains = [aContainer('one'), aContainer('two')];
    expect(planPod(aView([sidecar, init, ...mains])).start).to.deep.equal(['side']);
    const up = { ...sidecar, ...running };
    expect(planPod(aView([up, init, ...mains])).start).to.deep.equal(['init']);
    expect(planPod(aView([up, { ...init, ...running }, ...mains])).start).to.deep.equal([]);
    expect(planPod(aView([up, { ...init, ...ended(0) }, ...mains])).start).to.deep.equal(['one', 'two']);
  });

  it('starts a sidecar that has ended again after 10 s, 20 s, … at most 5 min', () => {
    const view = (restarts: number, nowMs: number) =>
      aView([aContainer('side', { kind: 'sidecar', restarts, ...ended(1) }), aContainer('main', running)], { nowMs });
    expect(planPod(view(0, noon + 9_999))).to.deep.include({ restart: [], wakeAtMs: noon + 10_000 });
    expect(planPod(view(0, noon + 10_000)).restart).to.deep.equal(['side']);
    expect(planPod(view(1, noon + 1)).wakeAtMs).to.equal(noon + 20_000);
    expect(planPod(view(9, noon + 1)).wakeAtMs).to.equal(noon + 300_000);
  });

  it('does not start a sidecar again when the work is over', () => {
    const view = aView([aContainer('side', { kind: 'sidecar', ...ended(1) }), aContainer('main', ended(0))]);
    expect(planPod({ ...view, nowMs: noon + 99_000 })).to.deep.include({ restart: [], start: [] });
  });

  it('ends sidecars last started first, after the work, and kills when patience ends', () => {
    const sides = ['first', 'second'].map(name => aContainer(name, { kind: 'sidecar', ...running }));
    const view = aView([...sides, aContainer('main', ended(0))]);
    expect(planPod(view).signal).to.deep.equal([{ name: 'second', signal: 'SIGTERM' }]);
    expect(planPod(view).wakeAtMs).to.equal(noon + 30_000);
    const told = aView([sides[0]!, { ...sides[1]!, signalled: 'SIGTERM' }, aContainer('main', ended(0))]);
    expect(planPod(told).signal).to.deep.equal([]);
    expect(planPod({ ...told, nowMs: noon + 30_000 }).signal).to.deep.equal([{ name: 'second', signal: 'SIGKILL' }]);
    expect(isTerminal(told)).to.equal(false);
  });

  it('ends the work before the sidecars when the pod is deleted, and removes it when nothing is alive', () => {
    const containers = [aContainer('side', { kind: 'sidecar', ...running }), aContainer('main', running)];
    const deletion = { killAtMs: noon + 5_000 };
    expect(planPod(aView(containers, { deletion })).signal).to.deep.equal([{ name: 'main', signal: 'SIGTERM' }]);
    const killed = aView(containers, { deletion: { killAtMs: noon } });
    expect(planPod(killed)).to.deep.include({ signal: [{ name: 'main', signal: 'SIGKILL' }], remove: false });
    expect(planPod(aView([aContainer('main')], { deletion }))).to.deep.include({ start: [], remove: true });
  });

  it('fails by its deadline only what had not ended before it was noted', () => {
    const main = aContainer('main', running);
    const late = aView([main], { deadlineAtMs: noon });
    expect(planPod(late)).to.deep.include({ expire: true, signal: [] });
    expect(planPod({ ...late, expired: true }).signal).to.deep.equal([{ name: 'main', signal: 'SIGTERM' }]);
    expect(verdict({ ...late, expired: true })).to.include({ phase: 'Failed', reason: 'DeadlineExceeded' });
    expect(verdict(aView([aContainer('main', ended(0))], { deadlineAtMs: noon }))).to.include({ phase: 'Succeeded' });
  });

  it('never changes a verdict as time goes by', () => {
    for (const exitCode of [0, 1]) {
      const view = aView([aContainer('a', ended(0)), aContainer('b', ended(exitCode))], { deadlineAtMs: noon + 1 });
      expect(verdict(view)).to.deep.equal(verdict({ ...view, nowMs: noon + 1e9 }));
    }
  });
});
