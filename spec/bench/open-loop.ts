/** Load that comes at its own pace, however the server does: latency counts from the moment it was meant to be sent. */
import type { BenchClient } from './connect-client.ts';
import { enqueue, plantTree, type Result, terminals } from './workloads.ts';

/** `count` Enqueues at `perSecond`: how long until each is accepted. */
export async function enqueueOpen(client: BenchClient, count: number, perSecond = 200): Promise<Result> {
  const tree = await plantTree(client, 0);
  const latenciesMs: number[] = [];
  const began = performance.now();
  await atPace(count, perSecond, async (index, due) => {
    await enqueue(client, tree, `o${index}`);
    latenciesMs.push(performance.now() - due);
  });
  const seconds = (performance.now() - began) / 1000;
  await tree.end();
  return { seconds, latenciesMs };
}

/** `count` leaves of one second at `perSecond`: from Enqueue to the terminal update. */
export async function leaf(client: BenchClient, count: number, perSecond = 20): Promise<Result> {
  const tree = await plantTree(client, 1_000);
  const sent = new Map<string, number>();
  const latenciesMs: number[] = [];
  const began = performance.now();
  const sending = atPace(count, perSecond, async (index, due) => {
    sent.set(`l${index}`, due);
    await enqueue(client, tree, `l${index}`);
  });
  for await (const name of terminals(client, tree)) {
    latenciesMs.push(performance.now() - sent.get(name)!);
    if (latenciesMs.length === count) break;
  }
  await sending;
  const seconds = (performance.now() - began) / 1000;
  await tree.end();
  return { seconds, latenciesMs };
}

/** Starts `send` `count` times, at its time or as soon after it as this process gets to it; ends with the last of them. */
export async function atPace(
  count: number,
  perSecond: number,
  send: (index: number, due: number) => Promise<void>,
): Promise<void> {
  const began = performance.now();
  const sending: Promise<void>[] = [];
  while (sending.length < count) {
    const due = began + (sending.length * 1000) / perSecond;
    const early = due - performance.now();
    if (early > 0) await new Promise(resolve => setTimeout(resolve, early));
    else sending.push(send(sending.length, due));
  }
  await Promise.all(sending);
}
