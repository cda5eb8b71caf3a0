import { expect } from 'chai';
import { forEachBounded } from '../../copilot/bounded.ts';
import { Slots } from '../../copilot/slots.ts';
import { failureOf } from './store.ts';

/** Work that stays open until `finish` is called. */
const openWork = () => {
  const open: PromiseWithResolvers<void>[] = [];
  let most = 0;
  return {
    open,
    get most() {
      return most;
    },
    start: () => {
      const one = Promise.withResolvers<void>();
      open.push(one);
      most = Math.max(most, open.length);
      return one.promise.finally(() => open.splice(open.indexOf(one), 1));
    },
  };
};

const turn = () => new Promise<void>(resolve => setImmediate(resolve));

describe('bounded work', () => {
  it('runs as many at once as allowed, and takes from the source no further', async () => {
    const work = openWork();
    let taken = 0;
    const source = (async function* () {
      while (taken < 10) yield (taken += 1);
    })();
    const all = forEachBounded(source, 3, work.start);
    await turn();
    expect([work.open.length, taken]).to.deep.equal([3, 3]);
    while (taken < 10 || work.open.length > 0) {
      work.open[0]?.resolve();
      await turn();
    }
    expect(await all).to.equal(10);
    expect(work.most).to.equal(3);
  });

  it('after a failure starts nothing more, and ends when the rest has ended', async () => {
    const work = openWork();
    let isOver = false;
    const all = forEachBounded([1, 2, 3, 4, 5], 2, work.start);
    const failed = failureOf(all).finally(() => (isOver = true));
    await turn();
    const [first, second] = work.open;
    first!.reject(new Error('first'));
    await turn();
    expect([isOver, work.open.length]).to.deep.equal([false, 1]);
    second!.reject(new Error('second'));
    expect((await failed).message).to.equal('first');
    expect(work.open).to.deep.equal([]);
  });

  it('throws what the source throws', async () => {
    const source = (async function* () {
      yield 1;
      throw new Error('listing broke');
    })();
    expect((await failureOf(forEachBounded(source, 2, async () => {}))).message).to.equal('listing broke');
  });
});

describe('slots', () => {
  it('are given in order and given back also after a failure', async () => {
    const work = openWork();
    const slots = new Slots(2);
    const all = [1, 2, 3, 4].map(() => slots.use(work.start).catch((thrown: Error) => thrown.message));
    await turn();
    expect(work.open.length).to.equal(2);
    work.open[0]!.reject(new Error('broke'));
    await turn();
    expect(work.open.length).to.equal(2);
    while (work.open.length > 0) {
      work.open[0]!.resolve();
      await turn();
    }
    expect(await Promise.all(all)).to.deep.equal(['broke', undefined, undefined, undefined]);
    expect(work.most).to.equal(2);
  });
});
