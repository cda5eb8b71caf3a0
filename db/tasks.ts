import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { IdentityJson } from '../actors/run/identity.ts';
import {
  type Condition,
  cursorOf,
  orderAndLimit,
  type Page,
  type PageRequest,
  textColumn,
  timestampColumn,
  toPage,
  whereOf,
} from './list-query.ts';
import { bytes, cursor, identity } from './row-types.ts';
import { storeSpec } from './specs.ts';

const taskRow = z.object({
  project: z.string(),
  domain: z.string(),
  name: z.string(),
  version: z.string(),
  environment: z.string(),
  shortName: z.string(),
  createdAt: z.date(),
  createdBy: identity,
  /** Serialised flyteidl2.task.TaskSpec. */
  spec: bytes,
});

/** A deployed version of a task. */
export type TaskRow = z.infer<typeof taskRow>;

export interface TaskKey {
  readonly project: string;
  readonly domain: string;
  readonly name: string;
  readonly version: string;
}

/** What is stored about a version beside its spec, for lists. */
export interface NewTask extends TaskKey {
  readonly environment: string;
  readonly shortName: string;
  readonly taskType: string;
  readonly entrypoint: boolean;
  readonly createdBy: IdentityJson | null;
  readonly spec: Uint8Array;
}

const columns = sql.fragment`
  t.project as "project", t.domain as "domain", t.name as "name", t.version as "version", t.environment as "environment",
  t.short_name as "shortName", t.created_at as "createdAt", t.created_by as "createdBy", s.body as "spec"`;

/** Fields tasks can be filtered and sorted by (services.md §8.3). Project, domain, name and version together are unique. */
export const taskListColumns = {
  project: textColumn(sql.fragment`t.project`),
  domain: textColumn(sql.fragment`t.domain`),
  name: textColumn(sql.fragment`t.name`),
  version: textColumn(sql.fragment`t.version`),
  environment: textColumn(sql.fragment`t.environment`),
  environment_name: textColumn(sql.fragment`t.environment`),
  function_name: textColumn(sql.fragment`t.short_name`),
  short_name: textColumn(sql.fragment`t.short_name`),
  task_type: textColumn(sql.fragment`t.task_type`),
  deployed_by: textColumn(sql.fragment`(t.created_by #>> '{user,id,subject}')`, { nullable: true }),
  created_at: timestampColumn(sql.fragment`t.created_at`),
  deployed_at: timestampColumn(sql.fragment`t.created_at`),
};

/** Only the version of each task that was deployed last. */
export const newestVersion: Condition = {
  kind: 'sql',
  fragment: sql.fragment`not exists (
    select 1 from task newer where newer.project = t.project and newer.domain = t.domain and newer.name = t.name
      and (newer.created_at, newer.version) > (t.created_at, t.version))`,
};

/** Tasks marked as entry points, or those that are not. */
export function entrypointIs(value: boolean): Condition {
  return { kind: 'sql', fragment: sql.fragment`t.entrypoint = ${value}` };
}

/** One version, or null. */
export async function findTask(db: DatabasePool, key: TaskKey): Promise<TaskRow | null> {
  return await db.maybeOne(sql.type(taskRow)`
    select ${columns} from task t join spec s on s.digest = t.spec_digest
    where t.project = ${key.project} and t.domain = ${key.domain} and t.name = ${key.name} and t.version = ${key.version}`);
}

/**
 * Stores a version. One that is there keeps the time of its first deployment; its spec is replaced.
 * @returns `unchanged` when the same spec was there already
 */
export async function putTask(db: DatabasePool, task: NewTask): Promise<'created' | 'replaced' | 'unchanged'> {
  return await db.transaction(async tx => {
    const digest = await storeSpec(tx, task.spec);
    const createdBy = task.createdBy === null ? null : sql.jsonb(task.createdBy as Record<string, never>);
    const inserted = await tx.query(sql.unsafe`
      insert into task (project, domain, name, version, spec_digest, environment, short_name, task_type, entrypoint, created_by)
      values (${task.project}, ${task.domain}, ${task.name}, ${task.version}, ${digest}, ${task.environment},
        ${task.shortName}, ${task.taskType}, ${task.entrypoint}, ${createdBy})
      on conflict (project, domain, name, version) do nothing`);
    if (inserted.rowCount > 0) return 'created';
    const { rowCount } = await tx.query(sql.unsafe`
      update task set spec_digest = ${digest}, environment = ${task.environment}, short_name = ${task.shortName},
        task_type = ${task.taskType}, entrypoint = ${task.entrypoint}
      where project = ${task.project} and domain = ${task.domain} and name = ${task.name} and version = ${task.version}
        and spec_digest <> ${digest}`);
    return rowCount > 0 ? 'replaced' : 'unchanged';
  });
}

/** A page of versions. */
export async function listTasks(db: DatabasePool, page: PageRequest): Promise<Page<TaskRow>> {
  const rows = await db.any(sql.type(taskRow.extend({ cursor }))`
    select ${columns}, ${cursorOf(page)} as "cursor"
    from task t join spec s on s.digest = t.spec_digest
    where ${whereOf(page)} ${orderAndLimit(page)}`);
  return toPage(page, rows);
}

const latestRun = z.object({
  project: z.string(),
  domain: z.string(),
  taskName: z.string(),
  run: z.string(),
  phase: z.number(),
  createdAt: z.date(),
});

/** The newest run of a task. */
export type LatestRun = z.infer<typeof latestRun>;

const RUNS_LOOKED_AT = 1_000;

/** The newest runs of tasks of these projects and domains, as far as they are among the last {@link RUNS_LOOKED_AT} of each. */
export async function latestRuns(
  db: DatabasePool,
  scopes: readonly { readonly project: string; readonly domain: string }[],
): Promise<readonly LatestRun[]> {
  const wanted = sql.unnest(
    scopes.map(scope => [scope.project, scope.domain]),
    ['text', 'text'],
  );
  return await db.any(sql.type(latestRun)`
    select distinct on (a.task_project, a.task_domain, a.task_name)
      a.task_project as "project", a.task_domain as "domain", a.task_name as "taskName", r.name as "run",
      a.phase as "phase", r.created_at as "createdAt"
    from ${wanted} as wanted(project, domain) cross join lateral (
        select id, name, created_at from run
        where run.project = wanted.project and run.domain = wanted.domain
        order by created_at desc, id desc limit ${RUNS_LOOKED_AT}) r
      join action a on a.run_id = r.id and a.name = 'a0'
    where a.task_name is not null
    order by a.task_project, a.task_domain, a.task_name, r.created_at desc, r.id desc`);
}

/** How many versions fulfil the conditions. */
export async function countTasks(db: DatabasePool, conditions: readonly Condition[]): Promise<number> {
  const where = whereOf({ conditions, sort: [], cursor: null, limit: 0 });
  return await db.oneFirst(sql.type(z.object({ n: z.number() }))`select count(*) as "n" from task t where ${where}`);
}
