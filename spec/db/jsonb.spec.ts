import { expect } from 'chai';
import fc from 'fast-check';
import pino from 'pino';
import { toJsonb } from '../../db/jsonb.ts';
import { type Database, openDatabase } from '../../db/pool.ts';
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts';

describe('toJsonb', () => {
  let fresh: FreshDatabase;
  let database: Database;
  before(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 2, log: pino({ level: 'silent' }) });
  });
  after(async () => {
    await database.close();
    await fresh.drop();
  });

  it('replaces what jsonb refuses and nothing else', () => {
    expect(toJsonb({ a: 'x\0y', b: '\ud800', c: '\\u0000', d: '😀' })).to.equal(
      JSON.stringify({ a: 'x\ufffdy', b: '\ufffd', c: '\\u0000', d: '😀' }),
    );
  });

  it('makes text that Postgres takes and gives back, whatever the strings are', async () => {
    const echo = { name: 'spec-echo', text: 'select $1::jsonb as value' };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'binary' })), async strings => {
        const [row] = await database.sql.query<{ value: string[] }>(echo, [toJsonb(strings)]);
        expect(row!.value).to.deep.equal(strings.map(text => text.toWellFormed().replaceAll('\0', '\ufffd')));
      }),
      { numRuns: 200 },
    );
  });
});
