import { expect } from 'chai';
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { type ActorSystem, type ActorSystemOptions, createActorSystem } from '../../../actors/runtime/system.ts';
import { type Database, openDatabase } from '../../../db/pool.ts';
import { eventually } from '../../support/eventually.ts';
import { type FreshDatabase, freshDatabase } from '../../support/postgres.ts';
import { type LocalWakes, localWakes } from '../../support/stores.ts';
import { createToyTable, loadToy, type ToyMessage, toyActor } from './toy.ts';

const log = pino({ level: 'silent' });

describe('actor system', () => {
  let fresh: FreshDatabase;
  let database: Database;
  let wakes: LocalWakes;
  let systems: ActorSystem[];

  before(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 10, log });
    await createToyTable(database);
  });
  beforeEach(async () => {
    for (const table of ['toy', 'mailbox', 'parked', 'change']) {
      await database.sql.query({ name: `empty ${table}`, text: `delete from ${table}` }, []);
    }
    wakes = localWakes();
    systems = [];
  });
  afterEach(() => Promise.all(systems.map(system => system.stop({ graceMs: 2_000 }))));
  after(async () => {
    await database.close();
    await fresh.drop();
  });

  function start(options: Partial<ActorSystemOptions> = {}): ActorSystem {
    const system = createActorSystem({
      ...{ database, wakes, clock: systemClock, log, metrics: new Registry(), definitions: [toyActor()] },
      ...options,
    });
    system.start();
    systems.push(system);
    return system;
  }
  const send = (system: ActorSystem, key: string, ...messages: ToyMessage[]) =>
    system.commit(async (_tx, outbox) => {
      for (const body of messages) outbox.letter({ to: { kind: 'toy', key }, body });
    });
  const toy = (key: string) => loadToy(database, key);
  const mailOf = async (key: string) =>
    (await database.sql.query({ name: 'mail of', text: 'select body from mailbox where key = $1 order by seq' }, [key]))
      .length;
  const total = (key: string, expected: number) =>
    eventually(async () => expect((await toy(key))?.total).to.equal(expected));

  it('handles the mail of an actor in order, and an actor is born by its first letter', async () => {
    const system = start();
    const numbers = Array.from({ length: 300 }, (_, n) => n + 1);
    for (let i = 0; i < 300; i += 50) {
      await send(system, 'a', ...numbers.slice(i, i + 50).map(n => ({ type: 'add', from: 'me', n }) as const));
    }
    await total('a', (300 * 301) / 2);
    expect((await toy('a'))?.log.map(entry => entry.n)).to.deep.equal(numbers);
    expect(await mailOf('a')).to.equal(0);
  });

  it('commits state, outgoing mail and changes of a decision together', async () => {
    const system = start();
    await send(system, 'a', { type: 'pass', to: 'b', n: 5 });
    await total('b', 5);
    await total('a', -5);
    const changes = await database.sql.query({ name: 'all changes', text: 'select topic, subject from change' }, []);
    expect(changes).to.deep.equal([{ topic: 'toy', subject: 'b' }]);
  });

  it('carries many letters through long chains, each exactly once', async () => {
    const system = start();
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => send(system, `start-${i}`, { type: 'chain', stem: `c${i}`, n: 20 })),
    );
    await eventually(async () => {
      const [row] = await database.sql.query<{ n: number; max: number }>(
        { name: 'sum', text: `select count(*) as n, max((data->>'total')::int) as max from toy` },
        [],
      );
      expect(row).to.deep.equal({ n: 420, max: 1 });
    });
  });

  it('counts every letter once when the same actor is woken on two nodes at the same time', async () => {
    const [one, two] = [start(), start()];
    for (let round = 0; round < 40; round += 1) {
      const sends = [one, two].map((system, i) =>
        send(system, 'hot', { type: 'add', from: `s${i}`, n: round }, { type: 'echo', to: 'sink', n: 1 }),
      );
      await Promise.all(sends);
      await wakes.ring([
        { kind: 'toy', key: 'hot' },
        { kind: 'toy', key: 'hot' },
      ]);
    }
    await total('hot', 40 * 39);
    await total('sink', 80);
    for (const from of ['s0', 's1']) {
      const order = (await toy('hot'))?.log.filter(entry => entry.from === from).map(entry => entry.n);
      expect(order).to.deep.equal(Array.from({ length: 40 }, (_, n) => n));
    }
  });

  it('lets one of three nodes act when a timer wakes an actor on all of them', async () => {
    const nodes = [start(), start(), start()];
    const keys = Array.from({ length: 40 }, (_, i) => `due-${i}`);
    for (const key of keys) await send(nodes[0]!, key, { type: 'alarm', at: Date.now() + 60_000 });
    await eventually(async () => {
      const text = 'select count(*) as n from toy where wake_at is not null';
      expect(await database.sql.query({ name: 'sleeping', text }, [])).to.deep.equal([{ n: 40 }]);
    });
    await database.sql.query({ name: 'all due', text: 'update toy set wake_at = now()' }, []);
    // Each ring goes to another node.
    await wakes.ring(keys.flatMap(key => [1, 2, 3].map(() => ({ kind: 'toy', key }))));
    await eventually(async () => {
      const text = `select count(*) as n from change where topic = 'alarm'`;
      expect(await database.sql.query({ name: 'alarms', text }, [])).to.deep.equal([{ n: 40 }]);
    });
    for (const key of keys) expect((await toy(key))?.alarms).to.equal(1);
    await Promise.all(nodes.map(node => node.stop({ graceMs: 2_000 })));
    const text = `select count(*) as n from change where topic = 'alarm'`;
    expect(await database.sql.query({ name: 'alarms', text }, [])).to.deep.equal([{ n: 40 }]);
  });

  it('lets a commit fail as a whole', async () => {
    const system = start();
    const failed = system.commit(async (_tx, outbox) => {
      outbox.letter({ to: { kind: 'toy', key: 'x' }, body: { type: 'noop' } });
      throw new Error('no');
    });
    expect(await failed.catch(error => error.message)).to.equal('no');
    expect(await mailOf('x')).to.equal(0);
  });

  it('wakes an actor at its time without mail', async () => {
    const system = start();
    await send(system, 'sleeper', { type: 'alarm', at: Date.now() + 150 });
    await eventually(async () => expect((await toy('sleeper'))?.alarms).to.equal(1), 1_500);
    expect((await toy('sleeper'))?.wakeAt).to.equal(null);
  });

  it('performs effects after the commit and turns their answer into mail', async () => {
    const performed: number[] = [];
    const system = start({
      definitions: [
        toyActor({
          async perform(key, { n }) {
            expect((await toy(key))?.pending, 'performed before the commit').to.equal(n);
            performed.push(n);
            return { type: 'worked', n };
          },
        }),
      ],
    });
    await send(system, 'worker', { type: 'work', n: 7 });
    await total('worker', 7);
    expect(performed).to.deep.equal([7]);
  });

  it('orders an effect again that failed', async () => {
    let tries = 0;
    const system = start({
      definitions: [
        toyActor({
          async perform(_key, { n }) {
            if (++tries < 3) throw new Error('not yet');
            return { type: 'worked', n };
          },
        }),
      ],
    });
    await send(system, 'worker', { type: 'work', n: 7 });
    await total('worker', 7);
    expect(tries).to.equal(3);
  });

  it('wakes on this node when the queue store is down', async () => {
    const system = start();
    wakes.broken = true;
    await send(system, 'a', { type: 'chain', stem: 'down', n: 10 });
    await total('down-1', 1);
  });

  it('finds mail, rows and timers whose doorbell was lost', async () => {
    const limits = { sweepEveryMs: 50, overdueMs: 20, abandonedMs: 60_000 };
    wakes.deaf = true;
    const system = start({ limits });
    await send(system, 'a', { type: 'add', from: 'me', n: 1 });
    await eventually(() => wakes.rung.length > 1);
    expect(await toy('a')).to.equal(undefined);
    wakes.deaf = false;
    await total('a', 1);
    // A row that became due while no node had its timer.
    await database.sql.query(
      { name: 'due row', text: `update toy set wake_at = now() - interval '1 minute' where key = 'a'` },
      [],
    );
    await eventually(async () => expect((await toy('a'))?.alarms).to.equal(1));
  });

  it('drains what a queue store keeps swallowing', async () => {
    wakes.deaf = true;
    const system = start({ limits: { sweepEveryMs: 50, overdueMs: 20, abandonedMs: 100 } });
    await send(system, 'a', { type: 'add', from: 'me', n: 1 });
    await total('a', 1);
  });

  it('keeps no actor in memory that finished or that nobody woke for a while; its timer stays', async () => {
    const metrics = new Registry();
    const gauge = async (name: string) =>
      (await metrics.getSingleMetric(`starling_actors_${name}`)!.get()).values[0]?.value;
    const system = start({ metrics, limits: { idleMs: 400 } });
    await system.commit(async (_tx, outbox) => {
      for (let i = 0; i < 200; i += 1) {
        outbox.letter({ to: { kind: 'toy', key: `sleeper-${i}` }, body: { type: 'alarm', at: Date.now() + 60_000 } });
      }
    });
    await eventually(async () => {
      expect(await gauge('timers')).to.equal(200);
      expect(await gauge('live')).to.equal(0);
    });
    await send(system, 'done', { type: 'finish' });
    await eventually(async () => (await toy('done'))?.done === true);
    await send(system, 'sleeper-7', { type: 'add', from: 'me', n: 3 });
    await total('sleeper-7', 3);
  });

  it('drops mail to actors that cannot be born', async () => {
    const { blank: _, ...unborn } = toyActor();
    const system = start({ definitions: [unborn] });
    await send(system, 'nobody', { type: 'noop' });
    await eventually(async () => (await mailOf('nobody')) === 0);
    expect(await toy('nobody')).to.equal(undefined);
  });
});
