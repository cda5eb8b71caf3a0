/** The writes that bring runs and actions into being. All take the connection of the caller's transaction. */
import { createHash } from 'node:crypto';
import type { Machine } from '../actors/action/action-state.ts';
import type { Failure } from '../actors/action/failure.ts';
import type { CreateRun } from '../actors/run/commands.ts';
import { toJsonb } from './jsonb.ts';
import type { Sql } from './sql.ts';

/** Digest under which a spec is stored: sha256 of its bytes, hex. */
export function specDigest(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

const insertSpecs = {
  name: 'spec-insert',
  text: `insert into spec (digest, body) select digest, body from unnest($1::text[], $2::bytea[]) as s(digest, body)
    on conflict (digest) do nothing`,
};

/** Stores specs that are not there yet. */
export async function storeSpecs(tx: Sql, bodies: ReadonlyMap<string, Uint8Array>): Promise<void> {
  if (bodies.size === 0) return;
  // In one order everywhere, so that two transactions with the same new specs wait for each other instead of deadlocking.
  const digests = [...bodies.keys()].sort();
  await tx.query(insertSpecs, [digests, digests.map(digest => Buffer.from(bodies.get(digest)!))]);
}

/** A run to be inserted under a name. */
export interface NewRun {
  readonly command: CreateRun;
  readonly name: string;
  readonly outputBase: string;
}

const insertRunsStatement = {
  name: 'run-insert',
  text: `insert into run (project, domain, name, fingerprint, spec, source, labels, trigger_name, trigger_task_name,
      trigger_revision, output_base, raw_data_prefix, start_time, created_by, created_by_subject)
    select project, domain, name, fingerprint, decode(spec, 'base64'), source, labels, trigger_name, trigger_task_name,
      trigger_revision, output_base, raw_data_prefix, start_time, created_by, created_by_subject
    from jsonb_to_recordset($1::jsonb) as r(project text, domain text, name text, fingerprint text, spec text,
      source smallint, labels jsonb, trigger_name text, trigger_task_name text, trigger_revision bigint,
      output_base text, raw_data_prefix text, start_time timestamptz, created_by jsonb, created_by_subject text)
    on conflict (project, domain, name) do nothing returning id, project, domain, name`,
};

/** Inserts runs of distinct names; answers the ids of those inserted by `<project>/<domain>/<name>`. The others are taken. */
export async function insertRuns(tx: Sql, runs: readonly NewRun[]): Promise<ReadonlyMap<string, number>> {
  const body = runs.map(({ command, name, outputBase }) => ({
    project: command.path.project,
    domain: command.path.domain,
    name,
    fingerprint: command.fingerprint,
    spec: Buffer.from(command.runSpec).toString('base64'),
    source: command.source,
    labels: command.labels,
    trigger_name: command.trigger?.name ?? null,
    trigger_task_name: command.trigger?.taskName ?? null,
    trigger_revision: command.trigger?.revision ?? null,
    output_base: outputBase,
    raw_data_prefix: command.rawDataPrefix,
    start_time: command.startTime,
    created_by: command.createdBy,
    created_by_subject: subjectOf(command.createdBy),
  }));
  const rows = await tx.query<RunName & { id: number }>(insertRunsStatement, [toJsonb(body)]);
  return new Map(rows.map(row => [nameOfRun(row), row.id]));
}

interface RunName {
  readonly project: string;
  readonly domain: string;
  readonly name: string;
}

const findRuns = {
  name: 'run-fingerprints',
  text: `select r.id, r.fingerprint, r.project, r.domain, r.name
    from unnest($1::text[], $2::text[], $3::text[]) as wanted(project, domain, name) join run r using (project, domain, name)`,
};

/** The runs that hold these names, by `<project>/<domain>/<name>`. */
export async function runsHolding(
  tx: Sql,
  paths: readonly { project: string; domain: string; run: string }[],
): Promise<ReadonlyMap<string, { id: number; fingerprint: string }>> {
  const rows = await tx.query<RunName & { id: number; fingerprint: string }>(findRuns, [
    paths.map(path => path.project),
    paths.map(path => path.domain),
    paths.map(path => path.run),
  ]);
  return new Map(rows.map(row => [nameOfRun(row), row]));
}

function nameOfRun({ project, domain, name }: RunName): string {
  return `${project}/${domain}/${name}`;
}

/** A new row of `action`. Timestamps of traces are the client's; everything else begins now. */
export interface NewAction {
  readonly runId: number;
  readonly name: string;
  readonly parent: string | null;
  readonly depth: number;
  readonly type: number;
  readonly group: string | null;
  readonly stage: 'new' | 'done';
  readonly phase: number;
  readonly specDigest: string;
  readonly task: { project: string; domain: string; name: string; version: string } | null;
  readonly taskType: string;
  readonly shortName: string;
  readonly environment: string;
  readonly functionName: string;
  readonly inputUri: string;
  readonly cacheKey: string | null;
  readonly outputUri: string | null;
  readonly failure: Failure | null;
  readonly machine: Machine;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

const insert = {
  name: 'action-insert',
  text: `insert into action (run_id, name, parent, depth, type, group_name, stage, phase, spec_digest, task_project,
      task_domain, task_name, task_version, task_type, short_name, environment, function_name, input_uri, cache_key,
      output_uri, failure, machine, created_at, started_at, ended_at, waiting_for, wake_at)
    select run_id, name, parent, depth, type, group_name, stage, phase, spec_digest, task_project, task_domain, task_name,
      task_version, task_type, short_name, environment, function_name, input_uri, cache_key, output_uri, failure, machine,
      created_at, started_at, ended_at,
      case when stage = 'new' then 'its first look' end, case when stage = 'new' then now() end
    from jsonb_to_recordset($1::jsonb) as a(run_id bigint, name text, parent text, depth integer, type smallint,
      group_name text, stage text, phase smallint, spec_digest text, task_project text, task_domain text, task_name text,
      task_version text, task_type text, short_name text, environment text, function_name text, input_uri text,
      cache_key text, output_uri text, failure jsonb, machine jsonb, created_at timestamptz, started_at timestamptz,
      ended_at timestamptz)
    on conflict (run_id, name) do nothing returning run_id, name`,
};

/** Inserts actions that do not exist yet, in the given order; answers those inserted as `<run id>.<name>`. */
export async function insertActions(tx: Sql, actions: readonly NewAction[]): Promise<ReadonlySet<string>> {
  if (actions.length === 0) return new Set();
  const body = actions.map(action => ({
    run_id: action.runId,
    name: action.name,
    parent: action.parent,
    depth: action.depth,
    type: action.type,
    group_name: action.group,
    stage: action.stage,
    phase: action.phase,
    spec_digest: action.specDigest,
    task_project: action.task?.project ?? null,
    task_domain: action.task?.domain ?? null,
    task_name: action.task?.name ?? action.functionName,
    task_version: action.task?.version ?? null,
    task_type: action.taskType,
    short_name: action.shortName,
    environment: action.environment,
    function_name: action.functionName,
    input_uri: action.inputUri,
    cache_key: action.cacheKey,
    output_uri: action.outputUri,
    failure: action.failure,
    machine: action.machine,
    created_at: action.createdAt,
    started_at: action.endedAt === null ? null : action.createdAt,
    ended_at: action.endedAt,
  }));
  const rows = await tx.query<{ run_id: number; name: string }>(insert, [toJsonb(body)]);
  return new Set(rows.map(row => `${row.run_id}.${row.name}`));
}

const markParentsStatement = {
  name: 'action-mark-parents',
  text: `update action a set has_children = true, version = a.version + 1
    from (select run_id, name from unnest($1::bigint[], $2::text[]) as wanted(run_id, name)
      join action using (run_id, name) where not has_children order by run_id, name for no key update of action) p
    where a.run_id = p.run_id and a.name = p.name`,
};

/**
 * Notes that these actions have children. It raises their version, so a drain that is about to end one of them as
 * childless loses the race and looks again (actors/action/decide.ts).
 */
export async function markParents(tx: Sql, parents: readonly { runId: number; name: string }[]): Promise<void> {
  await tx.query(markParentsStatement, [parents.map(parent => parent.runId), parents.map(parent => parent.name)]);
}

/** A parent as Enqueue finds it, locked so that it cannot begin to close before the caller's commit. */
export interface ParentRow {
  readonly run_id: number;
  readonly name: string;
  readonly depth: number;
  readonly stage: string;
  readonly phase: number;
  readonly run_state: string;
  readonly run_abort_reason: string | null;
}

const lockParents = {
  name: 'action-lock-parents',
  text: `select a.run_id, a.name, a.depth, a.stage, a.phase, r.state as run_state, r.abort_reason as run_abort_reason
    from unnest($1::bigint[], $2::text[]) as wanted(run_id, name)
      join action a using (run_id, name) join run r on r.id = a.run_id
    order by a.run_id, a.name for share of a`,
};

/** The parents that exist, each under a share lock (see actors/action/decide.ts: `closing`). */
export async function lockedParents(
  tx: Sql,
  parents: readonly { runId: number; name: string }[],
): Promise<ParentRow[]> {
  return tx.query<ParentRow>(lockParents, [parents.map(parent => parent.runId), parents.map(parent => parent.name)]);
}

const signal = {
  name: 'action-signal',
  text: `update action set value = $3, signalled_by = $4, wake_at = now(), updated_at = now(), version = version + 1
    where run_id = $1 and name = $2 and type = 3 and value is null and phase not in (5, 6, 7, 8, 10) returning name`,
};

/** Gives a live condition its value; false when it has one, is over or is none. The machine turns it into SUCCEEDED. */
export async function signalCondition(
  tx: Sql,
  runId: number,
  name: string,
  value: Uint8Array,
  by: object | null,
): Promise<boolean> {
  const rows = await tx.query(signal, [runId, name, Buffer.from(value), by === null ? null : toJsonb(by)]);
  return rows.length > 0;
}

const glance = {
  name: 'action-glance',
  text: `select a.type, a.phase, a.stage, a.value, s.body as spec
    from action a left join spec s on s.digest = a.spec_digest where a.run_id = $1 and a.name = $2`,
};

/** What the doors of abort and signal must know of an action; null when there is none. */
export async function glanceAtAction(
  db: Sql,
  runId: number,
  name: string,
): Promise<{ type: number; phase: number; stage: string; value: Uint8Array | null; spec: Uint8Array | null } | null> {
  const rows = await db.query<{
    type: number;
    phase: number;
    stage: string;
    value: Buffer | null;
    spec: Buffer | null;
  }>(glance, [runId, name]);
  return rows[0] ?? null;
}

/** The subject of an identity as the SDK's `created_by` filter names it (services.md §6.2); null for nobody. */
function subjectOf(identity: CreateRun['createdBy']): string | null {
  const principal = (identity?.user ?? identity?.application) as { id?: { subject?: unknown } } | undefined;
  return typeof principal?.id?.subject === 'string' ? principal.id.subject : null;
}
