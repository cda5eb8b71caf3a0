import { expect } from 'chai';
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { createSupervision } from '../../../actors/runtime/supervision.ts';
import { type ActorSystem, createActorSystem } from '../../../actors/runtime/system.ts';
import { type Database, openDatabase } from '../../../db/pool.ts';
import { eventually } from '../../support/eventually.ts';
import { type FreshDatabase, freshDatabase } from '../../support/postgres.ts';
import { type LocalWakes, localWakes } from '../../support/stores.ts';
import { createToyTable, loadToy, type Toy, type ToyMessage, type ToyOptions, toyActor } from './toy.ts';

const log = pino({ level: 'silent' });

describe('restart intensity', () => {
  const limits = { failures: 3, failureWindowMs: 60_000, restartMinMs: 100, restartMaxMs: 150 };
  let now = 0;
  const supervise = () => createSupervision({ now: () => new Date(now) }, limits);

  it('restarts with a back-off that doubles up to its longest, then parks', () => {
    const supervision = createSupervision({ now: () => new Date(now) }, { ...limits, failures: 4 });
    const verdicts = [1, 2, 3, 4].map(() => supervision.failed('a'));
    expect(verdicts).to.deep.equal([
      { do: 'restart', inMs: 100 },
      { do: 'restart', inMs: 150 },
      { do: 'restart', inMs: 150 },
      { do: 'park', failures: 4 },
    ]);
  });

  it('counts each actor for itself and forgets failures older than the window', () => {
    const supervision = supervise();
    supervision.failed('a');
    supervision.failed('a');
    expect(supervision.failed('b').do).to.equal('restart');
    now += 60_000;
    expect(supervision.failed('a')).to.deep.equal({ do: 'restart', inMs: 100 });
  });

  it('starts from zero after an actor was parked or forgiven', () => {
    const supervision = supervise();
    for (let i = 0; i < 3; i += 1) supervision.failed('a');
    expect(supervision.failed('a').do).to.equal('restart');
    supervision.failed('a');
    supervision.forgive('a');
    expect(supervision.failed('a')).to.deep.equal({ do: 'restart', inMs: 100 });
  });
});

