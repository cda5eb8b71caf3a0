/** Rows of `action` as the machine sees them: loaded and saved for many actions at once, on the hot path. */
import type { ActionState } from '../actors/action/action-state.ts';
import type { Attempt } from '../actors/action/attempt.ts';
import type { Failure } from '../actors/action/failure.ts';
import { actionKey, parseActionKey } from '../actors/action/messages.ts';
import type { IdentityJson } from '../actors/run/identity.ts';
import { toJsonb } from './jsonb.ts';
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

const publish = {
  name: 'action-publish-cache',
  text: `insert into cache (scope, key, output_uri, run_id, action)
    select scope, key, output_uri, run_id, action from jsonb_to_recordset($1::jsonb)
      as c(scope text, key text, output_uri text, run_id bigint, action text)
    on conflict (scope, key) do update set output_uri = excluded.output_uri, run_id = excluded.run_id,
      action = excluded.action, created_at = now()`,
};

/** Writes the states whose version still holds, and the results they publish; answers the keys written. */
export async function saveActions(tx: Sql, states: readonly ActionState[]): Promise<ReadonlySet<string>> {
  const rows = await tx.query<{ run_id: number; name: string }>(save, [toJsonb(states.map(toRow))]);
  const written = new Set(rows.map(row => actionKey(row.run_id, row.name)));
  const entries = new Map<string, object>();
  for (const { key, runId, name, cacheEntry } of states) {
    if (cacheEntry === undefined || !written.has(key)) continue;
    const { scope, key: cacheKey, outputUri } = cacheEntry;
    // One row per entry and statement: two actions that computed the same result in one drain publish the later one.
    entries.set(`${scope} ${cacheKey}`, { scope, key: cacheKey, output_uri: outputUri, run_id: runId, action: name });
  }
  if (entries.size > 0) await tx.query(publish, [toJsonb([...entries.values()])]);
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

const cached = {
  name: 'cache-lookup',
  text: `select c.scope, c.key, c.output_uri, c.created_at
    from unnest($1::text[], $2::text[]) as wanted(scope, key) join cache c using (scope, key)`,
};

/** A result somebody computed before. */
export interface CachedResult {
  readonly scope: string;
  readonly key: string;
  readonly outputUri: string;
  readonly createdAt: Date;
}

/** The cached results of these keys that exist. */
export async function cachedResults(
  db: Sql,
  wanted: readonly { scope: string; key: string }[],
): Promise<CachedResult[]> {
  const rows = await db.query<{ scope: string; key: string; output_uri: string; created_at: Date }>(cached, [
    wanted.map(entry => entry.scope),
    wanted.map(entry => entry.key),
  ]);
  return rows.map(row => ({ scope: row.scope, key: row.key, outputUri: row.output_uri, createdAt: row.created_at }));
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
