import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import pino from 'pino';
import { Registry } from 'prom-client';
import { createAttemptSpecReader } from '../../../../actors/executor/attempt-specs.ts';
import { createExecutorActor, type ExecutorTools } from '../../../../actors/executor/executor-actor.ts';
import type { ExecutorState } from '../../../../actors/executor/executor-state.ts';
import {
  type AttemptPlan,
  EXECUTOR_KIND,
  type ExecutorReport,
  executorKey,
  type Observation,
  type Outcome,
} from '../../../../actors/executor/messages.ts';
import { createPodWatch, type PodWatch } from '../../../../actors/executor/pod-watch.ts';
import type { ActorDefinition, Durable } from '../../../../actors/runtime/actor.ts';
import { systemClock } from '../../../../actors/runtime/clock.ts';
import { type ActorSystem, createActorSystem } from '../../../../actors/runtime/system.ts';
import { loadPods } from '../../../../db/pods.ts';
import { type Database, openDatabase } from '../../../../db/pool.ts';
import { digestOf } from '../../../../db/specs.ts';
import type { TaskTemplate } from '../../../../proto/gen/flyteidl2/core/tasks_pb.js';
import { TaskSpecSchema } from '../../../../proto/gen/flyteidl2/task/task_definition_pb.js';
import { credentials, openEmbedded } from '../../../storage/embedded.ts';
import { eventually } from '../../../support/eventually.ts';
import { freshDatabase } from '../../../support/postgres.ts';
import { localWakes } from '../../../support/stores.ts';
import { PodBench } from '../runtime/process/pod-bench.ts';
import { aTask, plan, settings } from './tasks.ts';

interface Listener extends Durable {
  readonly heard: readonly ExecutorReport[];
}

/** Executors on a real database, a real actor system, the process runtime and a store, with an action that only listens. */
export class ExecutorBench {
  readonly heard = new Map<string, Listener>();
  readonly log = pino({ level: process.env.SPEC_LOG ?? 'silent' });
  private system: ActorSystem | undefined;
  private watch: PodWatch | undefined;
  private runs = 0;

  readonly database: Database;
  readonly pods: PodBench;
  readonly store: ExecutorTools['store'];
  /** Where pods reach the store. */
  readonly storeUrl: string;
  private readonly closers: (() => Promise<void>)[];

  constructor(
    database: Database,
    pods: PodBench,
    store: ExecutorTools['store'],
    storeUrl: string,
    closers: (() => Promise<void>)[],
  ) {
    this.storeUrl = storeUrl;
    this.database = database;
    this.pods = pods;
    this.store = store;
    this.closers = closers;
  }

  static async open(): Promise<ExecutorBench> {
    const fresh = await freshDatabase();
    const database = await openDatabase({ url: fresh.url, poolSize: 10, log: pino({ level: 'silent' }) });
    const place = await openEmbedded();
    const pods = await PodBench.open();
    const bench = new ExecutorBench(database, pods, place.store, place.url, [
      () => pods.close(),
      () => place.close(),
      () => database.close(),
      () => fresh.drop(),
    ]);
    bench.start();
    return bench;
  }

  start(tools: Partial<ExecutorTools> = {}): void {
    const { database, pods, store, log } = this;
    const executor = createExecutorActor({
      runtime: pods.runtime,
      store,
      specs: createAttemptSpecReader(database.sql),
      settings: {
        ...settings,
        store: { ...credentials, endpoint: this.storeUrl, region: 'us-east-1' },
        copilot: {
          image: 'any',
          command: [process.execPath, join(import.meta.dirname, '../../../../copilot/main.ts')],
        },
      },
      abilities: { images: 'default-only', appleSilicon: false, podTemplates: false },
      maxDocumentBytes: 1_000_000,
      log,
      now: Date.now,
      ...tools,
    });
    this.system = createActorSystem({
      database,
      wakes: localWakes(),
      definitions: [executor as never, this.listener() as never],
      clock: systemClock,
      log,
      metrics: new Registry(),
    });
    this.system.start();
    this.watch = createPodWatch({
      runtime: tools.runtime ?? pods.runtime,
      db: database.sql,
      mail: this.system,
      log,
      now: Date.now,
      compareEveryMs: 200,
    });
    this.watch.start();
  }

