import { randomBytes } from 'node:crypto';
import pg from 'pg';
import pino from 'pino';
import { migrate } from '../../db/migrate.ts';
import { startPostgresServer } from './postgres-server.ts';

export { type PostgresServer, startPostgresServer as startPostgres } from './postgres-server.ts';

/** A database of a spec file's own, with all migrations applied. */
export interface FreshDatabase {
  readonly url: string;
  /** Drops the database, cutting sessions that are left. */
  drop(): Promise<void>;
}

/**
 * A migrated database on the server that all specs of this mocha process share: an embedded one that starts at the
 * first call, or the one STARLING_TEST_POSTGRES names. Costs about 50 ms.
 */
export async function freshDatabase(): Promise<FreshDatabase> {
  shared ??= openShared();
  const { url, template } = await shared;
  const name = `spec_${randomBytes(6).toString('hex')}`;
  await administer(url, `create database ${name} template ${template}`);
  return {
    url: withDatabase(url, name),
    drop: () => administer(url, `drop database if exists ${name} with (force)`),
  };
}

interface Shared {
  readonly url: string;
  readonly template: string;
  close(): Promise<void>;
}
let shared: Promise<Shared> | undefined;

async function openShared(): Promise<Shared> {
  const given = process.env.STARLING_TEST_POSTGRES;
  const server = given === undefined ? await startPostgresServer() : undefined;
  const url = given ?? server!.url;
  const template = `spec_template_${randomBytes(6).toString('hex')}`;
  await administer(url, `create database ${template}`);
  await migrate({ url: withDatabase(url, template), log: pino({ level: 'silent' }) });
  return {
    url,
    template,
    async close() {
      if (server) await server.close();
      else await administer(url, `drop database if exists ${template} with (force)`);
    },
  };
}

// This module is loaded by spec files, so this is a hook of mocha's root suite: once, after the last spec.
after(async () => {
  await (await shared)?.close();
});

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
