import { create, toBinary } from '@bufbuild/protobuf';
import pg from 'pg';
import type { Attempt } from '../../actors/action/attempt.ts';
import type { Failure } from '../../actors/action/failure.ts';
import { digestOf } from '../../db/specs.ts';
import { RunSpecSchema } from '../../proto/gen/flyteidl2/task/run_pb.js';
import type { LocalFeed } from './local-feed.ts';

/** A run to be there; what is left out is ordinary. */
export interface RunSeed {
  project?: string;
  domain?: string;
  name?: string;
  createdAt?: string;
  labels?: Record<string, string>;
  createdBy?: object;
  runSpec?: Parameters<typeof create<typeof RunSpecSchema>>[1];
  trigger?: { name: string; taskName: string; revision: number };
  source?: number;
  /** Of the root action. */
  root?: ActionSeed;
}

/** An action to be there, or what is to change about one. */
export interface ActionSeed {
  name?: string;
  parent?: string | null;
  type?: number;
  group?: string;
  phase?: number;
  attempt?: number;
  spec?: Uint8Array;
  taskName?: string;
  taskVersion?: string;
  taskType?: string;
  shortName?: string;
  environment?: string;
  functionName?: string;
  inputUri?: string;
  outputUri?: string;
  failure?: Failure;
  value?: Uint8Array;
  signalledBy?: object;
  abortReason?: string;
  abortBy?: object;
  recoveredFrom?: { run: string; action: string };
  attempts?: Attempt[];
  cacheStatus?: number;
  createdAt?: string;
  startedAt?: string;
  endedAt?: string;
}

const columns: Record<string, string> = {
  name: 'name',
  parent: 'parent',
  type: 'type',
  group: 'group_name',
  phase: 'phase',
  attempt: 'attempt',
  taskName: 'task_name',
  taskVersion: 'task_version',
  taskType: 'task_type',
  shortName: 'short_name',
  environment: 'environment',
  functionName: 'function_name',
  inputUri: 'input_uri',
  outputUri: 'output_uri',
  failure: 'failure',
  value: 'value',
  signalledBy: 'signalled_by',
  abortReason: 'abort_reason',
  abortBy: 'abort_by',
  recoveredFrom: 'recovered_from',
  attempts: 'attempts',
  cacheStatus: 'cache_status',
  createdAt: 'created_at',
  startedAt: 'started_at',
  endedAt: 'ended_at',
};
const jsonColumns = new Set(['failure', 'signalledBy', 'abortBy', 'recoveredFrom', 'attempts']);

let counter = 0;

/** Writes rows directly, as the engine would, and tells the change log of them. */
export class Rows {
  readonly #pool: pg.Pool;
  readonly #feed: LocalFeed;

  constructor(url: string, feed: LocalFeed) {
    this.#pool = new pg.Pool({ connectionString: url, max: 4 });
    // A spec may take the server away.
    this.#pool.on('error', () => undefined);
    this.#feed = feed;
  }

  async query(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.#pool.query(text, values)).rows;
  }

  async project(id: string): Promise<void> {
    await this.query('insert into project (id, name) values ($1, $1) on conflict do nothing', [id]);
  }

  /** A run and its root action. */
  async run(seed: RunSeed = {}): Promise<{ id: number; name: string }> {
    const name = seed.name ?? `run-${++counter}`;
    const project = seed.project ?? 'flytesnacks';
    const domain = seed.domain ?? 'development';
    const [row] = await this.query(
      `insert into run (project, domain, name, fingerprint, spec, source, labels, trigger_name, trigger_task_name,
         trigger_revision, output_base, raw_data_prefix, start_time, created_at, created_by, created_by_subject)
       values ($1, $2, $3, '', $4, $5, $6, $7, $8, $9, $10, '', now(), coalesce($11::timestamptz, now()), $12, $13)
       returning id::int`,
      [
        ...[project, domain, name],
        Buffer.from(toBinary(RunSpecSchema, create(RunSpecSchema, seed.runSpec))),
        ...[seed.source ?? 0, JSON.stringify(seed.labels ?? {})],
        ...[seed.trigger?.name ?? null, seed.trigger?.taskName ?? null, seed.trigger?.revision ?? null],
        ...[`s3://flyte/runs/${project}/${domain}/${name}/`, seed.createdAt ?? null],
        seed.createdBy === undefined ? null : JSON.stringify(seed.createdBy),
        (seed.createdBy as { user?: { id?: { subject?: string } } } | undefined)?.user?.id?.subject ?? null,
      ],
    );
    const id = row!.id as number;
    const created = seed.createdAt === undefined ? {} : { createdAt: seed.createdAt };
    await this.action(id, { name: 'a0', parent: null, ...created, ...seed.root });
    return { id, name };
  }

  /** A new action. */
  async action(runId: number, seed: ActionSeed): Promise<string> {
    const name = seed.name ?? `act${++counter}`;
    const digest = seed.spec === undefined ? '' : await this.spec(seed.spec);
    const fields = Object.entries({ parent: 'a0', type: 1, ...seed, name }).filter(([key]) => key in columns);
    await this.query(
      `insert into action (run_id, spec_digest, task_project, task_domain, ${fields.map(([key]) => columns[key]).join(', ')})
       values ($1, $2, 'flytesnacks', 'development', ${fields.map((_, i) => `$${i + 3}`).join(', ')})`,
      [runId, digest, ...fields.map(([key, value]) => encode(key, value))],
    );
    this.#feed.tell(runId, name);
    return name;
  }

  /** Many ordinary actions in one statement, named `<prefix>0` on. */
  async actions(runId: number, count: number, prefix: string, parent = 'a0'): Promise<void> {
    await this.query(
      `insert into action (run_id, name, parent, type, spec_digest) select $1, $2 || n, $3, 1, ''
       from generate_series(0, $4 - 1) as n`,
      [runId, prefix, parent, count],
    );
    this.#feed.tell(runId, ...Array.from({ length: count }, (_, n) => `${prefix}${n}`));
  }

  /** Changes actions that are there. */
  async change(runId: number, names: string | readonly string[], seed: ActionSeed): Promise<void> {
    const list = typeof names === 'string' ? [names] : names;
    const fields = Object.entries(seed).filter(([key]) => key in columns);
    await this.query(
      `update action set ${fields.map(([key], i) => `${columns[key]} = $${i + 3}`).join(', ')}, updated_at = now()
       where run_id = $1 and name = any($2)`,
      [runId, list, ...fields.map(([key, value]) => encode(key, value))],
    );
    this.#feed.tell(runId, ...list);
  }

  async spec(body: Uint8Array): Promise<string> {
    const digest = digestOf(body);
    await this.query('insert into spec (digest, body) values ($1, $2) on conflict do nothing', [
      digest,
      Buffer.from(body),
    ]);
    return digest;
  }

  close(): Promise<void> {
    return this.#pool.end();
  }
}

function encode(key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  return jsonColumns.has(key) ? JSON.stringify(value) : value;
}
