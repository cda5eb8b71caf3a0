import { expect } from 'chai';
import fc from 'fast-check';
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { createActorSystem } from '../../../actors/runtime/system.ts';
import { migrate } from '../../../db/migrate.ts';
import { type Database, DatabaseUnavailable, openDatabase } from '../../../db/pool.ts';
import { eventually } from '../../support/eventually.ts';
import { type FreshDatabase, freshDatabase, type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { localWakes } from '../../support/stores.ts';
import { createToyTable, loadToy, loadToys, type ToyMessage, toyActor } from './toy.ts';

const log = pino({ level: 'silent' });

/** A database that loses its connection now and then: before a statement, before a commit, or right after one. */
function unreliable(database: Database, fails: () => boolean): Database {
  const maybeFail = (when: string) => {
    if (fails()) throw new DatabaseUnavailable(`the connection was lost ${when}`);
  };
  return {
    ...database,
    sql: {
      async query(statement, values) {
        maybeFail('before a statement');
        return database.sql.query(statement, values);
      },
    },
    async inOrder(body) {
      maybeFail('before a statement');
      return database.inOrder(body);
    },
    async transaction(body) {
      const answer = await database.transaction(async tx => {
        const result = await body(tx);
        maybeFail('before the commit');
        return result;
      });
      maybeFail('after the commit');
      return answer;
    },
  };
}

describe('the fence', () => {
  let fresh: FreshDatabase;
  let database: Database;
  before(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 16, log });
    await createToyTable(database);
  });
  after(async () => {
    await database.close();
    await fresh.drop();
  });

  const toys = ['a', 'b', 'c', 'd'];
  const step = fc.record({
    key: fc.constantFrom(...toys),
    to: fc.constantFrom(...toys),
    kind: fc.constantFrom('add', 'pass', 'echo'),
  });

  it('keeps effects once and letters in order over three nodes that lose their connections at random (I3, I4)', async function () {
    this.timeout(60_000);
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), fc.integer(), async (steps, seed) => {
        const prefix = `r${round++}-`;
        let noise = seed >>> 0;
        const fails = () => {
          noise = (Math.imul(noise, 1_664_525) + 1_013_904_223) >>> 0;
          return noise >>> 16 < 65_536 * 0.08;
        };
        const wakes = localWakes();
        const limits = { restartMinMs: 1, restartMaxMs: 5, sweepEveryMs: 20, overdueMs: 10, abandonedMs: 30 };
        const nodes = [1, 2, 3].map(() =>
          createActorSystem({
            ...{
              database: unreliable(database, fails),
              wakes,
              clock: systemClock,
              log,
              metrics: new Registry(),
              limits,
            },
            definitions: [toyActor()],
          }),
        );
        for (const node of nodes) node.start();
        const client = createActorSystem({ database, wakes, clock: systemClock, log, metrics: new Registry() });
        try {
          let sent = 0;
          for (const { key, to, kind } of steps) {
            sent += 1;
            const n = sent;
            const body: ToyMessage =
              kind === 'add'
                ? { type: 'add', from: 'client', n }
                : { type: kind as 'pass' | 'echo', to: prefix + to, n };
            await client.commit(async (_tx, outbox) => outbox.letter({ to: { kind: 'toy', key: prefix + key }, body }));
            // Duplicate wakes of everybody, so that nodes drain the same actor at the same time.
            if (n % 3 === 0)
              await wakes.ring(toys.flatMap(toy => [1, 2, 3].map(() => ({ kind: 'toy', key: prefix + toy }))));
          }
          const isDone = { name: 'fence.done', text: `select 1 from mailbox where key like $1 limit 1` };
          await eventually(async () => (await database.sql.query(isDone, [`${prefix}%`])).length === 0, 15_000);

          const expected = new Map<string, { total: number; log: string[] }>(
            toys.map(toy => [toy, { total: 0, log: [] }]),
          );
          steps.forEach(({ key, to, kind }, i) => {
            const n = i + 1;
            if (kind === 'pass') expected.get(key)!.total -= n;
            const receiver = expected.get(kind === 'add' ? key : to)!;
            receiver.total += n;
            receiver.log.push(`${kind === 'add' ? 'client' : prefix + key}: ${n}`);
          });
          for (const state of await loadToys(
            database.sql,
            toys.map(toy => prefix + toy),
          )) {
            const { total, log } = expected.get(state.key.slice(prefix.length))!;
            expect(state.total).to.equal(total);
            // Order is kept per sender.
            const senders = new Set(log.map(entry => entry.split(':')[0]));
            for (const sender of senders) {
              const got = state.log.filter(entry => entry.from === sender).map(entry => `${entry.from}: ${entry.n}`);
              expect(got).to.deep.equal(log.filter(entry => entry.startsWith(`${sender}:`)));
            }
          }
        } finally {
          await Promise.all([...nodes, client].map(node => node.stop({ graceMs: 2_000 })));
        }
      }),
      { numRuns: 8 },
    );
  });
});

describe('the runtime while Postgres is gone', () => {
  let server: PostgresServer;
  let database: Database;
  before(async () => {
    server = await startPostgres();
    await migrate({ url: server.url, log });
    database = await openDatabase({ url: server.url, poolSize: 8, log });
    await createToyTable(database);
  });
  after(async () => {
    await database.close();
    await server.close();
  });

  it('fails to send with a typed error, parks nobody, and resumes all work when Postgres is back', async () => {
    const wakes = localWakes();
    const system = createActorSystem({
      ...{ database, wakes, clock: systemClock, log, metrics: new Registry() },
      definitions: [toyActor()],
      limits: { restartMinMs: 10, restartMaxMs: 50, sweepEveryMs: 50, overdueMs: 20 },
    });
    system.start();
    const send = (key: string, body: ToyMessage) =>
      system.commit(async (_tx, outbox) => outbox.letter({ to: { kind: 'toy', key }, body }));
    await Promise.all(Array.from({ length: 10 }, (_, i) => send(`s${i}`, { type: 'chain', stem: `c${i}`, n: 40 })));
    await server.stop();
    expect(await send('x', { type: 'noop' }).catch(error => error)).to.be.instanceOf(DatabaseUnavailable);
    await server.start();
    await send('late', { type: 'add', from: 'me', n: 1 });
    for (let i = 0; i < 10; i += 1) {
      await eventually(async () => expect((await loadToy(database, `c${i}-1`))?.total).to.equal(1), 15_000);
    }
    expect((await loadToy(database, 'late'))?.total).to.equal(1);
    expect(await system.parked.list({ limit: 1 })).to.deep.equal([]);
    const counts = { name: 'counts', text: `select count(*) as n, max((data->>'total')::int) as max from toy` };
    expect(await database.sql.query(counts, [])).to.deep.equal([{ n: 411, max: 1 }]);
    await system.stop({ graceMs: 1_000 });
  });
});
