import { createPostgresBackend, type PostgresConnectionOptions, Queue, runMigrations, Worker } from 'bullmq';
import pg from 'pg';
import type { Logger } from 'pino';
import type { QueueBackend } from './backend.ts';

const SCHEMA = 'bullmq';
/** Connections beside the one per worker that listens: BullMQ would take ten for each queue and each worker. */
const WORKING_CONNECTIONS = 4;

/** All queues and workers of a node share one pool. */
export async function openPostgresBackend(options: {
  readonly url: string;
  readonly log: Logger;
}): Promise<QueueBackend> {
  const { url, log } = options;
  await migrate(url);
  const pool = new pg.Pool({
    connectionString: url,
    max: WORKING_CONNECTIONS,
    connectionTimeoutMillis: 3_000,
    keepAlive: true,
    application_name: 'starling wakes',
    options: `-c search_path=${SCHEMA}`,
  });
  // BullMQ's own, looser description of a pool.
  const connection = pool as unknown as PostgresConnectionOptions;
  pool.setMaxListeners(0);
  pool.on('connect', client => client.on('error', () => {}));
  pool.on('error', error => log.debug({ reason: error.message }, 'an idle connection of the queue store was lost'));

  return {
    kind: 'postgres',
    openQueue: name => new Queue(name, { connection }, createPostgresBackend) as unknown as Queue,
    openWorker(name, handle, workerOptions) {
      pool.options.max += 1;
      const worker = new Worker(
        name,
        job => handle(job.data.key),
        { ...workerOptions, connection },
        createPostgresBackend,
      );
      return worker as unknown as Worker;
    },
    isReachable: () => true,
    async ping() {
      await pool.query('select 1');
      return 'Postgres answered';
    },
    close: () => pool.end(),
  };
}

async function migrate(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await runMigrations(client, SCHEMA);
  } finally {
    await client.end();
  }
}