describe('supervision', () => {
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
  afterEach(() => Promise.all(systems.map(system => system.stop({ graceMs: 1_000 }))));
  after(async () => {
    await database.close();
    await fresh.drop();
  });

  function start(options: ToyOptions = {}): ActorSystem {
    const system = createActorSystem({
      ...{ database, wakes, clock: systemClock, log, metrics: new Registry() },
      definitions: [toyActor(options)],
      limits: { restartMinMs: 5, restartMaxMs: 20, sweepEveryMs: 50, overdueMs: 20 },
    });
    system.start();
    systems.push(system);
    return system;
  }
  const send = (system: ActorSystem, key: string, ...messages: ToyMessage[]) =>
    system.commit(async (_tx, outbox) => {
      for (const body of messages) outbox.letter({ to: { kind: 'toy', key }, body });
    });
  const add = (n: number): ToyMessage => ({ type: 'add', from: 'me', n });
  const total = (key: string, expected: number) =>
    eventually(async () => expect((await loadToy(database, key))?.total).to.equal(expected));
  const parked = async (system: ActorSystem) => system.parked.list({ limit: 10 });

  it('parks an actor on its poison letter, with the letter, the error and the stack, and commits what came before', async () => {
    const system = start();
    await send(system, 'bad', add(1), add(2), { type: 'poison' }, add(4));
    await send(system, 'good', add(1));
    await eventually(async () => (await parked(system)).length === 1);
    const [actor] = await parked(system);
    expect(actor).to.include({ kind: 'toy', key: 'bad', error: 'this letter is poison', failures: 3 });
    expect(actor?.letter?.body).to.deep.equal({ type: 'poison' });
    expect(actor?.stack).to.contain('decideToy');
    await total('bad', 3);
    await total('good', 1);
  });

  it('lets all neighbours of a poisoned actor in the same drain go on', async () => {
    const system = start();
    await system.commit(async (_tx, outbox) => {
      for (let i = 0; i < 60; i += 1) {
        outbox.letter({ to: { kind: 'toy', key: `n${i}` }, body: i === 30 ? { type: 'poison' } : add(i) });
      }
    });
    await eventually(async () => {
      const [row] = await database.sql.query<{ n: number }>(
        { name: 'born', text: 'select count(*) as n from toy' },
        [],
      );
      expect(row?.n).to.equal(59);
    });
    await eventually(async () => expect((await parked(system)).map(actor => actor.key)).to.deep.equal(['n30']));
  });

  it('parks an actor whose letters cannot be written, and nobody else of its drain', async () => {
    const system = start();
    await system.commit(async (_tx, outbox) => {
      for (let i = 0; i < 20; i += 1) {
        outbox.letter({ to: { kind: 'toy', key: `n${i}` }, body: i === 7 ? { type: 'unwritable' } : add(1) });
      }
    });
    await eventually(async () => expect((await parked(system)).map(actor => actor.key)).to.deep.equal(['n7']));
    for (let i = 0; i < 20; i += 1) if (i !== 7) await total(`n${i}`, 1);
    expect(await loadToy(database, 'n7')).to.equal(undefined);
  });

  it('leaves a parked actor alone: neither new mail nor the sweeper wakes it', async () => {
    let tries = 0;
    const system = start({
      isPoisonous: () => {
        tries += 1;
        return true;
      },
    });
    await send(system, 'bad', { type: 'poison' });
    await eventually(async () => (await parked(system)).length === 1);
    const before = tries;
    await send(system, 'bad', add(1));
    // Mail that nobody rings for is found by the sweeper: after two of those it has looked at least twice.
    for (const key of ['unrung-1', 'unrung-2']) {
      const text = `insert into mailbox (kind, key, body) values ('toy', $1, $2::jsonb)`;
      await database.sql.query({ name: 'unrung', text }, [key, JSON.stringify(add(1))]);
      await total(key, 1);
    }
    expect(tries).to.equal(before);
    expect(
      wakes.rung.filter(wake => wake.key === 'bad'),
      'rung for its two letters only',
    ).to.have.length(2);
  });

  it('replays a parked actor once its cause is removed', async () => {
    let isPoisonous = true;
    const system = start({ isPoisonous: () => isPoisonous });
    await send(system, 'bad', { type: 'poison' }, add(1));
    await eventually(async () => (await parked(system)).length === 1);
    isPoisonous = false;
    expect(await system.parked.replay({ kind: 'toy', key: 'bad' })).to.equal(true);
    await total('bad', 1);
    expect(await parked(system)).to.deep.equal([]);
    expect(await system.parked.replay({ kind: 'toy', key: 'bad' })).to.equal(false);
  });

  it('drops the poison letter and goes on with the next', async () => {
    const system = start();
    await send(system, 'bad', { type: 'poison' }, add(1));
    await eventually(async () => (await parked(system)).length === 1);
    expect(await system.parked.drop({ kind: 'toy', key: 'bad' })).to.equal(true);
    await total('bad', 1);
    expect(await parked(system)).to.deep.equal([]);
  });

  it('restarts an actor whose failure passes, and parks nobody', async () => {
    let failures = 2;
    const system = start({ isPoisonous: () => failures-- > 0 });
    await send(system, 'shaky', { type: 'poison' }, add(1));
    await total('shaky', 1);
    expect(await parked(system)).to.deep.equal([]);
  });

  it('blames nobody when observing fails, tries again, and does not hold up the neighbours', async () => {
    let failing = true;
    let failures = 0;
    const system = start({
      async observe(loaded) {
        if (failing && loaded.some(({ state }) => state.key === 'blind')) {
          failures += 1;
          throw new Error('the object store is away');
        }
        return new Map();
      },
    });
    await system.commit(async (_tx, outbox) => {
      for (const key of ['a', 'b', 'blind', 'c']) outbox.letter({ to: { kind: 'toy', key }, body: add(1) });
    });
    for (const key of ['a', 'b', 'c']) await total(key, 1);
    await eventually(() => failures > 6);
    expect(await parked(system)).to.deep.equal([]);
    failing = false;
    await total('blind', 1);
  });

  it('refuses to send without mail and without changing the state, because two nodes might both do it', async () => {
    const toy = toyActor();
    const system = createActorSystem({
      ...{ database, wakes, clock: systemClock, log, metrics: new Registry() },
      definitions: [
        {
          ...toy,
          decide: (state: Toy, mail: readonly ToyMessage[], now: Date) =>
            mail.length > 0
              ? toy.decide(state, mail, now, undefined)
              : { state, letters: [], changes: [{ topic: 't', subject: 's' }], effects: [] },
        },
      ],
      limits: { restartMinMs: 5, restartMaxMs: 20 },
    });
    system.start();
    systems.push(system);
    await send(system, 'chatty', add(1));
    await total('chatty', 1);
    await wakes.ring([{ kind: 'toy', key: 'chatty' }]);
    await eventually(async () => (await parked(system)).length === 1);
    expect((await parked(system))[0]?.error).to.contain('must change the state');
  });
});
