import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { Logger } from 'pino';

/** The database cannot be brought to this program's version; the message says what to do. */
export class MigrationRefused extends Error {
  override readonly name = 'MigrationRefused';
}

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

/** Where the migrations of this program lie. */
export const MIGRATIONS_DIRECTORY = join(import.meta.dirname, 'migrations');

/** Serialises all migrating nodes of one database; any fixed number serves, this one spells "star" in ASCII. */
const MIGRATION_LOCK = 0x73746172;

/**
 * Brings the database at `url` to the newest version: every file `NNNN_what.sql` of `directory` that the ledger table
 * `schema_migration` does not name runs once, in order, each in a transaction of its own. Any number of nodes may call
 * this at once: they take turns. If this process dies, the file under way is rolled back and the next caller runs it.
 * Migrations only add, so that a node of the previous version goes on working beside a newer one.
 * @returns the names of the files that this call applied
 * @throws MigrationRefused when the database is newer than this program or an applied file was changed afterwards;
 *   the driver's error when a file fails
 */
export async function migrate(options: { url: string; log: Logger; directory?: string }): Promise<string[]> {
  const migrations = await readMigrations(options.directory ?? MIGRATIONS_DIRECTORY);
  const client = new pg.Client({ connectionString: options.url, application_name: 'starling migrate' });
  client.on('error', error => options.log.warn({ err: error }, 'the migrating database connection was lost'));
  await client.connect();
  try {
    const applied: string[] = [];
    for (;;) {
      const name = await applyNext(client, migrations);
      if (name === undefined) return applied;
      options.log.info({ migration: name }, 'database migration applied');
      applied.push(name);
    }
  } finally {
    await client.end();
  }
}

async function applyNext(client: pg.Client, migrations: readonly Migration[]): Promise<string | undefined> {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    await client.query(`create table if not exists schema_migration (
      version integer primary key,
      name text not null,
      checksum text not null,
      applied_at timestamptz not null default now()
    )`);
    const ledger = await client.query<{ version: number; name: string; checksum: string }>(
      'select version, name, checksum from schema_migration order by version',
    );
    const next = nextOf(migrations, ledger.rows);
    if (next) {
      await client.query(next.text);
      await client.query('insert into schema_migration (version, name, checksum) values ($1, $2, $3)', [
        next.version,
        next.name,
        next.checksum,
      ]);
    }
    await client.query('commit');
    return next?.name;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

function nextOf(
  migrations: readonly Migration[],
  ledger: readonly { version: number; name: string; checksum: string }[],
): Migration | undefined {
  const ours = new Map(migrations.map(migration => [migration.version, migration]));
  for (const row of ledger) {
    const known = ours.get(row.version);
    if (!known) {
      throw new MigrationRefused(
        `the database has migration ${row.name}, which this program does not know: it was written by a newer version. ` +
          'Start that version or a later one, or point this one at another database.',
      );
    }
    if (known.checksum !== row.checksum) {
      throw new MigrationRefused(
        `migration ${row.name} was changed after this database applied it. ` +
          'Restore the file and put the change into a new migration, or use a fresh database.',
      );
    }
  }
  const done = new Set(ledger.map(row => row.version));
  return migrations.find(migration => !done.has(migration.version));
}

async function readMigrations(directory: string): Promise<Migration[]> {
  const files = (await readdir(directory)).filter(file => file.endsWith('.sql')).sort();
  const migrations: Migration[] = [];
  for (const file of files) {
    const number = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(file)?.[1];
    if (number === undefined) throw new MigrationRefused(`${file}: a migration is named NNNN_what_it_does.sql`);
    const version = Number(number);
    if (migrations.some(migration => migration.version === version)) {
      throw new MigrationRefused(`two migrations have the number ${number}: give ${file} the next free one`);
    }
    const text = await readFile(join(directory, file), 'utf8');
    migrations.push({ version, name: file, text, checksum: createHash('sha256').update(text).digest('hex') });
  }
  return migrations;
}
