/** Rows of `action` as the machine sees them: loaded and saved for many actions at once, on the hot path. */
import type { ActionState } from '../actors/action/action-state.ts';
import type { Attempt } from '../actors/action/attempt.ts';
import type { Failure } from '../actors/action/failure.ts';
import { actionKey, parseActionKey } from '../actors/action/messages.ts';
import type { IdentityJson } from '../actors/run/identity.ts';
import { publishResults, releaseResults, reserveResults } from './cache.ts';
import { toJsonb } from './jsonb.ts';
import { endRuns } from './runs.ts';
import type { Sql } from './sql.ts';

interface ActionRow {
  run_id: number;
  name: string;
  parent: string | null;
  depth: number;
  has_children: boolean;
  type: number;
  stage: ActionState['stage'];
  phase: number;
  attempt: number;
  spec_digest: string;
  task_type: string;
  input_uri: string;
  cache_key: string | null;
  cache_status: number;
  output_uri: string | null;
  failure: Failure | null;
  has_value: boolean;
  abort_reason: string | null;
  abort_by: IdentityJson | null;
  recovered_from: { run: string; action: string } | null;
  attempts: Attempt[];
  machine: ActionState['machine'];
  created_at: Date;
  started_at: Date | null;
  ended_at: Date | null;
  waiting_for: string | null;
  wake_at: Date | null;
  version: number;
}

const load = {
  name: 'action-load',
  text: `select run_id, name, parent, depth, has_children, type, stage, phase, attempt, spec_digest, task_type, input_uri, cache_key,
    cache_status, output_uri, failure, value is not null as has_value, abort_reason, abort_by, recovered_from, attempts,
    machine, created_at, started_at, ended_at, waiting_for, wake_at, version
    from unnest($1::bigint[], $2::text[]) as wanted(run_id, name) join action using (run_id, name)`,
};

/** The actions of these keys that exist, not locked. */
export async function loadActions(db: Sql, keys: readonly string[]): Promise<ActionState[]> {
  const parsed = keys.map(parseActionKey);
  const rows = await db.query<ActionRow>(load, [parsed.map(key => key.runId), parsed.map(key => key.name)]);
  return rows.map(toState);
}

const save = {
  name: 'action-save',
  text: `update action a set stage = s.stage, phase = s.phase, attempt = s.attempt, cache_status = s.cache_status,
      output_uri = s.output_uri, failure = s.failure, abort_reason = s.abort_reason, abort_by = s.abort_by,
      recovered_from = s.recovered_from, attempts = s.attempts, machine = s.machine, started_at = s.started_at,
      ended_at = s.ended_at, waiting_for = s.waiting_for, wake_at = s.wake_at, updated_at = now(), version = a.version + 1
    from jsonb_to_recordset($1::jsonb) as s(run_id bigint, name text, version integer, stage text, phase smallint,
      attempt integer, cache_status smallint, output_uri text, failure jsonb, abort_reason text, abort_by jsonb,
      recovered_from jsonb, attempts jsonb, machine jsonb, started_at timestamptz, ended_at timestamptz,
      waiting_for text, wake_at timestamptz)
    where a.run_id = s.run_id and a.name = s.name and a.version = s.version
    returning a.run_id, a.name`,
};

/**
 * Writes the states whose version still holds, with what belongs to the same moment: the end of a run with its root, results
 * they publish, reservations they ask for or give back; answers the keys written. A state whose reservation somebody else holds is not written.
 */
export async function saveActions(tx: Sql, states: readonly ActionState[]): Promise<ReadonlySet<string>> {
  const granted = await reserveResults(
    tx,
    states.flatMap(({ runId, name, reserve }) => (reserve ? [{ ...reserve, runId, action: name }] : [])),
  );
  const writable = states.filter(({ key, reserve }) => reserve === undefined || granted.has(key));
  if (writable.length === 0) return new Set();
  const rows = await tx.query<{ run_id: number; name: string }>(save, [toJsonb(writable.map(toRow))]);
  const written = new Set(rows.map(row => actionKey(row.run_id, row.name)));
  const winners = writable.filter(({ key }) => written.has(key));
  await publishResults(
    tx,
    winners.flatMap(({ runId, name, cacheEntry }) => (cacheEntry ? [{ ...cacheEntry, runId, action: name }] : [])),
  );
  await endRuns(
    tx,
    winners.filter(({ parent, stage }) => parent === null && stage === 'done').map(({ runId }) => runId),
  );
  await releaseResults(
    tx,
    winners.filter(({ release }) => release).map(({ runId, name }) => ({ runId, action: name })),
  );
  return written;
}

