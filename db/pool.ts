import type { Writable } from 'node:stream';
import pg from 'pg';
import type { Logger } from 'pino';
import {
  BackendTerminatedError,
  BackendTerminatedUnexpectedlyError,
  ConnectionError,
  createPool,
  type DatabasePool,
  SchemaValidationError,
} from 'slonik';
import type { Sql, Statement } from './sql.ts';
import { parsersByName, parsersByOid } from './type-parsers.ts';

export { sql } from 'slonik';

/**
 * Postgres cannot be reached, refuses new sessions, or dropped the one in use. Nothing is known about a commit that was
 * under way: it may have happened. The caller retries with back-off or tells its client to.
 */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable';
}

/** The two ways to the one Postgres: prepared statements for the hot path, slonik for everything else. */
export interface Database {
  readonly url: string;
  /** One statement, its own transaction. */
  readonly sql: Sql;
  /**
   * Runs `body` on one connection: its statements, each its own transaction, are executed in the order they were issued,
   * and those issued together share a round trip.
   */
  inOrder<T>(body: (db: Sql) => Promise<T>): Promise<T>;
  /**
   * Runs `body` on one connection between `begin` and `commit`; rolled back when it throws. Never re-run by itself.
   * Using `sql` inside is a different connection and sees nothing of it. Statements that are issued together share a
   * round trip, also with `begin` and `commit`; one that `body` does not await still fails the transaction.
   * @throws what `body` or a statement throws; DatabaseUnavailable when the session ends before the commit was
   *   acknowledged: it may have happened
   */
  transaction<T>(body: (tx: Sql) => Promise<T>): Promise<T>;
  /** Queries built with the `sql` tag of this module; rows of `sql.type(schema)` are checked by that schema. */
  readonly slonik: DatabasePool;
  /** Waits for the statements under way, then ends all sessions. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database` */
  readonly url: string;
  /** Connections of each of the two pools; both open them only when needed. */
  readonly poolSize: number;
  readonly log: Logger;
  /** How long a caller waits for a free connection before DatabaseUnavailable. */
  readonly acquireTimeoutMs?: number;
}

const STATEMENT_TIMEOUT_MS = 30_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;

