/** Many leaves that sleep at once: what live work costs in memory, and whether it is given back. */
import type { BenchClient } from './connect-client.ts';
import { chain, enqueue, percentile, plantTree, type Result, type Tree, terminals } from './workloads.ts';

const LEAVES_PER_RUN = 2_000;
const MAX_LIVE = 10_000;

/** `count` leaves of one second in runs of 2,000, at most 10,000 of them alive: from the first Enqueue to the last terminal update. */
export async function swarm(client: BenchClient, count: number): Promise<Result> {
  const trees: Tree[] = [];
  for (let planted = 0; planted < count; planted += LEAVES_PER_RUN) trees.push(await plantTree(client, 1_000));
  const startedAt = new Map<string, number>();
  const latenciesMs: number[] = [];
  const waiting: (() => void)[] = [];
  let live = 0;
  let next = 0;
  let heapAtTenth = Number.NaN;
  const worker = async () => {
    while (next < count) {
      const index = next++;
      const tree = trees[index % trees.length]!;
      if (live >= MAX_LIVE) await new Promise<void>(resolve => waiting.push(resolve));
      live++;
      startedAt.set(`${tree.run.name}/w${index}`, performance.now());
      await enqueue(client, tree, `w${index}`);
    }
  };
  const sizeOf = (index: number) => Math.floor(count / trees.length) + (index < count % trees.length ? 1 : 0);
  const follow = async (tree: Tree, size: number) => {
    let ended = 0;
    for await (const name of terminals(client, tree)) {
      latenciesMs.push(performance.now() - startedAt.get(`${tree.run.name}/${name}`)!);
      live--;
      waiting.shift()?.();
      if (latenciesMs.length === Math.floor(count / 10)) void heapMb(client).then(mb => (heapAtTenth = mb));
      if (++ended === size) return;
    }
  };
  const began = performance.now();
  await Promise.all([
    ...trees.map((tree, index) => follow(tree, sizeOf(index))),
    ...Array.from({ length: 64 }, worker),
  ]);
  const seconds = (performance.now() - began) / 1000;
  const heapAtEnd = await heapMb(client);
  for (const tree of trees) await tree.end();
  return { seconds, latenciesMs, extra: { heapAtTenthMb: heapAtTenth, heapAtEndMb: heapAtEnd } };
}

/** `count` leaves that sleep for an hour: heap of the server for each, and a chain of new work beside them. */
export async function held(client: BenchClient, count: number): Promise<Result> {
  const alone = await chain(client, 100);
  const tree = await plantTree(client, 3_600_000);
  const before = await heapMb(client);
  const began = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) await enqueue(client, tree, `h${next++}`);
  };
  await Promise.all(Array.from({ length: 64 }, worker));
  const seconds = (performance.now() - began) / 1000;
  const after = await heapMb(client);
  const { latenciesMs } = await chain(client, 100);
  await tree.end();
  return {
    seconds,
    latenciesMs,
    extra: { aloneP99Ms: percentile(alone.latenciesMs, 0.99), heapKbEach: ((after - before) * 1024) / count },
  };
}

const SAMPLES = 60;
const SAMPLE_EVERY_MS = 250;

/** What the heap of the server falls to within 15 seconds: garbage comes and goes, and idle actors leave; live data stays. */
async function heapMb(client: BenchClient): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let sample = 0; sample < SAMPLES; sample++) {
    await new Promise(resolve => setTimeout(resolve, SAMPLE_EVERY_MS));
    const metrics = await (await fetch(`http://${client.endpoint}/metrics`)).text();
    const bytes = /^starling_nodejs_heap_size_used_bytes(?:\{[^}]*\})? (\S+)$/m.exec(metrics)?.[1];
    least = Math.min(least, Number(bytes) / 2 ** 20);
  }
  return least;
}
