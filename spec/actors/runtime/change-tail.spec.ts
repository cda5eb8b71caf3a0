import { expect } from 'chai';
import pg from 'pg';
import pino from 'pino';
import { currentCursor, type LoggedChange, readChanges } from '../../../actors/runtime/change-log.ts';
import { type ChangeTail, type ChangeTailOptions, createChangeTail } from '../../../actors/runtime/change-tail.ts';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { migrate } from '../../../db/migrate.ts';
import { type Database, openDatabase } from '../../../db/pool.ts';
import { eventually } from '../../support/eventually.ts';
import { type FreshDatabase, freshDatabase, type PostgresServer, startPostgres } from '../../support/postgres.ts';

const log = pino({ level: 'silent' });
const INSERT = 'insert into change (topic, subject) values ($1, $2)';

describe('change tail', () => {
  let fresh: FreshDatabase;
  let database: Database;
  let tails: ChangeTail[];
  let sessions: pg.Client[];

  before(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 10, log });
  });
  beforeEach(async () => {
    tails = [];
    sessions = [];
    await database.sql.query({ name: 'empty', text: 'delete from change' }, []);
  });
  afterEach(async () => {
    await Promise.all(tails.map(tail => tail.stop()));
    await Promise.all(sessions.map(session => session.end()));
  });
  after(async () => {
    await database.close();
    await fresh.drop();
  });

  /** A started tail with a subscription, past its first "read again". */
  async function follow(topic: string, options: Partial<ChangeTailOptions> = {}) {
    const tail = createChangeTail({ ...{ database, log, clock: systemClock, pollMs: 60_000 }, ...options });
    tails.push(tail);
    const heard: string[] = [];
    const changes: LoggedChange[] = [];
    let gaps = 0;
    tail.subscribe(topic, some => {
      if (some.length === 0) gaps += 1;
      changes.push(...some);
      heard.push(...some.map(change => change.subject));
    });
    tail.start();
    await eventually(() => gaps > 0);
    return { tail, heard, changes, gaps: () => gaps };
  }
  async function session(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: fresh.url });
    await client.connect();
    sessions.push(client);
    return client;
  }
  const tell = (subject: string, topic = 'run') => database.sql.query({ name: 'tell', text: INSERT }, [topic, subject]);

  it('delivers what was committed after the subscription, in order, each once', async () => {
    await tell('before');
    const { tail, heard } = await follow('run');
    for (let i = 0; i < 50; i += 1) {
      await tell(`s${i}`);
      tail.poke();
    }
    await eventually(() => heard.length >= 50);
    expect(heard).to.deep.equal(Array.from({ length: 50 }, (_, i) => `s${i}`));
  });

  it('delivers a topic to its subscribers and everything to *', async () => {
    const { tail, heard } = await follow('*');
    const runs: string[] = [];
    const end = tail.subscribe('run', some => runs.push(...some.map(change => change.subject)));
    await tell('a', 'action');
    await tell('r');
    tail.poke();
    await eventually(() => heard.length === 2);
    expect(runs).to.deep.equal(['r']);
    end();
    await tell('r2');
    tail.poke();
    await eventually(() => heard.length === 3);
    expect(runs).to.deep.equal(['r']);
  });

  it('waits for an older transaction that is still open, and then skips nothing of it', async () => {
    const { tail, heard } = await follow('run');
    const [early, late] = [await session(), await session()];
    await early.query('begin');
    await early.query(INSERT, ['run', 'early']);
    await late.query(INSERT, ['run', 'late']);
    tail.poke();
    // The later one has the higher number and is committed, but a reader that took it now would never see the earlier.
    const cursor = await currentCursor(database.sql);
    const reading = await readChanges(database.sql, cursor, 10);
    expect(reading).to.deep.equal({ changes: [], more: true });
    expect(heard).to.deep.equal([]);
    await early.query('commit');
    // Nobody pokes again: the tail itself looks until the horizon has passed.
    await eventually(() => heard.length === 2);
    expect(heard).to.deep.equal(['early', 'late']);
  });

  it('misses nothing when many transactions commit in any order', async () => {
    const { tail, heard, changes } = await follow('run');
    const writers = await Promise.all(Array.from({ length: 8 }, session));
    const told: string[] = [];
    await Promise.all(
      writers.map(async (writer, w) => {
        for (let i = 0; i < 25; i += 1) {
          await writer.query('begin');
          await writer.query(INSERT, ['run', `${w}-${i}a`]);
          if ((i + w) % 3 === 0) await new Promise(resolve => setTimeout(resolve, (i * 7 + w * 3) % 11));
          await writer.query(INSERT, ['run', `${w}-${i}b`]);
          const rolledBack = i % 10 === 9;
          await writer.query(rolledBack ? 'rollback' : 'commit');
          if (!rolledBack) told.push(`${w}-${i}a`, `${w}-${i}b`);
          tail.poke();
        }
      }),
    );
    await eventually(() => heard.length >= told.length);
    expect(heard.toSorted()).to.deep.equal(told.toSorted());
    const places = changes.map(({ cursor }) => [BigInt(cursor.xid), BigInt(cursor.id)] as const);
    const inOrder = places.every(([xid, id], i) => {
      const before = places[i - 1];
      return before === undefined || before[0] < xid || (before[0] === xid && before[1] < id);
    });
    expect(inOrder).to.equal(true);
  });

  it('hears of changes that another node committed, without polling', async () => {
    const { heard } = await follow('run');
    const other = await follow('run');
    await tell('from the other node');
    other.tail.poke();
    await eventually(() => heard.length === 1, 1_500);
  });

  it('finds unannounced changes when it polls', async () => {
    const { heard } = await follow('run', { pollMs: 20 });
    await tell('nobody poked');
    await eventually(() => heard.length === 1);
  });

  it('tells its watchers to read again when it could not look for almost as long as changes are kept', async () => {
    let ahead = 0;
    const clock = { now: () => new Date(Date.now() + ahead) };
    const { tail, heard, gaps } = await follow('run', { clock });
    await tell('perhaps deleted');
    // A look that is under way may end with the new time: then the next hour is the gap.
    await eventually(() => {
      ahead += 3_600_000;
      tail.poke();
      return gaps() >= 2;
    });
    const before = gaps();
    await tell('next');
    tail.poke();
    // Another look may have found the time gone, too; then its watchers read again after 'next'.
    await eventually(() => heard.includes('next') || gaps() > before);
  });

  it('deletes what is older than it is kept, and nothing else', async () => {
    await database.sql.query(
      {
        name: 'old',
        text: `insert into change (topic, subject, at) select 'run', 'old', now() - interval '1 day' from generate_series(1, 2500)`,
      },
      [],
    );
    await tell('young');
    await follow('run', { retentionMs: 2_000 });
    await eventually(async () => {
      const rows = await database.sql.query({ name: 'left', text: 'select subject from change' }, []);
      expect(rows.length).to.be.lessThan(2);
    });
  });
});

describe('change tail while Postgres is gone', () => {
  let server: PostgresServer;
  let database: Database;
  before(async () => {
    server = await startPostgres();
    await migrate({ url: server.url, log });
    database = await openDatabase({ url: server.url, poolSize: 4, log });
  });
  after(async () => {
    await database.close();
    await server.close();
  });

  it('goes on where it was when Postgres is back', async () => {
    const tail = createChangeTail({ database, log, clock: systemClock, pollMs: 50 });
    const heard: string[] = [];
    let gaps = 0;
    tail.subscribe('run', some =>
      some.length === 0 ? (gaps += 1) : heard.push(...some.map(change => change.subject)),
    );
    tail.start();
    await eventually(() => gaps === 1);
    const tell = (subject: string) => database.sql.query({ name: 'tell', text: INSERT }, ['run', subject]);
    await tell('before');
    await server.stop();
    await server.start();
    await tell('after');
    await eventually(() => heard.length === 2);
    expect(heard).to.deep.equal(['before', 'after']);
    expect(gaps).to.equal(1);
    await tail.stop();
  });
});
