/** What the parent of an action is told about it: the hot path of the watches, by prepared statements. */
import type { Failure } from '../actors/action/failure.ts';
import type { RunPath } from '../actors/run/commands.ts';
import type { Sql } from './sql.ts';

/** The state of a child that its parent follows. */
export interface UpdateRow {
  readonly run_id: number;
  readonly name: string;
  readonly seq: number;
  readonly parent: string | null;
  readonly type: number;
  readonly phase: number;
  readonly attempt: number;
  readonly output_uri: string | null;
  readonly failure: Failure | null;
  /** Serialised flyteidl2.core.Literal of a signalled condition. */
  readonly value: Uint8Array | null;
}

/** What names the run of a watch. */
export interface WatchedRun {
  readonly id: number;
  readonly output_base: string;
}

const columns = 'a.run_id, a.name, a.seq, a.parent, a.type, a.phase, a.attempt, a.output_uri, a.failure, a.value';

const run = {
  name: 'watched-run',
  text: 'select id, output_base from run where project = $1 and domain = $2 and name = $3',
};

/** The run at a path, or null. */
export async function watchedRun(db: Sql, path: RunPath): Promise<WatchedRun | null> {
  const rows = await db.query<WatchedRun>(run, [path.project, path.domain, path.run]);
  return rows[0] ?? null;
}

const children = {
  name: 'watched-children',
  text: `select ${columns} from action a where a.run_id = $1 and a.parent = $2 and a.seq > $3 order by a.seq limit $4`,
};

/** The next `limit` children behind `afterSeq` (0 at first): tasks, traces and conditions of any age. */
export function childrenOf(
  db: Sql,
  runId: number,
  parent: string,
  afterSeq: number,
  limit: number,
): Promise<UpdateRow[]> {
  return db.query<UpdateRow>(children, [runId, parent, afterSeq, limit]);
}

const changed = {
  name: 'watched-changes',
  text: `select ${columns}
    from unnest($1::bigint[], $2::text[]) as changed(run_id, name) join action a using (run_id, name)`,
};

/** These actions, of any runs, as they are now: one statement however many. The lists are parallel. */
export function updatesOf(db: Sql, runIds: readonly number[], names: readonly string[]): Promise<UpdateRow[]> {
  return db.query<UpdateRow>(changed, [runIds, names]);
}
