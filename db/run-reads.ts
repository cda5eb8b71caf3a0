import { type DatabasePool, type FragmentSqlToken, sql } from 'slonik';
import { z } from 'zod';
import type { RunPath } from '../actors/run/commands.ts';
import { actionListColumns } from './action-list-columns.ts';
import { type ActionRow, actionColumns, actionFields, conditionSpec } from './action-reads.ts';
import {
  type Column,
  type Condition,
  cursorOf,
  integerColumn,
  orderAndLimit,
  type Page,
  type PageRequest,
  textColumn,
  timestampColumn,
  toPage,
  whereOf,
} from './list-query.ts';
import { bytes, cursor, identity, labels } from './row-types.ts';
import type { Sql } from './sql.ts';

const ROOT = 'a0';

const runFields = {
  id: z.number(),
  project: z.string(),
  domain: z.string(),
  run: z.string(),
  source: z.number(),
  labels,
  triggerName: z.string().nullable(),
  triggerTaskName: z.string().nullable(),
  triggerRevision: z.number().nullable(),
  outputBase: z.string(),
  fingerprint: z.string(),
  /** Serialised flyteidl2.task.RunSpec. */
  runSpec: bytes,
  createdBy: identity,
};
const runRow = z.object(runFields);

/** What belongs to a run and not to one of its actions: never changes. */
export type RunRow = z.infer<typeof runRow>;

const runColumns = sql.fragment`
  r.id as "id", r.project as "project", r.domain as "domain", r.name as "run", r.source as "source", r.labels as "labels",
  r.trigger_name as "triggerName", r.trigger_task_name as "triggerTaskName", r.trigger_revision as "triggerRevision",
  r.output_base as "outputBase", r.fingerprint as "fingerprint", r.spec as "runSpec", r.created_by as "createdBy"`;

const runKeys = Object.keys(runFields) as (keyof RunRow)[];

/** The run without its root action. */
export function runOf(run: RunWithRoot): RunRow {
  return Object.fromEntries(runKeys.map(key => [key, run[key]])) as RunRow;
}

/** A run and its root action. */
const runWithRoot = z.object({ ...runFields, ...actionFields });
export type RunWithRoot = RunRow & ActionRow;

const nullable = { nullable: true };

/** What a list of runs can be filtered and sorted by: its own fields and those of its root action (runs.md 1.10). */
export const runListColumns = {
  ...actionListColumns,
  project: textColumn(sql.fragment`r.project`),
  domain: textColumn(sql.fragment`r.domain`),
  run_name: textColumn(sql.fragment`r.name`),
  run_source: integerColumn(sql.fragment`r.source`),
  created_by: textColumn(sql.fragment`r.created_by_subject`, nullable),
  created_by_subject: textColumn(sql.fragment`r.created_by_subject`, nullable),
  trigger_name: textColumn(sql.fragment`r.trigger_name`, nullable),
  trigger_task_name: textColumn(sql.fragment`r.trigger_task_name`, nullable),
  trigger_revision: integerColumn(sql.fragment`r.trigger_revision`, nullable),
  created_at: timestampColumn(sql.fragment`r.created_at`),
} satisfies Record<string, Column>;

/** The order in which runs were made: unique. */
export const runSequence = integerColumn(sql.fragment`r.id`);

/** The value of one label; null where a run has no such label. */
export function labelColumn(key: string): Column {
  return textColumn(sql.fragment`(r.labels ->> ${key})`, nullable);
}

/** `labels.<key>` equals: by the index over all labels. */
export function labelEquals(key: string, value: string): FragmentSqlToken {
  return sql.fragment`r.labels @> ${sql.jsonb({ [key]: value })}`;
}

/** Runs that have an action waiting for a signal. */
export const hasPausedAction: Condition = {
  kind: 'sql',
  fragment: sql.fragment`exists (select 1 from action p where p.run_id = r.id and p.phase = 9)`,
};

const at = {
  name: 'runs-at',
  text: `select ${runColumns.sql} from unnest($1::text[], $2::text[], $3::text[]) as wanted(project, domain, name)
    join run r using (project, domain, name)`,
};

/** Those runs that exist at these paths, in no order. */
export function runsAt(db: Sql, paths: readonly RunPath[]): Promise<RunRow[]> {
  return db.query<RunRow>(at, [
    paths.map(path => path.project),
    paths.map(path => path.domain),
    paths.map(path => path.run),
  ]);
}

const withRoot = {
  name: 'runs-with-root',
  text: `select ${runColumns.sql}, ${actionColumns.sql}
    from run r join action a on a.run_id = r.id and a.name = '${ROOT}' ${conditionSpec.sql} where r.id = any($1::bigint[])`,
};

/** Those of these runs that exist, with their root actions, in no order. */
export function runsWithRoot(db: Sql, runIds: readonly number[]): Promise<RunWithRoot[]> {
  return db.query<RunWithRoot>(withRoot, [runIds]);
}

/** A page of runs. */
export async function listRuns(db: DatabasePool, page: PageRequest): Promise<Page<RunWithRoot>> {
  const rows = await db.any(sql.type(runWithRoot.extend({ cursor }))`
    select ${runColumns}, ${actionColumns}, ${cursorOf(page)} as "cursor"
    from run r join action a on a.run_id = r.id and a.name = ${ROOT} ${conditionSpec}
    where ${whereOf(page)} ${orderAndLimit(page)}`);
  return toPage(page, rows);
}

/** Those of these runs that fulfil the conditions, in order of creation. */
export async function runsById(
  db: DatabasePool,
  runIds: readonly number[],
  conditions: readonly Condition[],
): Promise<readonly RunWithRoot[]> {
  const where = whereOf({ conditions, sort: [], cursor: null, limit: 0 });
  return await db.any(sql.type(runWithRoot)`
    select ${runColumns}, ${actionColumns}
    from run r join action a on a.run_id = r.id and a.name = ${ROOT} ${conditionSpec}
    where r.id = any(${sql.array([...runIds], 'int8')}) and ${where} order by r.id`);
}
