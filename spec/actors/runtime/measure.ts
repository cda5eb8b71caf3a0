/**
 * Measures one node of the runtime on Redis, each part in a fresh database:
 *   node --expose-gc spec/actors/runtime/measure.ts [warm|fan|pass|hot|report|chain|rings|sleep|timers]
 * CPU is split over this process, Postgres and Redis (all of them from /proc, in ms per letter).
 */
import { readdirSync, readFileSync } from 'node:fs';
import pino from 'pino';
import { Registry } from 'prom-client';
import { createChangeTail } from '../../../actors/runtime/change-tail.ts';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { createActorSystem } from '../../../actors/runtime/system.ts';
import { createTimers } from '../../../actors/runtime/timers.ts';
import { migrate } from '../../../db/migrate.ts';
import { openDatabase } from '../../../db/pool.ts';
import { openQueueStore } from '../../../queues/store.ts';
import { startPostgresServer } from '../../support/postgres-server.ts';
import { startRedis } from '../../support/stores.ts';
import { createToyTable, type ToyMessage, toyActor } from './toy.ts';

const log = pino({ level: 'warn' });
const [part = 'all'] = process.argv.slice(2);

const server = await startPostgresServer({ fsync: true });
const redis = await startRedis();
await migrate({ url: server.url, log });
const database = await openDatabase({ url: server.url, poolSize: 12, log });
await createToyTable(database);
const wakes = await openQueueStore({ kind: 'redis', socketPath: redis.socketPath, log });
const tail = createChangeTail({ database, log, clock: systemClock });
let told = 0;
tail.subscribe('*', changes => {
  told += changes.length;
});
tail.start();
const metrics = new Registry();
const system = createActorSystem({
  ...{ database, wakes, clock: systemClock, log, metrics, changes: tail },
  definitions: [toyActor({ forgetful: true })],
});
system.start();

/** CPU milliseconds of this process, all Postgres processes of our server and Redis. */
function cpu(): { node: number; postgres: number; redis: number } {
  const used = { node: 0, postgres: 0, redis: 0 };
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const name = text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'));
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ms = (Number(fields[11]) + Number(fields[12])) * 10;
      const parent = Number(fields[1]);
      const mine = parent === process.pid || parent === server.pid;
      if (Number(pid) === process.pid) used.node += ms;
      else if (mine && name.startsWith('postgres'))
        used.postgres += ms + (Number(fields[13]) + Number(fields[14])) * 10;
      else if (mine && name.startsWith('redis')) used.redis += ms;
    } catch {
      // It ended while we looked.
    }
  }
  return used;
}

const letters = async () =>
  Number((await metrics.getSingleMetric('starling_actors_letters_total')!.get()).values[0]?.value ?? 0);
const gauge = async (name: string) =>
  (await metrics.getSingleMetric(`starling_actors_${name}`)!.get()).values[0]?.value;
const rss = () => Math.round(process.memoryUsage().rss / 2 ** 20);

async function measure(
  name: string,
  count: number,
  run: () => Promise<void>,
  done: () => Promise<number> = letters,
): Promise<void> {
  if (part !== 'all' && part !== name) return;
  const commits = async () =>
    (
      await database.sql.query<{ n: number }>(
        {
          name: 'measure.commits',
          text: 'select xact_commit as n from pg_stat_database where datname = current_database()',
        },
        [],
      )
    )[0]!.n;
  const transactions = await commits();
  const before = { cpu: cpu(), letters: await done(), at: performance.now(), rss: rss() };
  await run();
  while ((await done()) - before.letters < count) await new Promise(resolve => setTimeout(resolve, 5));
  const seconds = (performance.now() - before.at) / 1000;
  await new Promise(resolve => setTimeout(resolve, 300));
  const after = cpu();
  const per = (key: 'node' | 'postgres' | 'redis') => ((after[key] - before.cpu[key]) / count).toFixed(3);
  console.log(
    `${name}: ${count} letters in ${seconds.toFixed(2)} s = ${Math.round(count / seconds)}/s; CPU ms per letter: ` +
      `node ${per('node')} postgres ${per('postgres')} redis ${per('redis')}; transactions ${(((await commits()) - transactions) / count).toFixed(2)}; RSS ${before.rss} → ${rss()} MB; told ${told}`,
  );
}

const send = (many: readonly (readonly [string, ToyMessage])[]) =>
  system.commit(async (_tx, outbox) => {
    for (const [key, body] of many) outbox.letter({ to: { kind: 'toy', key }, body });
  });
