/**
 * Puts the parts of a node together and starts them in order: database, object store, change log, pods, actors, gateway.
 * Each knows only what it is given here; nothing else in the program reads the configuration.
 */
import path from 'node:path';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { actionActor } from '../../actors/action/action-actor.ts';
import { ACTION_KIND } from '../../actors/action/messages.ts';
import { createObserver } from '../../actors/action/observe.ts';
import { createAttemptSpecReader } from '../../actors/executor/attempt-specs.ts';
import { createExecutorActor } from '../../actors/executor/executor-actor.ts';
import { EXECUTOR_KIND } from '../../actors/executor/messages.ts';
import { createPodWatch } from '../../actors/executor/pod-watch.ts';
import { PodNotFoundError, type PodRuntime } from '../../actors/executor/runtime/pod-runtime.ts';
import { ProcessPodRuntime } from '../../actors/executor/runtime/process/process-pod-runtime.ts';
import { WarmPython } from '../../actors/executor/runtime/process/warm/warm-python.ts';
import { createRunDoor } from '../../actors/run/door.ts';
import { RUN_KIND } from '../../actors/run/messages.ts';
import { runActor } from '../../actors/run/run-actor.ts';
import { createChangeTail } from '../../actors/runtime/change-tail.ts';
import { systemClock } from '../../actors/runtime/clock.ts';
import { createActorSystem } from '../../actors/runtime/system.ts';
import { migrate } from '../../db/migrate.ts';
import { podsAwaitingChildren } from '../../db/pods.ts';
import { type Database, openDatabase } from '../../db/pool.ts';
import { insertProject } from '../../db/projects.ts';
import { anonymous } from '../../gateway/caller.ts';
import { createGateway } from '../../gateway/gateway.ts';
import { drawRunName } from '../../gateway/identifiers.ts';
import { createGatewayServer } from '../../gateway/transport/server.ts';
import { openQueueStore } from '../../queues/store.ts';
import type { Config } from '../config.ts';
import type { Stores } from '../embedded/stores.ts';
import type { Node } from '../node.ts';
import type { PythonEnvironment } from '../python-env.ts';
import { createHttp } from './http.ts';
import { openNodeStore, S3_PATH } from './object-store.ts';
import { createRequestMetrics } from './request-metrics.ts';

export interface NodePartsOptions {
  readonly config: Config;
  readonly stores: Stores;
  readonly python: PythonEnvironment;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly host: string;
  readonly port: number;
  /** Base URL as clients reach this node. */
  readonly publicUrl: string;
  /** Base URL as processes on this machine reach it. */
  readonly localUrl: string;
  readonly log: Logger;
}

const KINDS = [RUN_KIND, ACTION_KIND, EXECUTOR_KIND];
/** Task processes run a little behind the node, so that a busy machine still answers. */
const TASK_NICENESS = 5;

/**
 * Starts every part that the roles of this node ask for.
 * @throws what the first part that cannot start throws; those before it are stopped by `node`
 */
