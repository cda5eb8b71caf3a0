/**
 * One node of the toy domain as a process of its own, for specs that kill it. Its one argument is JSON:
 * `{ url, store, limits }`. Prints `ready`; SIGTERM stops it gracefully.
 */
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../../actors/runtime/clock.ts';
import type { RuntimeLimits } from '../../../actors/runtime/limits.ts';
import { createActorSystem } from '../../../actors/runtime/system.ts';
import { openDatabase } from '../../../db/pool.ts';
import { openQueueStore, type QueueStoreOptions } from '../../../queues/store.ts';
import { toyActor } from './toy.ts';

export interface ToyNodeArguments {
  readonly url: string;
  readonly store: { kind: 'redis'; socketPath: string } | { kind: 'postgres'; url: string };
  readonly limits: Partial<RuntimeLimits>;
}

const { url, store, limits }: ToyNodeArguments = JSON.parse(process.argv[2]!);
const log = pino({ level: 'warn' });
const database = await openDatabase({ url, poolSize: 8, log });
const wakes = await openQueueStore({ ...store, log } as QueueStoreOptions);
const system = createActorSystem({
  ...{ database, wakes, clock: systemClock, log, metrics: new Registry(), limits },
  definitions: [toyActor({ perform: async (_key, { n }) => ({ type: 'worked', n }) })],
});
system.start();
process.once('SIGTERM', async () => {
  await system.stop({ graceMs: 5_000 });
  await wakes.close();
  await database.close();
});
console.log('ready');
