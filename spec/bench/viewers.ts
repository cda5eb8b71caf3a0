/** What it costs to be watched, and how soon a watcher sees what was written. */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import type { BenchClient } from './connect-client.ts';
import { atPace } from './open-loop.ts';
import { enqueue, fanOut, percentile, plantTree, type Result, TERMINAL, type Tree, terminals } from './workloads.ts';

const ROOT = 'a0';

/** A fan-out of `count` that `watchers` others look at with WatchActions; compare it with a fan-out of the same size. */
export async function viewers(client: BenchClient, count: number, watchers = 20): Promise<Result> {
  const streams: { stop(): void }[] = [];
  const result = await fanOut(client, count, 64, async ({ run }) => {
    while (streams.length < watchers) {
      streams.push(await client.drain(RunService.method.watchActions, { runId: run }));
    }
  });
  for (const stream of streams) stream.stop();
  return result;
}

/**
 * `watchers` watchers of one run (WatchActions, WatchForUpdates and WatchRunDetails in turn) while `count` leaves end, 20 a second: how
 * long after the end that the server wrote down each of them saw it. The end of the root is what WatchRunDetails waits for.
 */
export async function seen(client: BenchClient, count: number, watchers = 50): Promise<Result> {
  const tree = await plantTree(client, 0);
  const sights: { readonly name: string; readonly at: number }[] = [];
  const endedAt = new Map<string, number>();
  const leafWatchers: Promise<void>[] = [];
  const rootWatchers: Promise<void>[] = [];
  for (let index = 0; index < watchers; index++) {
    if (index % 3 === 2) rootWatchers.push(sightings(rootEnd(client, tree), 1, sights));
    else
      leafWatchers.push(
        sightings(index % 3 === 0 ? ends(client, tree, endedAt) : terminals(client, tree), count, sights),
      );
  }
  const began = performance.now();
  await atPace(count, 20, async index => {
    await enqueue(client, tree, `s${index}`);
  });
  await Promise.all(leafWatchers);
  const seconds = (performance.now() - began) / 1000;
  const last = sightings(ends(client, tree, endedAt), count + 1, []);
  await tree.end();
  await Promise.all([...rootWatchers, last]);
  const lags = (ofRoot: boolean) =>
    sights.flatMap(({ name, at }) => ((name === ROOT) === ofRoot ? [at - endedAt.get(name)!] : []));
  return { seconds, latenciesMs: lags(false), extra: { rootP99Ms: percentile(lags(true), 0.99) } };
}

/** Notes when each of the first `count` different names comes. */
async function sightings(
  names: AsyncIterable<string>,
  count: number,
  sights: { readonly name: string; readonly at: number }[],
): Promise<void> {
  const known = new Set<string>();
  for await (const name of names) {
    if (!known.has(name)) sights.push({ name, at: performance.timeOrigin + performance.now() });
    if (known.add(name).size === count) return;
  }
}

/** Names of the actions that are over, as WatchActions shows them, and when they ended by the clock of the server. */
async function* ends(client: BenchClient, { run }: Tree, endedAt: Map<string, number>): AsyncGenerator<string> {
  for await (const { enrichedActions } of client.follow(RunService.method.watchActions, { runId: run })) {
    for (const { action } of enrichedActions) {
      if (!TERMINAL.has(action?.status?.phase ?? 0)) continue;
      endedAt.set(action!.id!.name, timestampMs(action!.status!.endTime!));
      yield action!.id!.name;
    }
  }
}

async function* rootEnd(client: BenchClient, { run }: Tree): AsyncGenerator<string> {
  for await (const { details } of client.follow(RunService.method.watchRunDetails, { runId: run })) {
    if (TERMINAL.has(details?.action?.status?.phase ?? 0)) yield ROOT;
  }
}
