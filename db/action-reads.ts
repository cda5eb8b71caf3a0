import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { ActionPath } from '../actors/run/commands.ts';
import { cursorOf, orderAndLimit, type Page, type PageRequest, toPage, whereOf } from './list-query.ts';
import { attempts, bytes, cursor, failure, identity, recoveredFrom } from './row-types.ts';

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

const actionDetailRow = z.object({
  ...actionFields,
  inputUri: z.string(),
  outputUri: z.string().nullable(),
  failure,
  /** Serialised flyteidl2.core.Literal of a signalled condition. */
  value: bytes.nullable(),
  signalledBy: identity,
  abortReason: z.string().nullable(),
  abortBy: identity,
  attempts,
  /** Serialised TaskSpec, TraceSpec or ConditionAction; null when none was stored. */
  spec: bytes.nullable(),
});

/** Everything about an action that a client may see. */
export type ActionDetailRow = z.infer<typeof actionDetailRow>;

/** One action with its spec, or null. */
export async function findAction(db: DatabasePool, path: ActionPath): Promise<ActionDetailRow | null> {
  return await db.maybeOne(sql.type(actionDetailRow)`
    select ${actionColumns}, a.input_uri as "inputUri", a.output_uri as "outputUri", a.failure as "failure",
      a.value as "value", a.signalled_by as "signalledBy", a.abort_reason as "abortReason", a.abort_by as "abortBy",
      a.attempts as "attempts", s.body as "spec"
    from run r join action a on a.run_id = r.id ${conditionSpec} left join spec s on s.digest = a.spec_digest
    where r.project = ${path.project} and r.domain = ${path.domain} and r.name = ${path.run} and a.name = ${path.action}`);
}

/** The actions of one run, a page of them (db/action-list-columns.ts). */
export async function listActions(db: DatabasePool, runId: number, page: PageRequest): Promise<Page<ActionRow>> {
  const rows = await db.any(sql.type(z.object({ ...actionFields, cursor }))`
    select ${actionColumns}, ${cursorOf(page)} as "cursor"
    from action a ${conditionSpec}
    where a.run_id = ${runId} and ${whereOf(page)} ${orderAndLimit(page)}`);
  return toPage(page, rows);
}

/** The next `limit` actions of a run behind a name ('' at first), by name: the way through all of a large run that no sort slows down. */
export async function actionsBehind(
  db: DatabasePool,
  runId: number,
  name: string,
  limit: number,
): Promise<readonly ActionRow[]> {
  return await db.any(sql.type(actionRow)`
    select ${actionColumns} from action a ${conditionSpec}
    where a.run_id = ${runId} and a.name > ${name} order by a.name limit ${limit}`);
}

/** These actions of a run, as they are now. */
export async function actionsByName(
  db: DatabasePool,
  runId: number,
  names: readonly string[],
): Promise<readonly ActionRow[]> {
  return await db.any(sql.type(actionRow)`
    select ${actionColumns} from action a ${conditionSpec}
    where a.run_id = ${runId} and a.name = any(${sql.array([...names], 'text')}) order by a.seq`);
}
