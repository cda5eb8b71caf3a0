import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pino from 'pino';
import { MigrationRefused, migrate } from '../../db/migrate.ts';
import { type Database, openDatabase } from '../../db/pool.ts';
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts';

const log = pino({ level: 'silent' });

describe('migrate', () => {
  let fresh: FreshDatabase;
  let database: Database;
  let directory: string;

  beforeEach(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 2, log });
    await database.sql.query({ name: 'forget', text: 'drop table schema_migration' }, []);
    directory = await mkdtemp(join(tmpdir(), 'starling-migrations-'));
  });
  afterEach(async () => {
    await database.close();
    await fresh.drop();
    await rm(directory, { recursive: true });
  });

  const file = (name: string, text: string) => writeFile(join(directory, name), text);
  const run = () => migrate({ url: fresh.url, log, directory });
  const rows = async (table: string) =>
    database.sql.query({ name: `rows of ${table}`, text: `select * from ${table}` }, []);

  it('runs each file once, in order, and only what is new the next time', async () => {
    await file('0001_one.sql', 'create table one (a int); insert into one values (1);');
    await file('0002_two.sql', 'create table two as select a + 1 as b from one;');
    expect(await run()).to.deep.equal(['0001_one.sql', '0002_two.sql']);
    expect(await rows('two')).to.deep.equal([{ b: 2 }]);
    await file('0003_three.sql', 'insert into one values (3);');
    expect(await run()).to.deep.equal(['0003_three.sql']);
    expect(await run()).to.deep.equal([]);
  });

  it('lets nodes that migrate at once take turns, so each file still runs once', async () => {
    await file('0001_one.sql', 'create table one (a int);');
    await file('0002_two.sql', 'select pg_sleep(0.05); insert into one values (1);');
    const applied = await Promise.all([run(), run(), run(), run()]);
    expect(applied.flat().sort()).to.deep.equal(['0001_one.sql', '0002_two.sql']);
    expect(await rows('one')).to.have.length(1);
  });

  it('leaves nothing of a file that fails and keeps what ran before it', async () => {
    await file('0001_one.sql', 'create table one (a int);');
    await file('0002_two.sql', 'insert into one values (1); select 1/0;');
    await run().then(
      () => expect.fail('must throw'),
      error => expect(error.message).to.equal('division by zero'),
    );
    expect(await rows('one')).to.deep.equal([]);
    await file('0002_two.sql', 'insert into one values (2);');
    expect(await run()).to.deep.equal(['0002_two.sql']);
  });

  const refusal = async (): Promise<string> => {
    try {
      await run();
    } catch (error) {
      expect(error).to.be.instanceOf(MigrationRefused);
      return (error as Error).message;
    }
    return expect.fail('must be refused');
  };

  it('refuses a database of a newer version and says so', async () => {
    await file('0001_one.sql', 'create table one (a int);');
    await file('0002_two.sql', 'create table two (a int);');
    await run();
    await rm(join(directory, '0002_two.sql'));
    expect(await refusal())
      .to.contain('0002_two.sql')
      .and.to.contain('newer version');
  });

  it('refuses a file that was changed after it was applied', async () => {
    await file('0001_one.sql', 'create table one (a int);');
    await run();
    await file('0001_one.sql', 'create table one (a bigint);');
    expect(await refusal())
      .to.contain('0001_one.sql')
      .and.to.contain('changed');
  });

  it('refuses file names that are not numbered and numbers given twice', async () => {
    await file('one.sql', '');
    expect(await refusal()).to.contain('NNNN_what_it_does.sql');
    await rm(join(directory, 'one.sql'));
    await file('0001_one.sql', '');
    await file('0001_other.sql', '');
    expect(await refusal()).to.contain('0001');
  });
});
