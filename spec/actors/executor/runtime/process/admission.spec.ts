import { expect } from 'chai';
import { DEPTH_ANNOTATION } from '../../../../../actors/executor/runtime/pod-runtime.ts';
import { aPod, PodBench, shell, until } from './pod-bench.ts';

const atDepth = (depth: number, pod: ReturnType<typeof aPod>) => ({
  ...pod,
  metadata: { ...pod.metadata, annotations: { [DEPTH_ANNOTATION]: String(depth) } },
});

describe('admission of pods to process slots', () => {
  let bench: PodBench;
  let idle: Set<string>;
  const open = async (slots: number) => {
    idle = new Set();
    bench = await PodBench.open({ slots, idlePods: async names => new Set(names.filter(name => idle.has(name))) });
  };
  afterEach(() => bench.close());

  const startOrder = () =>
    bench.events
      .filter(({ pod }) => pod.status!.startTime !== undefined)
      .map(({ pod }) => pod.metadata!.name!)
      .filter((name, index, all) => all.indexOf(name) === index);

  const waitFile = (name: string) => shell(`while ! [ -e ${bench.dir}/../${name} ]; do sleep 0.02; done`);

  it('never runs more pods than slots, and says to the others why they wait', async () => {
    await open(2);
    const names = ['p1', 'p2', 'p3', 'p4', 'p5'];
    for (const name of names) await bench.runtime.create(aPod(name, [shell('sleep 0.1')]));
    const blocked = async () => (await bench.runtime.get('p5'))!.status!.conditions!.length > 0;
    await until('the last one is told to wait', blocked);
    const last = (await bench.runtime.get('p5'))!.status!;
    expect(last.phase).to.equal('Pending');
    expect(last.conditions![0]).to.include({
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message: 'waiting for a process slot: 2 of 2 in use',
    });
    for (const name of names) await bench.untilOver(name);
    let busy = new Set<string>();
    let most = 0;
    for (const { pod } of bench.events) {
      busy = new Set([...busy].filter(name => name !== pod.metadata!.name));
      if (pod.status!.phase === 'Running') busy.add(pod.metadata!.name!);
      most = Math.max(most, busy.size);
    }
    expect(most).to.equal(2);
    expect(startOrder()).to.deep.equal(names);
    const first = bench.events.filter(({ pod }) => pod.metadata!.name === 'p1');
    expect(first[0]!.pod.status!.conditions).to.deep.equal([]);
  });

  it('starts deeper pods first, then in order of creation', async () => {
    await open(1);
    await bench.runtime.create(aPod('first', [shell('sleep 0.2')]));
    await bench.untilRunning('first');
    for (const [name, depth] of [
      ['flat-1', 0],
      ['deep-1', 2],
      ['mid', 1],
      ['flat-2', 0],
      ['deep-2', 2],
    ] as const) {
      await bench.runtime.create(atDepth(depth, aPod(name, [shell('true')])));
    }
    await bench.untilOver('flat-2');
    expect(startOrder()).to.deep.equal(['first', 'deep-1', 'deep-2', 'mid', 'flat-1', 'flat-2']);
  });

  it('admits a pod when another is deleted, and forgets a waiting pod at once', async () => {
    await open(1);
    await bench.runtime.create(aPod('long', [shell('exec sleep 30')]));
    await bench.untilRunning('long');
    await bench.runtime.create(aPod('never', [shell('true')]));
    await bench.runtime.create(aPod('next', [shell('true')]));
    await bench.runtime.delete('never', { gracePeriodSeconds: 30 });
    await bench.untilGone('never');
    await bench.runtime.delete('long', { gracePeriodSeconds: 5 });
    await bench.untilOver('next');
    expect(startOrder()).to.not.include('never');
  });

  it('does not deadlock when every slot is held by parents that wait for their children, level under level', async () => {
    await open(2);
    // Three trees: root → child → grandchild. A pod waits until its child has ended, and is idle meanwhile.
    const trees = ['a', 'b', 'c'];
    const childOf: Record<string, string> = {};
    for (const tree of trees) {
      childOf[tree] = `${tree}-x`;
      childOf[`${tree}-x`] = `${tree}-x-x`;
    }
    const make = (name: string) => {
      const child = childOf[name];
      const script = child ? `while ! [ -e ${bench.dir}/../${child} ]; do sleep 0.02; done; ` : 'sleep 0.05; ';
      return atDepth(name.split('-').length - 1, aPod(name, [shell(`${script}touch ${bench.dir}/../${name}`)]));
    };
    bench.runtime.watch(({ pod }) => {
      const name = pod.metadata!.name!;
      const child = childOf[name];
      if (pod.status!.phase === 'Running' && child && !idle.has(name)) {
        idle.add(name);
        void bench.runtime.create(make(child)).then(() => bench.runtime.readmit());
      }
      const parent = Object.keys(childOf).find(key => childOf[key] === name);
      if (parent && pod.status!.phase === 'Succeeded') idle.delete(parent);
    });
    for (const tree of trees) await bench.runtime.create(make(tree));
    for (const tree of trees) expect((await bench.untilOver(tree)).status!.phase).to.equal('Succeeded');
  });

  it('asks again for idle pods while pods wait, without being poked', async () => {
    await open(1);
    await bench.runtime.create(aPod('parent', [waitFile('go')]));
    await bench.untilRunning('parent');
    await bench.runtime.create(aPod('child', [shell(`touch ${bench.dir}/../go`)]));
    await until('the child waits', async () => (await bench.phase('child')) === 'Pending');
    idle.add('parent');
    const before = Date.now();
    await bench.untilOver('child');
    expect(Date.now() - before).to.be.lessThan(1500);
    await bench.untilOver('parent');
  });

  it('goes on when asking for idle pods is never answered', async () => {
    bench = await PodBench.open({ slots: 1, idlePods: () => new Promise(() => {}) });
    await bench.runtime.create(aPod('one', [shell('sleep 0.1')]));
    await bench.runtime.create(aPod('two', [shell('true')]));
    expect((await bench.untilOver('two')).status!.phase).to.equal('Succeeded');
  });

  it('goes on when asking for idle pods fails', async () => {
    bench = await PodBench.open({ slots: 1, idlePods: () => Promise.reject(new Error('database gone')) });
    await bench.runtime.create(aPod('one', [shell('sleep 0.1')]));
    await bench.runtime.create(aPod('two', [shell('true')]));
    expect((await bench.untilOver('two')).status!.phase).to.equal('Succeeded');
  });
});
