import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import { cursorOf, orderAndLimit, type Page, type PageRequest, toPage, whereOf } from './list-query.ts';
import { bytes, cursor, recoveredFrom } from './row-types.ts';
import type { Sql } from './sql.ts';

/** What every list and every watch tells of an action: its row without the large and the private parts. */
export const actionFields = {
  runId: z.number(),
  name: z.string(),
  seq: z.number(),
  parent: z.string().nullable(),
  type: z.number(),
  group: z.string().nullable(),
  phase: z.number(),
  attempt: z.number(),
  taskProject: z.string().nullable(),
  taskDomain: z.string().nullable(),
  taskName: z.string().nullable(),
  taskVersion: z.string().nullable(),
  taskType: z.string(),
  shortName: z.string(),
  environment: z.string(),
  functionName: z.string(),
  cacheStatus: z.number(),
  recoveredFrom,
  createdAt: z.date(),
  endedAt: z.date().nullable(),
  /** Serialised flyteidl2.workflow.ConditionAction; null for tasks and traces. */
  condition: bytes.nullable(),
};
const actionRow = z.object(actionFields);
export type ActionRow = z.infer<typeof actionRow>;

/** The columns of {@link ActionRow} from `action a` and {@link conditionSpec}. */
export const actionColumns = sql.fragment`
  a.run_id as "runId", a.name as "name", a.seq as "seq", a.parent as "parent", a.type as "type", a.group_name as "group",
  a.phase as "phase", a.attempt as "attempt", a.task_project as "taskProject", a.task_domain as "taskDomain",
  a.task_name as "taskName", a.task_version as "taskVersion", a.task_type as "taskType", a.short_name as "shortName",
  a.environment as "environment", a.function_name as "functionName", a.cache_status as "cacheStatus",
  a.recovered_from as "recoveredFrom", a.created_at as "createdAt", a.ended_at as "endedAt", c.body as "condition"`;

/** Joins the spec of conditions only: their metadata holds the declared type. */
export const conditionSpec = sql.fragment`left join spec c on a.type = 3 and c.digest = a.spec_digest`;

/** The actions of one run, a page of them (db/action-list-columns.ts). */
export async function listActions(db: DatabasePool, runId: number, page: PageRequest): Promise<Page<ActionRow>> {
  const rows = await db.any(sql.type(z.object({ ...actionFields, cursor }))`
    select ${actionColumns}, ${cursorOf(page)} as "cursor"
    from action a ${conditionSpec}
    where a.run_id = ${runId} and ${whereOf(page)} ${orderAndLimit(page)}`);
  return toPage(page, rows);
}

const behind = {
  name: 'actions-behind',
  text: `select ${actionColumns.sql} from action a ${conditionSpec.sql}
    where a.run_id = $1 and a.name > $2 order by a.name limit $3`,
};

/** The next `limit` actions of a run behind a name ('' at first), by name: the way through all of a large run that no sort slows down. */
export function actionsBehind(db: Sql, runId: number, name: string, limit: number): Promise<ActionRow[]> {
  return db.query<ActionRow>(behind, [runId, name, limit]);
}

const byName = {
  name: 'actions-by-name',
  text: `select ${actionColumns.sql} from action a ${conditionSpec.sql}
    where a.run_id = $1 and a.name = any($2::text[]) order by a.seq`,
};

/** These actions of a run, as they are now. */
export function actionsByName(db: Sql, runId: number, names: readonly string[]): Promise<ActionRow[]> {
  return db.query<ActionRow>(byName, [runId, names]);
}
