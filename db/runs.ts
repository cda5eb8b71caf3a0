/** Rows of `run` as the run actor and the engine see them. */
import type { IdentityJson } from '../actors/run/identity.ts';
import type { RunState } from '../actors/run/run-state.ts';
import { toJsonb } from './jsonb.ts';
import type { Sql } from './sql.ts';

interface RunRow {
  id: number;
  state: RunState['state'];
  abort_reason: string | null;
  abort_by: IdentityJson | null;
  abort_requested_at: Date | null;
  ended_at: Date | null;
  wake_at: Date | null;
  version: number;
}

const load = {
  name: 'run-load',
  text: `select id, state, abort_reason, abort_by, abort_requested_at, ended_at, wake_at, version
    from run where id = any($1::bigint[])`,
};

/** The runs of these keys that exist, not locked. */
export async function loadRuns(db: Sql, keys: readonly string[]): Promise<RunState[]> {
  const rows = await db.query<RunRow>(load, [keys.map(Number)]);
  return rows.map(row => ({
    key: String(row.id),
    version: row.version,
    wakeAt: row.wake_at,
    id: row.id,
    state: row.state,
    abort:
      row.abort_reason === null || row.abort_requested_at === null
        ? null
        : { reason: row.abort_reason, by: row.abort_by, at: row.abort_requested_at },
    endedAt: row.ended_at,
  }));
}

const save = {
  name: 'run-save',
  text: `update run r set state = s.state, abort_reason = s.abort_reason, abort_by = s.abort_by,
      abort_requested_at = s.abort_requested_at, ended_at = s.ended_at, wake_at = s.wake_at, version = r.version + 1
    from jsonb_to_recordset($1::jsonb) as s(id bigint, version integer, state text, abort_reason text, abort_by jsonb,
      abort_requested_at timestamptz, ended_at timestamptz, wake_at timestamptz)
    where r.id = s.id and r.version = s.version
    returning r.id`,
};

/** Writes the states whose version still holds; answers the keys written. */
export async function saveRuns(tx: Sql, states: readonly RunState[]): Promise<ReadonlySet<string>> {
  const body = states.map(state => ({
    id: state.id,
    version: state.version,
    state: state.state,
    abort_reason: state.abort?.reason ?? null,
    abort_by: state.abort?.by ?? null,
    abort_requested_at: state.abort?.at ?? null,
    ended_at: state.endedAt,
    wake_at: state.wakeAt,
  }));
  const rows = await tx.query<{ id: number }>(save, [toJsonb(body)]);
  return new Set(rows.map(row => String(row.id)));
}

const due = { name: 'run-due', text: 'select id from run where wake_at < $1 order by wake_at limit $2' };

/** Keys of runs that should have woken before `before`. */
export async function dueRuns(db: Sql, before: Date, limit: number): Promise<string[]> {
  const rows = await db.query<{ id: number }>(due, [before, limit]);
  return rows.map(row => String(row.id));
}

const end = {
  name: 'run-end',
  text: `update run set state = 'ended', ended_at = now(), wake_at = null, version = version + 1
    where id = any($1::bigint[]) and state <> 'ended'`,
};

/** Ends runs, in the transaction that ends their roots: there is no moment between the two. */
export async function endRuns(tx: Sql, ids: readonly number[]): Promise<void> {
  if (ids.length > 0) await tx.query(end, [ids]);
}

/** The part of a run that never changes, as stored. */
export interface RunConstants {
  readonly id: number;
  readonly project: string;
  readonly domain: string;
  readonly name: string;
  readonly spec: Uint8Array;
  readonly outputBase: string;
  readonly rawDataPrefix: string;
  readonly startTime: Date;
}

const constants = {
  name: 'run-constants',
  text: `select id, project, domain, name, spec, output_base, raw_data_prefix, start_time
    from run where id = any($1::bigint[])`,
};

/** What never changes about these runs. */
export async function runConstants(db: Sql, ids: readonly number[]): Promise<RunConstants[]> {
  const rows = await db.query<{
    id: number;
    project: string;
    domain: string;
    name: string;
    spec: Buffer;
    output_base: string;
    raw_data_prefix: string;
    start_time: Date;
  }>(constants, [ids]);
  return rows.map(row => ({
    id: row.id,
    project: row.project,
    domain: row.domain,
    name: row.name,
    spec: row.spec,
    outputBase: row.output_base,
    rawDataPrefix: row.raw_data_prefix,
    startTime: row.start_time,
  }));
}

const idOf = {
  name: 'run-id',
  text: 'select id from run where project = $1 and domain = $2 and name = $3',
};

/** The id of a run by its path, or null. An id never changes, so callers may remember it. */
export async function runId(db: Sql, path: { project: string; domain: string; run: string }): Promise<number | null> {
  const rows = await db.query<{ id: number }>(idOf, [path.project, path.domain, path.run]);
  return rows[0]?.id ?? null;
}
