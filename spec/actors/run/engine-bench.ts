/** The engine on a real Postgres without executor or gateway: letters to executors stay in the mailbox, where specs read them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import pino from 'pino';
import { Registry } from 'prom-client';
import { actionActor } from '../../../actors/action/action-actor.ts';
import { createObserver } from '../../../actors/action/observe.ts';
import { isTerminal } from '../../../actors/action/phase.ts';
import type { CreateRun, EnqueueAction, RunDoor } from '../../../actors/run/commands.ts';
import { createRunDoor } from '../../../actors/run/door.ts';
import { runActor } from '../../../actors/run/run-actor.ts';
import { systemClock } from '../../../actors/runtime/clock.ts';
import { type ActorSystem, createActorSystem } from '../../../actors/runtime/system.ts';
import { type Database, openDatabase } from '../../../db/pool.ts';
import { InputsSchema } from '../../../proto/gen/flyteidl2/task/common_pb.js';
import { type RunSpec, RunSpecSchema } from '../../../proto/gen/flyteidl2/task/run_pb.js';
import { TaskSpecSchema } from '../../../proto/gen/flyteidl2/task/task_definition_pb.js';
import { DirectoryStore } from '../../../storage/directory.ts';
import { eventually } from '../../support/eventually.ts';
import { type FreshDatabase, freshDatabase } from '../../support/postgres.ts';
import { localWakes } from '../../support/stores.ts';

export const project = 'flytesnacks';
export const domain = 'development';

export interface ActionView {
  name: string;
  parent: string | null;
  phase: number;
  stage: string;
  depth: number;
  attempt: number;
  output_uri: string | null;
  failure: { code: string; message: string } | null;
  abort_reason: string | null;
  abort_by: object | null;
  cache_status: number;
  recovered_from: object | null;
}

export class EngineBench {
  readonly door: RunDoor;
  readonly store: DirectoryStore;
  readonly database: Database;
  readonly system: ActorSystem;
  readonly #fresh: FreshDatabase;
  readonly #home: string;
  #names = 0;

  private constructor(fresh: FreshDatabase, database: Database, home: string, store: DirectoryStore) {
    this.#fresh = fresh;
    this.#home = home;
    this.database = database;
    this.store = store;
    this.system = createActorSystem({
      database,
      wakes: localWakes(),
      clock: systemClock,
      log: pino({ level: 'silent' }),
      metrics: new Registry(),
    });
    this.system.register(runActor);
    this.system.register(actionActor(createObserver(database.sql, store), { graceSeconds: 1 }));
    const newRunName = () => `r${++this.#names}`;
    this.door = createRunDoor({ mail: this.system, sql: database.sql, store, newRunName, now: () => new Date() });
    this.system.start();
  }

  static async open(): Promise<EngineBench> {
    const fresh = await freshDatabase();
    const database = await openDatabase({ url: fresh.url, poolSize: 8, log: pino({ level: 'silent' }) });
    const home = await mkdtemp(path.join(tmpdir(), 'starling-engine-'));
    const store = await DirectoryStore.open({
      root: home,
      credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
      publicUrl: 'http://127.0.0.1/s3',
    });
    return new EngineBench(fresh, database, home, store);
  }

  async close(): Promise<void> {
    await this.system.stop({ graceMs: 2_000 });
    await this.database.close();
    await this.store.close();
    await this.#fresh.drop();
    await rm(this.#home, { recursive: true, force: true });
  }

  /** URI of an inputs blob with one duration. */
  async duration(ms: number): Promise<string> {
    const uri = `s3://flyte/inputs/${ms}/inputs.pb`;
    const value = { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
    const inputs = create(InputsSchema, {
      literals: [
        {
          name: 'duration',
          value: {
            value: {
              case: 'scalar',
              value: { value: { case: 'primitive', value: { value: { case: 'duration', value } } } },
            },
          },
        },
      ],
    });
    await this.store.put(uri, toBinary(InputsSchema, inputs));
    return uri;
  }

  /** Creates a run whose root is of the given type; the inputs only matter to `core-sleep`. */
  async run(fields: Partial<CreateRun> & { type?: string; spec?: Partial<RunSpec>; sleepMs?: number } = {}) {
    const { type = 'python', spec = {}, sleepMs = 0, ...rest } = fields;
    const result = await this.door.createRun({
      path: { project, domain, run: '' },
      named: false,
      fingerprint: 'print',
      taskSpec: taskSpec(type),
      task: { project, domain, name: `env.${type}`, version: 'v1' },
      runSpec: toBinary(RunSpecSchema, create(RunSpecSchema, spec as object)),
      source: 0,
      labels: {},
      trigger: null,
      inputUri: await this.duration(sleepMs),
      outputBase: `s3://flyte/${project}/${domain}/{run}/`,
      rawDataPrefix: 's3://flyte/raw',
      cacheKey: null,
      startTime: new Date(),
      createdBy: null,
      ...rest,
    });
    if (result.kind === 'name-taken') throw new Error('the name is taken');
    return result;
  }

  leaf(
    run: string,
    action: string,
    inputUri: string,
    fields: { parent?: string; type?: string; cacheKey?: string; cacheable?: boolean; serializable?: boolean } = {},
  ): EnqueueAction {
    const type = fields.type ?? 'core-sleep';
    return {
      path: { project, domain, run, action },
      parent: fields.parent ?? 'a0',
      group: null,
      inputUri,
      spec: {
        kind: 'task',
        taskSpec: taskSpec(type, fields.cacheable ?? false, fields.serializable ?? false),
        task: { project, domain, name: 'env.leaf', version: 'v1' },
        cacheKey: fields.cacheKey ?? null,
      },
    };
  }

  async actions(runId: number): Promise<Map<string, ActionView>> {
    const rows = await this.database.sql.query<ActionView>(
      { name: 'spec-actions', text: 'select * from action where run_id = $1 order by seq' },
      [runId],
    );
    return new Map(rows.map(row => [row.name, row]));
  }

  /** Waits until the action is over. */
  over(runId: number, name: string): Promise<ActionView> {
    return eventually(async () => {
      const action = (await this.actions(runId)).get(name);
      if (action === undefined || !isTerminal(action.phase))
        throw new Error(`${name} is ${action?.stage ?? 'unknown'}`);
      return action;
    });
  }

  /** Bodies of the letters that wait for executors of this run. */
  async executorMail(runId: number): Promise<{ key: string; body: { type: string } }[]> {
    return this.database.sql.query<{ key: string; body: { type: string } }>(
      { name: 'spec-mail', text: "select key, body from mailbox where kind = 'executor' and key like $1 order by seq" },
      [`${runId}.%`],
    );
  }
}

export function taskSpec(type: string, discoverable = false, cacheSerializable = false): Uint8Array {
  return toBinary(
    TaskSpecSchema,
    create(TaskSpecSchema, { taskTemplate: { type, metadata: { discoverable, cacheSerializable } } }),
  );
}
