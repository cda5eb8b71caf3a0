import { expect } from 'chai';
import { batches } from '../../../gateway/watch/batches.ts';

describe('batches', () => {
  const options = { size: 3, quietMs: 20, signal: new AbortController().signal };
  async function* ready(count: number) {
    for (let n = 0; n < count; n++) yield n;
  }

  it('gathers what is ready, at most so many, and ends with its source', async () => {
    const lists: (readonly number[])[] = [];
    for await (const list of batches(ready(7), options)) lists.push(list);
    expect(lists).to.deep.equal([[0, 1, 2], [3, 4, 5], [6]]);
  });

  it('yields an empty list whenever it has been quiet', async () => {
    let go: () => void = () => undefined;
    async function* slow() {
      await new Promise<void>(resolve => {
        go = resolve;
      });
      yield 'late';
    }
    const lists: (readonly string[])[] = [];
    for await (const list of batches(slow(), options)) {
      lists.push(list);
      if (lists.length === 2) go();
    }
    expect(lists.slice(0, 2)).to.deep.equal([[], []]);
    expect(lists.at(-1)).to.deep.equal(['late']);
  });

  it('does not hold back what is there until more comes', async () => {
    async function* stuck() {
      yield 1;
      await new Promise(() => undefined);
    }
    const stream = batches(stuck(), { ...options, quietMs: 60_000 });
    expect((await stream.next()).value).to.deep.equal([1]);
  });

  it('hands on the failure of its source after what came before', async () => {
    async function* failing() {
      yield 1;
      throw new Error('broken');
    }
    const stream = batches(failing(), options);
    const seen: (readonly number[])[] = [];
    try {
      for await (const list of stream) seen.push(list);
      expect.fail('this was to fail');
    } catch (error) {
      expect((error as Error).message).to.equal('broken');
    }
    expect(seen.flat()).to.deep.equal([1]);
  });

  it('ends when the signal fires', async () => {
    const gone = new AbortController();
    async function* stuck(): AsyncGenerator<number> {
      await new Promise(() => undefined);
    }
    const stream = batches(stuck(), { ...options, quietMs: 60_000, signal: gone.signal });
    const rest = stream.next();
    gone.abort();
    expect((await rest).done).to.equal(true);
  });
});