/**
 * Opens the pools; no connection is made before the first statement, so this works while Postgres is still down.
 * Prepared statements are always planned for their values: a generic plan made before a young table has statistics
 * scans it whole and is never thrown away (design.md §8).
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { url, poolSize, log, acquireTimeoutMs = 5_000 } = options;
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    connectionTimeoutMillis: acquireTimeoutMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: 'starling',
    options: '-c plan_cache_mode=force_custom_plan',
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    types: { getTypeParser: parsersByOid },
    // Sends a statement without waiting for the answer to the one before it; each fails for itself.
    pipeline: true,
  });
  pool.on('error', error => log.warn({ reason: error.message }, 'an idle database connection was lost'));
  // A session that dies while it is checked out also emits 'error'; its statement is rejected, so this is not news.
  pool.on('connect', client => client.on('error', () => {}));

  const slonik = await createPool(url, {
    maximumPoolSize: poolSize,
    connectionTimeout: acquireTimeoutMs,
    // The default runs DISCARD ALL at every release. Without it, session state must never be set on a pooled connection.
    resetConnection: async () => {},
    statementTimeout: STATEMENT_TIMEOUT_MS,
    idleInTransactionSessionTimeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    idleTimeout: 30_000,
    typeParsers: parsersByName,
    interceptors: [checkRows],
  });
  slonik.on('error', error => log.warn({ reason: error.message }, 'a slonik database connection was lost'));

  async function acquire(): Promise<pg.PoolClient> {
    try {
      return await pool.connect();
    } catch (error) {
      throw classify(error);
    }
  }

  return {
    url,
    slonik,
    sql: {
      async query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
        const client = await acquire();
        try {
          return await run<Row>(client, statement, values);
        } finally {
          client.release();
        }
      },
    },
    async inOrder<T>(body: (db: Sql) => Promise<T>): Promise<T> {
      const client = await acquire();
      try {
        return await body({ query: (statement, values) => run(client, statement, values) });
      } finally {
        client.release();
      }
    },
    async transaction<T>(body: (tx: Sql) => Promise<T>): Promise<T> {
      const client = await acquire();
      let broken: Error | undefined;
      let failure: unknown;
      const tx: Sql = {
        query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
          const rows = run<Row>(client, statement, values);
          rows.catch(error => (failure ??= error));
          return rows;
        },
      };
      try {
        // Only a lost connection can fail this, and then everything after it fails too.
        command(client, 'begin').catch(() => {});
        const answer = await body(tx);
        // Postgres answers a commit of a failed transaction with "ROLLBACK" instead of an error.
        if ((await command(client, 'commit')) !== 'COMMIT') {
          throw (
            failure ??
            new Error('the transaction was rolled back because one of its statements failed and went unnoticed')
          );
        }
        return answer;
      } catch (error) {
        if (error instanceof DatabaseUnavailable) broken = error;
        else
          await command(client, 'rollback').catch((lost: Error) => {
            broken = lost;
          });
        throw error;
      } finally {
        client.release(broken);
      }
    },
    async close() {
      await Promise.all([pool.end(), slonik.end()]);
    },
  };
}

/** True for every error, of either pool, that means "Postgres is not there now", as opposed to a wrong statement. */
export function isDatabaseUnavailable(error: unknown): boolean {
  return (
    error instanceof DatabaseUnavailable ||
    error instanceof ConnectionError ||
    error instanceof BackendTerminatedError ||
    error instanceof BackendTerminatedUnexpectedlyError ||
    isConnectionLoss(error)
  );
}

async function run<Row>(client: pg.PoolClient, statement: Statement, values: readonly unknown[]): Promise<Row[]> {
  gatherWrites(client);
  try {
    const result = await client.query({ name: statement.name, text: statement.text, values: values as unknown[] });
    return result.rows;
  } catch (error) {
    throw classify(error);
  }
}

/** Statements issued in the same turn of the event loop leave in one write to the socket. */
function gatherWrites(client: pg.PoolClient): void {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

async function command(client: pg.PoolClient, text: string): Promise<string> {
  gatherWrites(client);
  try {
    return (await client.query(text)).command;
  } catch (error) {
    throw classify(error);
  }
}

function classify(error: unknown): unknown {
  if (!isConnectionLoss(error)) return error;
  return new DatabaseUnavailable(`Postgres is not available: ${(error as Error).message}`, { cause: error });
}

const LOSS_CODES = new Set([
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ETIMEDOUT',
    'ENOENT',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'ENOTFOUND',
    'EAI_AGAIN',
  ],
  // admin shutdown, crash shutdown, starting up, database dropped, idle session ended, too many connections
  ...['57P01', '57P02', '57P03', '57P04', '57P05', '53300', '25P03'],
]);
/** What pg and pg-pool throw without a code (their sources, 8.23). */
const LOSS_MESSAGE =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed)/;

function isConnectionLoss(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isConnectionLoss);
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return LOSS_CODES.has(code) || code.startsWith('08');
  return LOSS_MESSAGE.test(error.message);
}

/** slonik checks nothing by itself: this runs the schema a query was built with over each of its rows. */
const checkRows: NonNullable<NonNullable<Parameters<typeof createPool>[1]>['interceptors']>[number] = {
  name: 'check-rows',
  transformRow(context, query, row) {
    if (!context.resultParser) return row;
    const parsed = context.resultParser['~standard'].validate(row);
    if (parsed instanceof Promise) throw new TypeError('the schema of a row must not be asynchronous');
    if (parsed.issues) throw new SchemaValidationError(query, row, parsed.issues);
    return parsed.value as typeof row;
  },
};
