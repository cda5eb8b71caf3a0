/** Rows of `pod`: the executors of attempts, loaded and saved for many at once, and as the pod watch compares them with pods. */
import type { ExecutorMachine, ExecutorStage, ExecutorState } from '../actors/executor/executor-state.ts';
import { executorKey, parseExecutorKey } from '../actors/executor/messages.ts';
import { toJsonb } from './jsonb.ts';
import type { Sql } from './sql.ts';

interface PodKey {
  run_id: number;
  action: string;
  attempt: number;
}

interface PodRow extends PodKey {
  state: ExecutorStage;
  incarnation: number;
  pod_name: string;
  machine: ExecutorMachine;
  wake_at: Date | null;
  version: number;
}

const load = {
  name: 'pod-load',
  text: `select run_id, action, attempt, state, incarnation, pod_name, machine, wake_at, version
    from unnest($1::bigint[], $2::text[], $3::integer[]) as wanted(run_id, action, attempt)
    join pod using (run_id, action, attempt)`,
};

/** The executors of these keys that have a row, not locked. */
export async function loadPods(db: Sql, keys: readonly string[]): Promise<ExecutorState[]> {
  const rows = await db.query<PodRow>(load, columns(keys));
  return rows.map(row => ({
    key: keyOf(row),
    version: row.version,
    wakeAt: row.wake_at,
    runId: row.run_id,
    action: row.action,
    attempt: row.attempt,
    stage: row.state,
    incarnation: row.incarnation,
    podName: row.pod_name,
    machine: row.machine,
  }));
}

const save = {
  name: 'pod-save',
  text: `insert into pod as p (run_id, action, attempt, state, incarnation, pod_name, machine, wake_at, version)
    select run_id, action, attempt, state, incarnation, pod_name, machine, wake_at, version + 1
      from jsonb_to_recordset($1::jsonb) as s(run_id bigint, action text, attempt integer, version integer, state text,
        incarnation integer, pod_name text, machine jsonb, wake_at timestamptz)
    on conflict (run_id, action, attempt) do update set state = excluded.state, incarnation = excluded.incarnation,
        pod_name = excluded.pod_name, machine = excluded.machine, wake_at = excluded.wake_at, updated_at = now(),
        version = excluded.version
      where p.version = excluded.version - 1
    returning run_id, action, attempt`,
};

/** Writes the states whose version still holds, and those of executors that are born; answers the keys written. */
export async function savePods(tx: Sql, states: readonly ExecutorState[]): Promise<ReadonlySet<string>> {
  const body = states.map(state => ({
    run_id: state.runId,
    action: state.action,
    attempt: state.attempt,
    version: state.version,
    state: state.stage,
    incarnation: state.incarnation,
    pod_name: state.podName,
    machine: state.machine,
    wake_at: state.wakeAt,
  }));
  const rows = await tx.query<PodKey>(save, [toJsonb(body)]);
  return new Set(rows.map(keyOf));
}

const due = {
  name: 'pod-due',
  text: 'select run_id, action, attempt from pod where wake_at < $1 order by wake_at limit $2',
};

/** Keys of executors that should have woken before `before`. */
export async function duePods(db: Sql, before: Date, limit: number): Promise<string[]> {
  const rows = await db.query<PodKey>(due, [before, limit]);
  return rows.map(keyOf);
}

/** Which pod an executor is about just now. */
export interface CurrentPod {
  readonly key: string;
  readonly stage: ExecutorStage;
  readonly incarnation: number;
  readonly podName: string;
}

const existing = {
  name: 'pod-existing',
  text: `select run_id, action, attempt, state, incarnation, pod_name from pod
    where state in ('live', 'collecting', 'releasing', 'terminating')`,
};

/** The executors whose current pod was created, as far as they know. */
export async function podsThatExist(db: Sql): Promise<CurrentPod[]> {
  return (await db.query<PodRow>(existing, [])).map(currentPod);
}

const current = {
  name: 'pod-current',
  text: `select run_id, action, attempt, state, incarnation, pod_name
    from unnest($1::bigint[], $2::text[], $3::integer[]) as wanted(run_id, action, attempt)
    join pod using (run_id, action, attempt)`,
};

/** The executors of these keys that have a row. */
export async function currentPods(db: Sql, keys: readonly string[]): Promise<CurrentPod[]> {
  return (await db.query<PodRow>(current, columns(keys))).map(currentPod);
}

const awaiting = {
  name: 'pod-awaiting-children',
  text: `select distinct p.pod_name from pod p join action c on c.run_id = p.run_id and c.parent = p.action
    where p.pod_name = any($1::text[]) and c.type = 1 and c.phase not in (5, 6, 7, 8, 10)`,
};

/** Which of these pods have a child task that is not over: such a pod may well only wait. */
export async function podsAwaitingChildren(db: Sql, podNames: readonly string[]): Promise<Set<string>> {
  const rows = await db.query<{ pod_name: string }>(awaiting, [podNames]);
  return new Set(rows.map(row => row.pod_name));
}

const spec = { name: 'attempt-spec', text: 'select body from spec where digest = $1' };

/** The stored spec of this digest (a serialised flyteidl2.task.TaskSpec), if there is one. */
export async function specBody(db: Sql, digest: string): Promise<Uint8Array | undefined> {
  return (await db.query<{ body: Buffer }>(spec, [digest]))[0]?.body;
}

function columns(keys: readonly string[]): [number[], string[], number[]] {
  const parsed = keys.map(parseExecutorKey);
  return [parsed.map(key => key.runId), parsed.map(key => key.action), parsed.map(key => key.attempt)];
}

function keyOf(row: PodKey): string {
  return executorKey(row.run_id, row.action, row.attempt);
}

function currentPod(row: PodRow): CurrentPod {
  return { key: keyOf(row), stage: row.state, incarnation: row.incarnation, podName: row.pod_name };
}