const due = {
  name: 'action-due',
  text: 'select run_id, name from action where wake_at < $1 order by wake_at limit $2',
};

/** Keys of actions that should have woken before `before`. */
export async function dueActions(db: Sql, before: Date, limit: number): Promise<string[]> {
  const rows = await db.query<{ run_id: number; name: string }>(due, [before, limit]);
  return rows.map(row => actionKey(row.run_id, row.name));
}

const liveChildren = {
  name: 'action-live-children',
  text: `select a.run_id, a.parent, a.name
    from unnest($1::bigint[], $2::text[]) as wanted(run_id, parent) join action a using (run_id, parent)
    where a.phase not in (5, 6, 7, 8, 10) order by a.seq`,
};

/** Names of the children that are not over, by key of the parent. Parents without any are left out. */
export async function liveChildrenOf(db: Sql, parentKeys: readonly string[]): Promise<Map<string, string[]>> {
  const parsed = parentKeys.map(parseActionKey);
  const rows = await db.query<{ run_id: number; parent: string; name: string }>(liveChildren, [
    parsed.map(key => key.runId),
    parsed.map(key => key.name),
  ]);
  const children = new Map<string, string[]>();
  for (const row of rows) {
    const key = actionKey(row.run_id, row.parent);
    const known = children.get(key);
    if (known === undefined) children.set(key, [row.name]);
    else known.push(row.name);
  }
  return children;
}

const succeeded = {
  name: 'action-succeeded-in',
  text: `select a.run_id, a.name, a.output_uri
    from unnest($1::bigint[], $2::text[]) as wanted(run_id, name) join action a using (run_id, name)
    where a.phase in (5, 10) and a.type = 1`,
};

/** Which of these actions (of other runs) had succeeded, with their output URIs, by key. */
export async function succeededActions(db: Sql, keys: readonly string[]): Promise<Map<string, string | null>> {
  const parsed = keys.map(parseActionKey);
  const rows = await db.query<{ run_id: number; name: string; output_uri: string | null }>(succeeded, [
    parsed.map(key => key.runId),
    parsed.map(key => key.name),
  ]);
  return new Map(rows.map(row => [actionKey(row.run_id, row.name), row.output_uri]));
}

function toState(row: ActionRow): ActionState {
  return {
    key: actionKey(row.run_id, row.name),
    version: row.version,
    wakeAt: row.wake_at,
    runId: row.run_id,
    name: row.name,
    parent: row.parent,
    depth: row.depth,
    hasChildren: row.has_children,
    type: row.type,
    stage: row.stage,
    phase: row.phase,
    attempt: row.attempt,
    specDigest: row.spec_digest,
    taskType: row.task_type,
    inputUri: row.input_uri,
    cacheKey: row.cache_key,
    cacheStatus: row.cache_status,
    outputUri: row.output_uri,
    failure: row.failure,
    hasValue: row.has_value,
    abort: row.abort_reason === null ? null : { reason: row.abort_reason, by: row.abort_by },
    recoveredFrom: row.recovered_from,
    attempts: row.attempts,
    machine: row.machine,
    createdAt: row.created_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    waitingFor: row.waiting_for,
  };
}

function toRow(state: ActionState): object {
  return {
    run_id: state.runId,
    name: state.name,
    version: state.version,
    stage: state.stage,
    phase: state.phase,
    attempt: state.attempt,
    cache_status: state.cacheStatus,
    output_uri: state.outputUri,
    failure: state.failure,
    abort_reason: state.abort?.reason ?? null,
    abort_by: state.abort?.by ?? null,
    recovered_from: state.recoveredFrom,
    attempts: state.attempts,
    machine: state.machine,
    started_at: state.startedAt,
    ended_at: state.endedAt,
    waiting_for: state.waitingFor,
    wake_at: state.wakeAt,
  };
}
