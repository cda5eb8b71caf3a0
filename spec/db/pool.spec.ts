import { expect } from 'chai';
import pino from 'pino';
import { z } from 'zod';
import { type Database, DatabaseUnavailable, isDatabaseUnavailable, openDatabase, sql } from '../../db/pool.ts';
import { type FreshDatabase, freshDatabase, type PostgresServer, startPostgres } from '../support/postgres.ts';

const log = pino({ level: 'silent' });
const one = { name: 'one', text: 'select 1 as a' };

async function failure(step: Promise<unknown>): Promise<Error> {
  try {
    await step;
  } catch (error) {
    return error as Error;
  }
  return expect.fail('must throw');
}

describe('database pool', () => {
  let fresh: FreshDatabase;
  let database: Database;
  before(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 3, log, acquireTimeoutMs: 200 });
    await database.sql.query({ name: 'make', text: 'create table thing (id int primary key)' }, []);
  });
  after(async () => {
    await database.close();
    await fresh.drop();
  });

  it('gives int8 as number, timestamps as Date, numeric as string, jsonb parsed, bytea as Buffer, on both pools', async () => {
    const text = `select 5::int8 as i, array[1, null]::int8[] as a, '2026-01-02 03:04:05.678+00'::timestamptz as t,
      '2026-01-02 03:04:05.678'::timestamp as u, '2026-01-02'::date as d, 1.10::numeric as n, '{"x":[1]}'::jsonb as j,
      '\\x0102'::bytea as b, count(*) as c from thing`;
    const [row] = await database.sql.query<Record<string, unknown>>({ name: 'types', text }, []);
    const when = new Date('2026-01-02T03:04:05.678Z');
    const expected = {
      ...{ i: 5, a: [1, null], t: when, u: when, d: '2026-01-02', n: '1.10', j: { x: [1] } },
      ...{ b: Buffer.from([1, 2]), c: 0 },
    };
    expect(row).to.deep.equal(expected);
    const { a: _, ...scalar } = expected;
    const typed = await database.slonik.one(
      sql.unsafe`select 5::int8 as i, '2026-01-02 03:04:05.678+00'::timestamptz as t,
      '2026-01-02 03:04:05.678'::timestamp as u, '2026-01-02'::date as d, 1.10::numeric as n, '{"x":[1]}'::jsonb as j,
      '\\x0102'::bytea as b, count(*) as c from thing`,
    );
    expect(typed).to.deep.equal(scalar);
  });

  it('refuses an int8 that a number cannot hold instead of rounding it', async () => {
    const text = 'select 9007199254740993::int8 as i';
    expect((await failure(database.sql.query({ name: 'big', text }, []))).message).to.contain('9007199254740993');
  });

  it('checks the rows of slonik by the schema of their query', async () => {
    const wrong = database.slonik.any(sql.type(z.object({ a: z.string() }))`select 1 as a`);
    expect((await failure(wrong)).constructor.name).to.equal('SchemaValidationError');
    const right = await database.slonik.any(sql.type(z.object({ a: z.number() }))`select 1 as a`);
    expect(right).to.deep.equal([{ a: 1 }]);
  });

  it('commits what the body of a transaction wrote, and nothing when it throws', async () => {
    const insert = { name: 'insert', text: 'insert into thing values ($1)' };
    await database.transaction(tx => tx.query(insert, [1]));
    const error = await failure(
      database.transaction(async tx => {
        await tx.query(insert, [2]);
        throw new Error('changed my mind');
      }),
    );
    expect(error.message).to.equal('changed my mind');
    expect(await database.sql.query({ name: 'all', text: 'select id from thing' }, [])).to.deep.equal([{ id: 1 }]);
  });

  it('fails a transaction by the statement that its body did not await', async () => {
    const insert = { name: 'insert', text: 'insert into thing values ($1)' };
    const error = await failure(
      database.transaction(async tx => {
        await tx.query(insert, [7]);
        void tx.query({ name: 'impossible', text: 'select 1/0' }, []);
        return 'done';
      }),
    );
    expect(error.message).to.equal('division by zero');
    expect(await database.sql.query({ name: 'seven', text: 'select id from thing where id = 7' }, [])).to.deep.equal(
      [],
    );
  });

  it('executes statements issued together in their order, each for itself', async () => {
    const insert = { name: 'insert', text: 'insert into thing values ($1)' };
    const all = { name: 'over ten', text: 'select id from thing where id > 10 order by id' };
    const answers = await database.inOrder(db =>
      Promise.allSettled([
        db.query(insert, [11]),
        db.query(all, []),
        db.query(insert, [11]),
        db.query(insert, [12]),
        db.query(all, []),
      ]),
    );
    expect(answers.map(answer => answer.status === 'fulfilled' && answer.value)).to.deep.equal([
      [],
      [{ id: 11 }],
      false,
      [],
      [{ id: 11 }, { id: 12 }],
    ]);
  });

  it('fails when a statement failed and its body swallowed that', async () => {
    const error = await failure(
      database.transaction(tx => tx.query({ name: 'bad', text: 'select 1/0' }, []).catch(() => {})),
    );
    expect(error.message).to.equal('division by zero');
  });

  it('keeps the connection after a wrong statement', async () => {
    const pid = { name: 'pid', text: 'select pg_backend_pid() as pid' };
    const before = await database.sql.query(pid, []);
    await failure(database.sql.query({ name: 'wrong', text: 'select nonsense' }, []));
    expect(await database.sql.query(pid, [])).to.deep.equal(before);
  });

  it('waits for a free connection only so long', async () => {
    const held: (() => void)[] = [];
    const holders = [1, 2, 3].map(() => database.transaction(() => new Promise<void>(free => held.push(free))));
    const error = await failure(database.sql.query(one, []));
    expect(error).to.be.instanceOf(DatabaseUnavailable);
    for (const free of held) free();
    await Promise.all(holders);
    expect(await database.sql.query(one, [])).to.deep.equal([{ a: 1 }]);
  });

  it('plans prepared statements for their values, always', async () => {
    const [row] = await database.sql.query({ name: 'mode', text: 'show plan_cache_mode' }, []);
    expect(row).to.deep.equal({ plan_cache_mode: 'force_custom_plan' });
  });
});

describe('database pool while Postgres is gone', () => {
  let server: PostgresServer;
  let database: Database;
  before(async () => {
    server = await startPostgres();
    database = await openDatabase({ url: server.url, poolSize: 3, log, acquireTimeoutMs: 1_000 });
  });
  after(async () => {
    await database.close();
    await server.close();
  });

  it('fails typed, on idle sessions, in a transaction and while down, and works again afterwards', async () => {
    await Promise.all([1, 2, 3].map(() => database.sql.query(one, [])));
    await database.slonik.one(sql.unsafe`select 1 as a`);
    let inside: (() => void) | undefined;
    const stopped = new Promise<void>(resolve => {
      inside = resolve;
    });
    const open = failure(
      database.transaction(async tx => {
        await tx.query(one, []);
        await stopped;
        return tx.query(one, []);
      }),
    );
    await server.stop();
    inside?.();
    expect(await open).to.be.instanceOf(DatabaseUnavailable);
    expect(await failure(database.sql.query(one, []))).to.be.instanceOf(DatabaseUnavailable);
    expect(isDatabaseUnavailable(await failure(database.slonik.one(sql.unsafe`select 1 as a`)))).to.equal(true);
    await server.start();
    expect(await database.sql.query(one, [])).to.deep.equal([{ a: 1 }]);
    expect(await database.slonik.one(sql.unsafe`select 1 as a`)).to.deep.equal({ a: 1 });
  });
});