  /** Stops actors and watch; pods go on. */
  async stop(): Promise<void> {
    await this.watch?.stop();
    await this.system?.stop({ graceMs: 2_000 });
  }

  async close(): Promise<void> {
    await this.stop();
    for (const close of this.closers) await close();
  }

  /** Stores a run and a task, and starts an attempt of it. Answers the key of its executor. */
  async begin(template: TaskTemplate, changes: Partial<AttemptPlan> = {}): Promise<string> {
    const body = Buffer.from(toBinary(TaskSpecSchema, create(TaskSpecSchema, { taskTemplate: template })));
    const digest = digestOf(body);
    this.runs += 1;
    const run = `run${this.runs}`;
    const outputBase = `s3://data/runs/flytesnacks/development/${run}/`;
    await this.database.sql.query(
      { name: 'bench-spec', text: 'insert into spec (digest, body) values ($1, $2) on conflict do nothing' },
      [digest, body],
    );
    const [row] = await this.database.sql.query<{ id: number }>(
      {
        name: 'bench-run',
        text: `insert into run (project, domain, name, fingerprint, spec, output_base, raw_data_prefix, start_time)
          values ('flytesnacks', 'development', $1, '', '', $2, '', now()) returning id`,
      },
      [run, outputBase],
    );
    const key = executorKey(row!.id, 'a0', 1);
    await this.tell(key, { type: 'start', plan: { ...plan, run, specDigest: digest, outputBase, ...changes } });
    return key;
  }

  tell(key: string, body: object): Promise<void> {
    return this.system!.commit(async (_tx, outbox) => outbox.letter({ to: { kind: EXECUTOR_KIND, key }, body }));
  }

  reports(key: string): readonly ExecutorReport[] {
    return this.heard.get(key.replace(/\.\d+$/, ''))?.heard ?? [];
  }

  observations(key: string): Observation[] {
    return this.reports(key).flatMap(report => (report.type === 'attempt-observed' ? [report.observation] : []));
  }

  /** The one outcome of an attempt, when its executor is done too. */
  async outcome(key: string): Promise<Outcome> {
    await eventually(async () => (await this.state(key))?.stage === 'done', 20_000);
    await eventually(() => this.reports(key).some(({ type }) => type === 'attempt-ended'));
    const ends = this.reports(key).flatMap(report => (report.type === 'attempt-ended' ? [report.outcome] : []));
    if (ends.length !== 1) throw new Error(`${ends.length} outcomes`);
    return ends[0]!;
  }

  async state(key: string): Promise<ExecutorState | undefined> {
    return (await loadPods(this.database.sql, [key]))[0];
  }

  async untilRunning(key: string, wanted = 1): Promise<Observation> {
    const running = () =>
      this.observations(key).findLast(({ phase, incarnation }) => phase === 'running' && incarnation === wanted);
    await eventually(() => running() !== undefined);
    return running()!;
  }

  async text(uri: string): Promise<string> {
    return Buffer.from(await this.store.read(uri, { maxBytes: 1_000_000 })).toString();
  }

  private listener(): ActorDefinition<Listener, ExecutorReport> {
    return {
      kind: 'action',
      load: async (_db, keys) => keys.flatMap(key => this.heard.get(key) ?? []),
      blank: key => ({ key, version: 0, wakeAt: null, heard: [] }),
      decide: (state, mail) => ({
        state: mail.length === 0 ? state : { ...state, heard: [...state.heard, ...mail] },
        letters: [],
        changes: [],
        effects: [],
      }),
      save: async (_tx, states) => {
        for (const state of states) this.heard.set(state.key, { ...state, version: state.version + 1 });
        return new Set(states.map(({ key }) => key));
      },
      due: async () => [],
      isFinished: () => false,
    };
  }
}

/** A task that runs a shell script, without outputs unless they are declared. */
export const shellTask = (script: string, changes: Parameters<typeof aTask>[0] = {}): TaskTemplate =>
  aTask({
    type: 'container',
    target: { case: 'container', value: { image: 'busybox:1', args: ['sh', '-c', script] } },
    ...changes,
  });
