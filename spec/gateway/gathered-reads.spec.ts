import { expect } from 'chai';
import { GatheredReads } from '../../gateway/gathered-reads.ts';

interface Read {
  readonly keys: readonly string[];
  readonly answer: PromiseWithResolvers<ReadonlyMap<string, number>>;
}

/** Reads that end when the spec says so. */
function gathered() {
  const begun: Read[] = [];
  const reads = new GatheredReads<string, number>(
    key => key,
    keys => {
      const read = { keys, answer: Promise.withResolvers<ReadonlyMap<string, number>>() };
      begun.push(read);
      return read.answer.promise;
    },
  );
  const turn = () => new Promise(resolve => setImmediate(resolve));
  return { reads, begun, turn };
}

describe('GatheredReads', () => {
  it('reads once for all who ask in the same turn, and each key once', async () => {
    const { reads, begun, turn } = gathered();
    const answers = Promise.all([reads.read('a'), reads.read('b'), reads.read('a'), reads.read('none')]);
    await turn();
    expect(begun.map(({ keys }) => keys)).to.deep.equal([['a', 'b', 'none']]);
    begun[0]!.answer.resolve(new Map([...'ab'].map((key, index) => [key, index])));
    expect(await answers).to.deep.equal([0, 1, 0, null]);
  });

  it('answers nobody from a read that began before they asked', async () => {
    const { reads, begun, turn } = gathered();
    const early = reads.read('a');
    await turn();
    const late = [reads.read('a'), reads.read('b')];
    await turn();
    expect(begun).to.have.length(1);
    begun[0]!.answer.resolve(new Map([['a', 1]]));
    expect(await early).to.equal(1);
    await turn();
    expect(begun[1]!.keys).to.deep.equal(['a', 'b']);
    begun[1]!.answer.resolve(new Map([['a', 2]]));
    expect(await Promise.all(late)).to.deep.equal([2, null]);
  });

  it('splits what is more than one statement should carry', async () => {
    const { reads, begun, turn } = gathered();
    const answers = Array.from({ length: 501 }, (_, n) => reads.read(`k${n}`));
    await turn();
    expect(begun[0]!.keys).to.have.length(500);
    begun[0]!.answer.resolve(new Map());
    await Promise.all(answers.slice(0, 500));
    expect(begun[1]!.keys).to.deep.equal(['k500']);
    begun[1]!.answer.resolve(new Map([['k500', 7]]));
    expect(await answers[500]).to.equal(7);
  });

  it('fails only those whose read failed', async () => {
    const { reads, begun, turn } = gathered();
    const failing = reads.read('a').catch((error: Error) => error.message);
    await turn();
    const fine = reads.read('a');
    begun[0]!.answer.reject(new Error('away'));
    expect(await failing).to.equal('away');
    await turn();
    begun[1]!.answer.resolve(new Map([['a', 1]]));
    expect(await fine).to.equal(1);
  });
});
