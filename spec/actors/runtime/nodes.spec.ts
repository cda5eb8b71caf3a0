import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { type ActorSystem, createActorSystem } from '../../../actors/runtime/system.ts';
import { type Database, openDatabase } from '../../../db/pool.ts';
import { openQueueStore, type QueueStore } from '../../../queues/store.ts';
import { eventually } from '../../support/eventually.ts';
import { type FreshDatabase, freshDatabase } from '../../support/postgres.ts';
import { type RedisServer, startRedis, storesUnderTest } from '../../support/stores.ts';
import { createToyTable, loadToy, type ToyMessage } from './toy.ts';
import type { ToyNodeArguments } from './toy-node.ts';

const log = pino({ level: 'silent' });
/** Impatient, so that what a dead node left behind is found within the spec. */
const limits = { sweepEveryMs: 300, overdueMs: 300, abandonedMs: 1_000 };

for (const kind of storesUnderTest) {
  describe(`two nodes on ${kind}`, () => {
    let fresh: FreshDatabase;
    let database: Database;
    let redis: RedisServer | undefined;
    let store: QueueStore;
    let client: ActorSystem;
    let nodes: ChildProcess[] = [];

    before(async () => {
      fresh = await freshDatabase();
      database = await openDatabase({ url: fresh.url, poolSize: 6, log });
      await createToyTable(database);
      if (kind === 'redis') redis = await startRedis();
      store = await openQueueStore({ ...settings(), log });
    });
    beforeEach(async () => {
      for (const table of ['toy', 'mailbox', 'parked']) {
        await database.sql.query({ name: `empty ${table}`, text: `delete from ${table}` }, []);
      }
      // A node that runs no actors and only sends mail, like a gateway.
      client = createActorSystem({ database, wakes: store, clock: systemClock, log, metrics: new Registry() });
      client.start();
      const alive = nodes.filter(node => node.exitCode === null && node.signalCode === null);
      const missing = Array.from({ length: 2 - alive.length }, startNode);
      nodes = [...(await Promise.all(missing)), ...alive];
    });
    afterEach(() => client.stop({ graceMs: 1_000 }));
    after(async () => {
      await Promise.all(nodes.map(node => end(node, 'SIGKILL')));
      await store.close();
      await database.close();
      await redis?.close();
      await fresh.drop();
    });

    const settings = (): ToyNodeArguments['store'] =>
      kind === 'redis' ? { kind, socketPath: redis!.socketPath } : { kind, url: fresh.url };
    async function startNode(): Promise<ChildProcess> {
      const argument: ToyNodeArguments = { url: fresh.url, store: settings(), limits };
      const node = spawn(process.execPath, [join(import.meta.dirname, 'toy-node.ts'), JSON.stringify(argument)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await new Promise<void>((resolve, reject) => {
        node.stdout!.once('data', () => resolve());
        node.once('exit', code => reject(new Error(`the toy node ended with ${code}`)));
      });
      return node;
    }
    async function end(node: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
      if (node.exitCode === null && node.signalCode === null) {
        const ended = new Promise(resolve => node.once('exit', resolve));
        node.kill(signal);
        await ended;
      }
      return node.exitCode;
    }
    const send = (key: string, ...messages: ToyMessage[]) =>
      client.commit(async (_tx, outbox) => {
        for (const body of messages) outbox.letter({ to: { kind: 'toy', key }, body });
      });
    const count = async (where: string) => {
      const text = `select count(*) as n from ${where}`;
      return (await database.sql.query<{ n: number }>({ name: text.slice(0, 60), text }, []))[0]!.n;
    };
    /** Starts `chains` chains of `length` links and waits until so many links are done. */
    const startChains = (chains: number, length: number) =>
      Promise.all(
        Array.from({ length: chains }, (_, i) => send(`start-${i}`, { type: 'chain', stem: `c${i}`, n: length - 1 })),
      );
    const linksDone = (n: number) => eventually(async () => (await count('toy')) >= n, 30_000);
    async function expectAllOnce(links: number): Promise<void> {
      await linksDone(links);
      await eventually(async () => (await count('mailbox')) === 0);
      expect(await count(`toy where data->>'total' = '1'`)).to.equal(links);
      expect(await count('parked')).to.equal(0);
    }

    it('finish the work of one that was killed in the middle, every letter once', async () => {
      await startChains(20, 30);
      await linksDone(100);
      await end(nodes[0]!, 'SIGKILL');
      await expectAllOnce(600);
    });

    it('keep the order of letters when one is killed in the middle', async () => {
      const keys = Array.from({ length: 10 }, (_, i) => `ordered-${i}`);
      const expected = Array.from({ length: 60 }, (_, n) => n);
      for (const n of expected) {
        await Promise.all(keys.map(key => send(key, { type: 'add', from: 'me', n })));
        if (n === 30) await end(nodes[0]!, 'SIGKILL');
      }
      for (const key of keys) {
        await eventually(async () => {
          const toy = await loadToy(database, key);
          expect(toy?.log.map(entry => entry.n)).to.deep.equal(expected);
        }, 15_000);
      }
    });

    it('fire the timers and repeat the effects of one that was killed', async () => {
      await Promise.all(
        Array.from({ length: 10 }, (_, i) => send(`sleeper-${i}`, { type: 'alarm', at: Date.now() + 1_500 })),
      );
      await eventually(async () => (await count('toy where wake_at is not null')) === 10);
      await end(nodes[0]!, 'SIGKILL');
      await Promise.all(Array.from({ length: 10 }, (_, i) => send(`worker-${i}`, { type: 'work', n: 1 })));
      await eventually(async () => (await count(`toy where data->>'alarms' = '1'`)) === 10);
      await eventually(async () => (await count(`toy where key like 'worker-%' and data->>'total' = '1'`)) === 10);
    });

    it('end by themselves on SIGTERM and leave the rest to the other', async () => {
      await startChains(10, 30);
      await linksDone(50);
      expect(await end(nodes[0]!, 'SIGTERM')).to.equal(0);
      await expectAllOnce(300);
      expect(await end(nodes[1]!, 'SIGTERM')).to.equal(0);
    });

    if (kind === 'redis') {
      it('lose nothing when Redis forgets everything, and go on while it is away', async () => {
        await startChains(20, 30);
        await linksDone(50);
        await redis!.command('FLUSHALL');
        await linksDone(150);
        await redis!.kill();
        await linksDone(300);
        await redis!.start();
        await expectAllOnce(600);
      });
    }
  });
}
