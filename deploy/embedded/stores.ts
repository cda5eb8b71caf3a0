/** Decides where the truth and the doorbells live, and starts the servers that we bring for them. */
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Node } from '../node.ts';
import { StartError } from '../start-error.ts';
import { embeddedPostgres } from './postgres.ts';
import { embeddedRedis, findRedisServer } from './redis.ts';

export interface Stores {
  /** `postgres://…` */
  databaseUrl: string;
  /** As queues/store.ts opens it, but for the logger. */
  queue: { kind: 'redis'; url: string } | { kind: 'redis'; socketPath: string } | { kind: 'postgres'; url: string };
  /** What was chosen, in words for the banner. */
  description: { database: string; queue: string };
  /** A sentence for each of our servers that does not answer. */
  health(): Promise<string[]>;
}

/** `queues.store` is redis, and there is none. */
export class NoRedisError extends StartError {
  override name = 'NoRedisError';
}

/**
 * Starts the embedded servers that the configuration needs as parts of the node.
 * @throws NoRedisError when Redis is demanded and absent; ServerStartError when a server does not come up
 */
export async function startStores(
  node: Node,
  config: Config,
  around: { env: Readonly<Record<string, string | undefined>>; tmpDir: string },
  log: Logger,
): Promise<Stores> {
  const { dataDir } = config;
  const env = serverEnvironment(around.env);
  const own: { health(): Promise<string | undefined> }[] = [];

  let databaseUrl = config.database.url;
  if (!databaseUrl) {
    const postgres = await embeddedPostgres({ dataDir, tmpDir: around.tmpDir, env, log });
    await node.start({ name: 'embedded PostgreSQL', start: () => postgres.start(), stop: () => postgres.stop() });
    own.push(postgres);
    databaseUrl = postgres.url;
  }

  const queue = async (): Promise<{ store: Stores['queue']; words: string }> => {
    const { store, redisUrl } = config.queues;
    const onPostgres = (why: string) => ({
      store: { kind: 'postgres' as const, url: databaseUrl },
      words: `in PostgreSQL (${why})`,
    });
    if (store === 'postgres') return onPostgres('as configured');
    if (redisUrl) return { store: { kind: 'redis', url: redisUrl }, words: 'Redis, as configured' };
    const found = await findRedisServer(around.env.PATH ?? '');
    if ('reason' in found) {
      if (store === 'auto') return onPostgres(`${found.reason}; with Redis it is faster`);
      throw new NoRedisError(
        `Setting queues.store is redis, but there is ${found.reason}. Install it (Debian, Ubuntu: apt install redis-server), set STARLING_QUEUES_REDIS_URL, or leave queues.store at auto.`,
      );
    }
    const redis = embeddedRedis({ dataDir, tmpDir: around.tmpDir, env, log, executable: found.executable });
    let failure: Error | undefined;
    const start = async () => {
      failure = await redis.start().then(
        () => undefined,
        (error: Error) => error,
      );
      if (failure && store === 'redis') {
        throw new NoRedisError(`${failure.message}\nTo go without Redis, set STARLING_QUEUES_STORE=postgres.`);
      }
    };
    await node.start({ name: 'embedded Redis', start, stop: () => redis.stop() });
    if (failure) {
      log.warn({ err: failure }, 'Redis does not start; the doorbells go through PostgreSQL instead');
      return onPostgres('Redis does not start');
    }
    own.push(redis);
    return {
      store: { kind: 'redis', socketPath: redis.socketPath },
      words: `Redis (${found.executable}, private socket)`,
    };
  };
  const { store, words } = await queue();
  return {
    databaseUrl,
    queue: store,
    description: {
      database: config.database.url ? 'PostgreSQL, as configured' : 'PostgreSQL (embedded)',
      queue: words,
    },
    async health() {
      const answers = await Promise.all(own.map(server => server.health()));
      return answers.filter(answer => answer !== undefined);
    },
  };
}

/** What a server needs of the environment; a PGDATA or PGOPTIONS of the shell must not reach it. */
function serverEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  return { PATH: env.PATH, HOME: env.HOME, TMPDIR: env.TMPDIR, LANG: 'C' };
}
