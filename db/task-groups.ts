import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import { identity } from './row-types.ts';

const taskGroupRow = z.object({
  taskName: z.string(),
  environment: z.string(),
  shortName: z.string(),
  totalRuns: z.number(),
  latestRunAt: z.date(),
  latestFinishedAt: z.date().nullable(),
  averageDurationMs: z.number().nullable(),
  averageTimeToRunningMs: z.number().nullable(),
  /** Element i counts phase i + 1. */
  phaseCounts: z.array(z.number()),
  userErrors: z.number(),
  systemErrors: z.number(),
  otherErrors: z.number(),
  /** Newest first. */
  recent: z.array(z.object({ run: z.string(), phase: z.number() })),
  createdBy: z.array(identity),
});

/** The runs of one task, counted. */
export type TaskGroupRow = z.infer<typeof taskGroupRow>;

/** Which runs count: those of a project and domain (null: of all) that were made in a span of time. */
export interface TaskGroupScope {
  readonly project: { readonly project: string; readonly domain: string } | null;
  readonly from: Date;
  readonly until: Date | null;
}

const RECENT = 10;
const phases = Array.from({ length: 10 }, (_, index) => index + 1);

const taskOfRoot = sql.fragment`coalesce(a.task_name, nullif(a.short_name, ''), a.name)`;

/**
 * The groups in scope, newest run first.
 * @param tasks only these; null for all
 */
export async function taskGroups(
  db: DatabasePool,
  scope: TaskGroupScope,
  tasks: readonly string[] | null,
): Promise<readonly TaskGroupRow[]> {
  const inProject =
    scope.project === null
      ? sql.fragment`true`
      : sql.fragment`r.project = ${scope.project.project} and r.domain = ${scope.project.domain}`;
  const until =
    scope.until === null ? sql.fragment`true` : sql.fragment`r.created_at <= ${scope.until.toISOString()}::timestamptz`;
  const wanted =
    tasks === null ? sql.fragment`true` : sql.fragment`${taskOfRoot} = any(${sql.array([...tasks], 'text')})`;
  return await db.any(sql.type(taskGroupRow)`
    with root as (
      select ${taskOfRoot} as task, a.environment, a.short_name, a.phase, a.failure ->> 'kind' as error_kind, a.started_at,
        a.ended_at, r.id, r.name, r.created_at, r.created_by
      from run r join action a on a.run_id = r.id and a.name = 'a0'
      where ${inProject} and r.created_at >= ${scope.from.toISOString()}::timestamptz and ${until} and ${wanted})
    select task as "taskName", max(environment) as "environment", max(short_name) as "shortName",
      count(*) as "totalRuns", max(created_at) as "latestRunAt", max(ended_at) as "latestFinishedAt",
      (extract(epoch from avg(ended_at - created_at)) * 1000)::bigint as "averageDurationMs",
      (extract(epoch from avg(started_at - created_at)) * 1000)::bigint as "averageTimeToRunningMs",
      array[${sql.join(
        phases.map(phase => sql.fragment`count(*) filter (where phase = ${phase})`),
        sql.fragment`, `,
      )}] as "phaseCounts",
      count(*) filter (where phase = 6 and error_kind = 'USER') as "userErrors",
      count(*) filter (where phase = 6 and error_kind = 'SYSTEM') as "systemErrors",
      count(*) filter (where phase = 6 and coalesce(error_kind, 'UNKNOWN') not in ('USER', 'SYSTEM')) as "otherErrors",
      to_jsonb((array_agg(jsonb_build_object('run', name, 'phase', phase) order by created_at desc, id desc))[1:${RECENT}])
        as "recent",
      coalesce(jsonb_agg(distinct created_by) filter (where created_by is not null), '[]') as "createdBy"
    from root group by task order by "latestRunAt" desc, task`);
}

/** The groups these runs belong to. */
export async function groupsOfRuns(db: DatabasePool, runIds: readonly number[]): Promise<readonly string[]> {
  return await db.anyFirst(sql.type(z.object({ task: z.string() }))`
    select distinct ${taskOfRoot} as "task" from action a
    where a.run_id = any(${sql.array([...runIds], 'int8')}) and a.name = 'a0'`);
}
