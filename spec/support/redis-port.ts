import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.ts';
import { freePort } from './server.ts';

/** A redis-server on a port of loopback, as an installation of several nodes shares one. It keeps nothing on disk. */
export interface RedisOnPort {
  readonly url: string;
  start(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  flushAll(): Promise<void>;
  close(): Promise<void>;
}

export async function startRedisOnPort(): Promise<RedisOnPort> {
  const home = await mkdtemp(path.join(tmpdir(), 'starling-redis-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const ask = async (command: string) => {
    const client = new Redis({ port, lazyConnect: true, retryStrategy: () => null });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.call(command);
    } finally {
      client.disconnect();
    }
  };
  const start = async () => {
    const flags = ['--bind', '127.0.0.1', '--port', String(port), '--dir', home, '--save', '', '--appendonly', 'no'];
    child = spawn('redis-server', [...flags, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' });
    child.on('error', () => undefined);
    await eventually(() => ask('ping'));
  };
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}/0`,
    start,
    kill,
    flushAll: () => ask('flushall'),
    async close() {
      await kill();
      await rm(home, { recursive: true, force: true });
    },
  };
}
