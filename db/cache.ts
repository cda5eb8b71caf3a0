/** Cached results and who computes one just now. */
import { actionKey } from '../actors/action/messages.ts';
import { toJsonb } from './jsonb.ts';
import type { Sql } from './sql.ts';

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

/** A result to be published: where it is and who computed it. */
export interface NewResult {
  readonly scope: string;
  readonly key: string;
  readonly outputUri: string;
  readonly runId: number;
  readonly action: string;
}

const publish = {
  name: 'action-publish-cache',
  text: `insert into cache (scope, key, output_uri, run_id, action)
    select scope, key, output_uri, run_id, action from jsonb_to_recordset($1::jsonb)
      as c(scope text, key text, output_uri text, run_id bigint, action text)
    on conflict (scope, key) do update set output_uri = excluded.output_uri, run_id = excluded.run_id,
      action = excluded.action, created_at = now()`,
};

/** Publishes results; of two for the same key in one call the later one counts. */
export async function publishResults(tx: Sql, results: readonly NewResult[]): Promise<void> {
  if (results.length === 0) return;
  const rows = new Map(
    results.map(({ scope, key, outputUri, runId, action }) => [
      `${scope} ${key}`,
      { scope, key, output_uri: outputUri, run_id: runId, action },
    ]),
  );
  await tx.query(publish, [toJsonb([...rows.values()])]);
}

/** An action that wants to be the one that computes a result. */
export interface Reservation {
  readonly scope: string;
  readonly key: string;
  readonly runId: number;
  readonly action: string;
}

const reserve = {
  name: 'cache-reserve',
  text: `insert into cache_reservation as held (scope, key, run_id, action)
    select scope, key, run_id, action from jsonb_to_recordset($1::jsonb)
      as r(scope text, key text, run_id bigint, action text)
    on conflict (scope, key) do update set run_id = excluded.run_id, action = excluded.action, reserved_at = now()
      where (held.run_id = excluded.run_id and held.action = excluded.action) or not exists (
        select from action a where a.run_id = held.run_id and a.name = held.action and a.phase not in (5, 6, 7, 8, 10))
    returning run_id, action`,
};

/** Takes reservations that nobody holds, or whose holder is over; answers the keys of the actions that have theirs now. */
export async function reserveResults(tx: Sql, wanted: readonly Reservation[]): Promise<ReadonlySet<string>> {
  if (wanted.length === 0) return new Set();
  const first = new Map(wanted.toReversed().map(each => [`${each.scope} ${each.key}`, each]));
  const body = [...first.values()].map(({ scope, key, runId, action }) => ({ scope, key, run_id: runId, action }));
  const rows = await tx.query<{ run_id: number; action: string }>(reserve, [toJsonb(body)]);
  return new Set(rows.map(row => actionKey(row.run_id, row.action)));
}

const release = {
  name: 'cache-release',
  text: `delete from cache_reservation r using unnest($1::bigint[], $2::text[]) as o(run_id, action)
    where r.run_id = o.run_id and r.action = o.action`,
};

/** Gives back what these actions had reserved. */
export async function releaseResults(tx: Sql, owners: readonly { runId: number; action: string }[]): Promise<void> {
  if (owners.length === 0) return;
  await tx.query(release, [owners.map(owner => owner.runId), owners.map(owner => owner.action)]);
}

const holders = {
  name: 'cache-holders',
  text: `select r.scope, r.key, r.run_id, r.action, run.name as run
    from unnest($1::text[], $2::text[]) as wanted(scope, key) join cache_reservation r using (scope, key)
      join run on run.id = r.run_id
      join action a on a.run_id = r.run_id and a.name = r.action and a.phase not in (5, 6, 7, 8, 10)`,
};

/** Who computes a result just now. */
export interface Holder {
  readonly scope: string;
  readonly key: string;
  /** Key of the action. */
  readonly owner: string;
  /** Run and action, as people know them. */
  readonly name: string;
}

/** The reservations of these results whose holder is not over. */
export async function reservationHolders(
  db: Sql,
  wanted: readonly { scope: string; key: string }[],
): Promise<Holder[]> {
  const rows = await db.query<{ scope: string; key: string; run_id: number; action: string; run: string }>(holders, [
    wanted.map(entry => entry.scope),
    wanted.map(entry => entry.key),
  ]);
  return rows.map(({ scope, key, run_id, action, run }) => ({
    scope,
    key,
    owner: actionKey(run_id, action),
    name: `${run}/${action}`,
  }));
}