export async function startParts(node: Node, options: NodePartsOptions): Promise<void> {
  const { config, stores, log, host, port, publicUrl, localUrl } = options;
  const metrics = new Registry();
  collectDefaultMetrics({ register: metrics, prefix: 'starling_' });
  const has = (role: Config['roles'][number]) => config.roles.includes(role);

  await migrate({ url: stores.databaseUrl, log });
  const database = await openDatabase({ url: stores.databaseUrl, poolSize: config.database.poolSize, log });
  await node.start({
    name: 'database',
    start: async () => seedProjects(database, config),
    stop: () => database.close(),
  });

  const wakes = await openQueueStore({ ...stores.queue, log });
  await node.start({ name: 'queues', start: async () => undefined, stop: () => wakes.close() });

  const { store, places, access, endpoint } = await openNodeStore(config, localUrl, publicUrl, log);
  await node.start({ name: 'object store', start: async () => undefined, stop: () => store.close() });

  const changes = createChangeTail({ database, log, clock: systemClock });
  new Gauge({
    name: 'starling_change_subscriptions',
    help: 'Subscriptions to the change log: watches that are open on this node',
    registers: [metrics],
    collect() {
      this.set(changes.subscriptions);
    },
  });
  await node.start({ name: 'change log', start: async () => changes.start(), stop: () => changes.stop() });

  const warm = has('workers') && config.python.warm ? warmPython(options) : undefined;
  if (warm !== undefined) {
    await node.start({ name: 'warm Python', start: async () => warm.begin(), stop: () => warm.stop() });
  }
  const pods = has('workers') ? processRuntime(options, database, warm) : undefined;
  if (pods !== undefined) await node.start({ name: 'pods', start: () => pods.start(), stop: () => pods.stop() });

  const system = createActorSystem({ database, wakes, clock: systemClock, log, metrics, changes });
  if (has('actors')) {
    system.register(runActor);
    const settings = { graceSeconds: config.executor.defaultGraceSeconds };
    system.register(actionActor(createObserver(database.sql, store), settings));
  }
  if (pods !== undefined) {
    system.register(
      createExecutorActor({
        runtime: pods,
        store,
        specs: createAttemptSpecReader(database.sql),
        settings: {
          namespace: 'starling',
          org: 'starling',
          gateway: { endpoint: new URL(localUrl).host, insecure: true },
          store: access,
          defaultResources: {},
          copilot: {
            image: 'starling-copilot',
            command: [process.execPath, path.join(import.meta.dirname, '../../copilot/main.ts')],
          },
        },
        abilities: {
          images: config.executor.images,
          appleSilicon: process.platform === 'darwin' && process.arch === 'arm64',
          podTemplates: false,
        },
        maxDocumentBytes: config.limits.maxReadBytes,
        log,
        now: Date.now,
      }),
    );
  }
  const grace = { graceMs: config.drainSeconds * 1000 };
  await node.start({ name: 'actors', start: async () => system.start(), stop: () => system.stop(grace) });

  if (pods !== undefined) {
    const watch = createPodWatch({ runtime: pods, db: database.sql, mail: system, log, now: Date.now });
    await node.start({ name: 'pod watch', start: async () => watch.start(), stop: () => watch.stop() });
  }
  if (!has('gateway')) return;

  const door = createRunDoor({
    mail: system,
    sql: database.sql,
    store,
    newRunName: drawRunName,
    now: () => new Date(),
  });
  const gateway = createGateway({
    database,
    door,
    changes,
    store,
    places,
    liveLogs: pods ?? noPods,
    domains: config.domains.map(id => ({ id, name: id.charAt(0).toUpperCase() + id.slice(1) })),
    identifyCaller: () => anonymous,
    ...(config.gateway.publicUrl === undefined ? {} : { publicUrl: config.gateway.publicUrl }),
    storeUrlFor: context => storeUrl(config, endpoint !== undefined, context.headers.get('host')),
    now: () => new Date(),
    log,
  });
  let stopping = false;
  const troubles = async () => {
    const queue = await wakes.health();
    const asked = await database.sql.query({ name: 'ready', text: 'select 1 as one' }, []).then(
      () => [],
      (error: Error) => [`the database does not answer: ${error.message}`],
    );
    // A lost queue store costs speed, not work: the sweeper rings. It is told, but it does not take the node out of service.
    if (!queue.ok) log.warn({ detail: queue.detail }, 'the queue store does not answer');
    return [...(stopping ? ['the node is stopping'] : []), ...asked];
  };
  const server = createGatewayServer({
    services: gateway.services,
    fallback: createHttp({ metrics, queues: wakes.queues(KINDS), troubles, objectStore: endpoint }),
    limits: { bodyBytes: config.limits.maxRequestBytes },
    log,
    metrics: createRequestMetrics(metrics),
  });
  await node.start({
    name: 'gateway',
    start: async () => void (await server.listen({ host, port })),
    async stop() {
      stopping = true;
      await server.close(grace);
      gateway.close();
    },
  });
}

/** Projects that are there already stay as their owners left them. */
async function seedProjects(database: Database, config: Config): Promise<void> {
  for (const id of config.projects) {
    await insertProject(database.slonik, { id, name: id, description: '', labels: {}, state: 0 });
  }
}

function warmPython({ config, env, log, python }: NodePartsOptions): WarmPython {
  const dir = path.join(config.dataDir, 'warm');
  return new WarmPython({ python: python.python, binDir: python.binDir, baseEnv: env, dir, log });
}

function processRuntime(
  { config, env, log, python }: NodePartsOptions,
  database: Database,
  warm: WarmPython | undefined,
): ProcessPodRuntime {
  return new ProcessPodRuntime({
    dir: path.join(config.dataDir, 'pods'),
    log,
    slots: config.executor.slots,
    baseEnv: env,
    binDirs: [python.binDir],
    niceness: TASK_NICENESS,
    // Secrets are not served yet (SecretService answers UNIMPLEMENTED): a task that asks for one fails with its name.
    resolveSecret: async () => undefined,
    ...(warm === undefined ? {} : { warm }),
    idlePods: names => podsAwaitingChildren(database.sql, names),
  });
}

/** A gateway without pods of its own reads logs from the object store only. */
const noPods: Pick<PodRuntime, 'logs'> = {
  // biome-ignore lint/correctness/useYield: it has nothing to say but that
  async *logs(name) {
    throw new PodNotFoundError(name);
  },
};

/**
 * Signed URLs of the embedded store begin as the caller reached us: a client behind a port forward cannot use another name.
 * @returns undefined when the store knows its own URL
 */
function storeUrl(config: Config, embedded: boolean, host: string | null): string | undefined {
  if (!embedded) return undefined;
  const base = config.gateway.publicUrl ?? (host === null ? undefined : `http://${host}`);
  return base === undefined ? undefined : `${base}${S3_PATH}`;
}
