import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Wake, WakeConsumer, WakeQueues } from '../../queues/store.ts';
import { eventually } from './eventually.ts';

/**
 * Doorbells inside this process, for specs that are not about the queue store. Several systems may consume a kind; they
 * take turns. `broken` makes every ring fail, `deaf` makes every ring get lost.
 */
export interface LocalWakes extends WakeQueues {
  broken: boolean;
  deaf: boolean;
  rung: Wake[];
}

export function localWakes(): LocalWakes {
  const consumers = new Map<string, ((key: string) => Promise<void>)[]>();
  const active = new Set<Promise<void>>();
  let turn = 0;
  return {
    broken: false,
    deaf: false,
    rung: [],
    async ring(wakes) {
      if (this.broken) throw new Error('the queue store of this spec is down');
      this.rung.push(...wakes);
      if (this.deaf) return;
      for (const { kind, key } of wakes) {
        const handlers = consumers.get(kind) ?? [];
        const handler = handlers[turn++ % Math.max(handlers.length, 1)];
        if (!handler) continue;
        const job = handler(key).finally(() => active.delete(job));
        active.add(job);
      }
    },
    consume(kind, _concurrency, handle): WakeConsumer {
      const handlers = consumers.get(kind) ?? [];
      consumers.set(kind, [...handlers, handle]);
      return {
        async close() {
          consumers.set(
            kind,
            (consumers.get(kind) ?? []).filter(other => other !== handle),
          );
          await Promise.all(active);
        },
      };
    },
  };
}

/** A redis-server of a spec's own, on a Unix socket in a directory of its own. */
export interface RedisServer {
  readonly socketPath: string;
  /** Kills it without a chance to save; with `appendOnly` its data stay. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Runs one command, such as `FLUSHALL`. */
  command(...words: string[]): Promise<unknown>;
  close(): Promise<void>;
}

export async function startRedis(): Promise<RedisServer> {
  const home = await mkdtemp(join(tmpdir(), 'starling-redis-'));
  const socketPath = join(home, 'redis.sock');
  let server: ChildProcess | undefined;

  async function start(): Promise<void> {
    const flags = ['--port', '0', '--unixsocket', socketPath, '--dir', home, '--save', '', '--appendonly', 'no'];
    const started = spawn('redis-server', [...flags, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' });
    server = started;
    await new Promise<void>((resolve, reject) => {
      started.once('error', error => {
        const remedy = 'install redis-server, or set STARLING_TEST_STORES=postgres to leave the Redis half out';
        reject(new Error(`redis-server cannot be started: ${remedy}`, { cause: error }));
      });
      started.once('spawn', resolve);
    });
    await eventually(() => command('PING'));
  }
  async function kill(): Promise<void> {
    const running = server;
    server = undefined;
    if (!running) return;
    const ended = new Promise(resolve => running.once('exit', resolve));
    running.kill('SIGKILL');
    await ended;
  }
  async function command(...[name, ...words]: string[]): Promise<unknown> {
    const client = new Redis({ path: socketPath, lazyConnect: true, retryStrategy: () => null });
    client.on('error', () => {});
    try {
      await client.connect();
      return await client.call(name!, ...words);
    } finally {
      client.disconnect();
    }
  }

  await start();
  return {
    ...{ socketPath, kill, start, command },
    async close() {
      await kill();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Both queue stores; only Postgres when STARLING_TEST_STORES=postgres says that there is no redis-server here. */
export const storesUnderTest: readonly ('redis' | 'postgres')[] =
  process.env.STARLING_TEST_STORES === 'postgres' ? ['postgres'] : ['redis', 'postgres'];
