/**
 * The redis-server found on the PATH, spawned on a private Unix socket with its append-only file in `<dataDir>/redis`.
 * It holds doorbells, not work: whatever happens to its data, the sweeper rings again from Postgres. So a file it cannot
 * read is moved away and it starts empty.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { ServerProcess, ServerStartError } from './server-process.ts';
import { socketDirectory } from './socket-directory.ts';

export interface EmbeddedRedisOptions {
  dataDir: string;
  tmpDir: string;
  /** From {@link findRedisServer}. */
  executable: string;
  env: Readonly<Record<string, string | undefined>>;
  log: Logger;
}

export interface EmbeddedRedis {
  /** The Unix socket: `new Redis({ path: socketPath })`. */
  readonly socketPath: string;
  readonly pid: number | undefined;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** A sentence on what is wrong, or undefined when it answers. */
  health(): Promise<string | undefined>;
}

/** BullMQ asks for 6.2. */
const LEAST_VERSION = [6, 2] as const;

/**
 * Looks for a redis-server that will do.
 * @returns its path, or the reason why there is none, in words
 */
export async function findRedisServer(pathVariable: string): Promise<{ executable: string } | { reason: string }> {
  const executable = pathVariable
    .split(path.delimiter)
    .map(directory => path.join(directory, 'redis-server'))
    .find(file => path.isAbsolute(file) && existsSync(file));
  if (!executable) return { reason: 'no redis-server on the PATH' };
  try {
    const { stdout } = await promisify(execFile)(executable, ['--version'], { timeout: 10_000 });
    const [, major = 0, minor = 0] = /v=(\d+)\.(\d+)/.exec(stdout)?.map(Number) ?? [];
    const goodEnough = major > LEAST_VERSION[0] || (major === LEAST_VERSION[0] && minor >= LEAST_VERSION[1]);
    return goodEnough
      ? { executable }
      : { reason: `${executable} is version ${major}.${minor}, older than ${LEAST_VERSION.join('.')}` };
  } catch (error) {
    return { reason: `${executable} does not run: ${(error as Error).message}` };
  }
}

/** Prepares, but does not start, the server of a data directory. */
export function embeddedRedis(options: EmbeddedRedisOptions): EmbeddedRedis {
  const { dataDir, log } = options;
  const directory = path.join(dataDir, 'redis');
  const sockets = socketDirectory({ dataDir, tmpDir: options.tmpDir, uid: process.getuid?.() ?? 0 }, 'redis');
  const socketPath = path.join(sockets, 'redis.sock');
  const server = new ServerProcess({
    name: 'Redis',
    command: options.executable,
    args: [
      ...['--port', '0', '--unixsocket', socketPath, '--unixsocketperm', '700', '--daemonize', 'no'],
      ...['--dir', directory, '--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
      ...['--maxmemory-policy', 'noeviction'],
    ],
    env: options.env,
    logFile: path.join(dataDir, 'logs', 'redis.log'),
    pidFile: path.join(dataDir, 'run', 'redis.pid'),
    // It rewrites its command line to "redis-server unixsocket:<path>".
    marker: socketPath,
    probe: async () => (await ping(socketPath)) === undefined,
    readyTimeoutMs: 60_000,
    stopSignals: [
      { signal: 'SIGTERM', waitMs: 10_000 },
      { signal: 'SIGKILL', waitMs: 5_000 },
    ],
    log,
  });

  const start = async () => {
    for (const made of [directory, path.join(dataDir, 'run')]) mkdirSync(made, { recursive: true, mode: 0o700 });
    await server.start();
  };
  return {
    socketPath,
    get pid() {
      return server.pid;
    },
    async start() {
      try {
        await start();
      } catch (error) {
        if (!(error instanceof ServerStartError) || !existsSync(path.join(directory, 'appendonlydir'))) throw error;
        const aside = `${directory}.broken-${Date.now()}`;
        log.warn(
          { err: error, aside },
          'Redis did not start on its file; starting it empty, the doorbells ring again from Postgres',
        );
        renameSync(directory, aside);
        await start();
      }
    },
    stop: () => server.stop(),
    async health() {
      const failure = await ping(socketPath);
      return failure && `Redis (${server.state}) does not answer: ${failure.message}`;
    },
  };
}

async function ping(socketPath: string): Promise<Error | undefined> {
  const client = new Redis({ path: socketPath, lazyConnect: true, retryStrategy: () => null, connectTimeout: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.ping();
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    client.disconnect();
  }
}