const add: ToyMessage = { type: 'add', from: 'measure', n: 1 };

await measure('warm', 5_000, async () => {
  for (let i = 0; i < 5_000; i += 100)
    await send(Array.from({ length: 100 }, (_, n) => [`warm-${i + n}`, add] as const));
});
for (const round of [1, 2, 3]) {
  await measure('fan', 10_000, async () => {
    console.log(`  round ${round}: 10,000 actors, one letter each, sent by 20 at once in transactions of 10`);
    let next = 0;
    const sender = async () => {
      while (next < 10_000) {
        const start = next;
        next += 10;
        await send(Array.from({ length: 10 }, (_, n) => [`fan-${start + n}`, add] as const));
      }
    };
    await Promise.all(Array.from({ length: 20 }, sender));
  });
}
await measure('pass', 20_000, async () => {
  let next = 0;
  const sender = async () => {
    while (next < 10_000) {
      const start = next;
      next += 10;
      await send(
        Array.from(
          { length: 10 },
          (_, n) => [`fan-${start + n}`, { type: 'pass', to: `to-${start + n}`, n: 1 }] as const,
        ),
      );
    }
  };
  await Promise.all(Array.from({ length: 20 }, sender));
});
await measure('hot', 60_000, async () => {
  let next = 0;
  const sender = async () => {
    while (next < 60_000) {
      next += 50;
      await send(Array.from({ length: 50 }, () => ['hot', add] as const));
    }
  };
  await Promise.all(Array.from({ length: 8 }, sender));
});
await measure('report', 20_000, async () => {
  // 10,000 children that each tell the same parent that they are done.
  let next = 0;
  const sender = async () => {
    while (next < 10_000) {
      const start = next;
      next += 10;
      await send(
        Array.from({ length: 10 }, (_, n) => [`fan-${start + n}`, { type: 'pass', to: 'parent', n: 1 }] as const),
      );
    }
  };
  await Promise.all(Array.from({ length: 20 }, sender));
});
await measure('chain', 1_001, async () => {
  await send([['chain', { type: 'chain', stem: 'link', n: 1_000 }]]);
});
let heard = 0;
const listening = wakes.consume('idle', 512, async () => {
  heard += 1;
});
await measure(
  'rings',
  20_000,
  async () => {
    for (let i = 0; i < 20_000; i += 100) {
      await wakes.ring(Array.from({ length: 100 }, (_, n) => ({ kind: 'idle', key: `${i + n}.a0` })));
    }
  },
  async () => heard,
);
await listening.close();

const used = () => {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
};
if (part === 'all' || part === 'sleep') {
  await new Promise(resolve => setTimeout(resolve, 15_000));
  const before = { heap: used(), rss: rss() };
  const at = Date.now() + 300_000;
  const start = await letters();
  for (let i = 0; i < 40_000; i += 100) {
    await send(Array.from({ length: 100 }, (_, n) => [`sleep-${i + n}`, { type: 'alarm', at }] as const));
  }
  while ((await letters()) - start < 40_000) await new Promise(resolve => setTimeout(resolve, 20));
  const awake = used();
  await new Promise(resolve => setTimeout(resolve, 15_000));
  const each = (heap: number) => Math.round((heap - before.heap) / 40_000);
  console.log(
    `sleep: 40,000 actors with a timer: heap ${each(awake)} bytes each while in memory (20,000 at most), ` +
      `${each(used())} when passivated, ${await gauge('timers')} timers, ${await gauge('live')} live; RSS ${before.rss} → ${rss()} MB`,
  );
}
if (part === 'all' || part === 'timers') {
  const before = used();
  const timers = createTimers({ clock: systemClock, horizonMs: 1e9, capacity: 1e6, fire: () => {} });
  const at = performance.now();
  for (let i = 0; i < 40_000; i += 1)
    timers.set(`${i}.action-${i}`, new Date(Date.now() + 1e6 + ((i * 7919) % 40_000)));
  const tookMs = performance.now() - at;
  console.log(`timers: 40,000 set in ${tookMs.toFixed(0)} ms, ${Math.round((used() - before) / 40_000)} bytes each`);
  timers.stop();
}
const scans = await database.sql.query<object>(
  {
    name: 'measure.scans',
    text: `select relname as table, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_dead_tup, n_tup_hot_upd
      from pg_stat_user_tables order by seq_tup_read desc limit 4`,
  },
  [],
);
console.table(scans);
await system.stop({ graceMs: 2_000 });
await tail.stop();
await wakes.close();
await database.close();
await redis.close();
await server.close();
process.exit(0);
