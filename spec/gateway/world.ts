import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { PodNotFoundError } from '../../actors/executor/runtime/pod-runtime.ts';
import type { RunDoor } from '../../actors/run/commands.ts';
import { createRunDoor } from '../../actors/run/door.ts';
import { type Database, openDatabase } from '../../db/pool.ts';
import { anonymous } from '../../gateway/caller.ts';
import { createGateway, type Gateway } from '../../gateway/gateway.ts';
import { drawRunName } from '../../gateway/identifiers.ts';
import type { LiveLogs } from '../../gateway/watch/log-tail.ts';
import { DirectoryStore } from '../../storage/directory.ts';
import { freshDatabase } from '../support/postgres.ts';
import { LocalFeed } from './local-feed.ts';
import { Rows } from './rows.ts';

/** A gateway over a database and an object store of its own; the engine behind it writes rows but runs nothing. */
export interface World {
  readonly gateway: Gateway;
  readonly database: Database;
  readonly rows: Rows;
  readonly feed: LocalFeed;
  readonly store: DirectoryStore;
  /** Replace to let pods speak. */
  logs: LiveLogs;
  close(): Promise<void>;
}

export async function openWorld(options: { door?: Partial<RunDoor>; url?: string } = {}): Promise<World> {
  const home = await mkdtemp(join(tmpdir(), 'starling-gateway-'));
  const fresh = options.url === undefined ? await freshDatabase() : { url: options.url, drop: async () => undefined };
  const log = pino({ level: 'silent' });
  const database = await openDatabase({ url: fresh.url, poolSize: 4, log });
  const store = await DirectoryStore.open({
    root: home,
    credentials: { accessKeyId: 'spec', secretAccessKey: 'secret' },
    publicUrl: 'http://127.0.0.1:1/s3',
  });
  const feed = new LocalFeed();
  const rows = new Rows(fresh.url, feed);
  const door = createRunDoor({
    mail: {
      commit: write =>
        database.transaction(tx =>
          write(tx, {
            letter: () => undefined,
            wake: () => undefined,
            change: ({ topic, subject }) => queueMicrotask(() => feed.tell(Number(topic), subject)),
          }),
        ),
    },
    sql: database.sql,
    store,
    newRunName: drawRunName,
    now: () => new Date(),
  });
  const world = {
    database,
    rows,
    feed,
    store,
    logs: {
      // biome-ignore lint/correctness/useYield: there is no pod
      async *logs(name: string) {
        throw new PodNotFoundError(`no pod ${name}`);
      },
    } as LiveLogs,
  };
  const gateway = createGateway({
    database,
    door: { ...door, ...options.door },
    changes: feed,
    store,
    places: { uploads: 's3://flyte/uploads', runs: 's3://flyte/runs', rawData: 's3://flyte/data' },
    liveLogs: { logs: (...args) => world.logs.logs(...args) },
    domains: ['development', 'staging', 'production'].map(id => ({ id, name: id })),
    identifyCaller: () => anonymous,
    storeUrlFor: () => undefined,
    now: () => new Date(),
    log,
  });
  await rows.project('flytesnacks');
  return Object.assign(world, {
    gateway,
    async close() {
      gateway.close();
      await rows.close();
      await database.close();
      await store.close();
      await fresh.drop();
      await rm(home, { recursive: true, force: true });
    },
  });
}
