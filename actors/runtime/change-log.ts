import type { Sql } from '../../db/sql.ts';

/**
 * A place in the change log: everything up to and including row `id` of transaction `xid` lies before it. `xid` is a
 * decimal string, because an xid8 may exceed what a number holds.
 */
export interface Cursor {
  readonly xid: string;
  readonly id: number;
}

/** A change as readers get it; `cursor` is its own place. */
export interface LoggedChange {
  readonly topic: string;
  readonly subject: string;
  readonly cursor: Cursor;
}

/** What one look at the change log found. */
export interface Reading {
  readonly changes: readonly LoggedChange[];
  /** True when committed changes wait for an older transaction to end, or more than `limit` are there: look again. */
  readonly more: boolean;
}

const HORIZON = {
  name: 'runtime.change.horizon',
  text: 'select pg_snapshot_xmin(pg_current_snapshot())::text as xid',
};

/** The end of what is readable now: every change that commits after this call lies behind it. */
export async function currentCursor(db: Sql): Promise<Cursor> {
  const [row] = await db.query<{ xid: string }>(HORIZON, []);
  // All rows of transactions below the horizon are before it; ids start at 1.
  return { xid: row!.xid, id: 0 };
}

const READ = {
  name: 'runtime.change.read',
  // The last line asks for the newest row only: an `exists (… xid >= horizon)` is planned as a scan of the whole table.
  text: `with horizon as materialized (select pg_snapshot_xmin(pg_current_snapshot()) as xid)
    (
      select c.xid::text as xid, c.id, c.topic, c.subject from change c
      where (c.xid, c.id) > ($1::xid8, $2) and c.xid < (select xid from horizon)
      order by c.xid, c.id limit $3
    )
    union all
    select null, null, null, null
    where (select xid from change order by xid desc, id desc limit 1) >= (select xid from horizon)`,
};

/**
 * The readable changes after `after`, in order.
 *
 * Readable is a row whose transaction is older than every transaction still running: `pg_snapshot_xmin`. A reader that
 * went by the largest id it has seen would skip rows of a transaction that took its ids earlier and commits later. Here
 * it cannot: a row that becomes visible later belongs to a transaction that was running or not begun when this reader
 * looked, so its xid is at or above the horizon of that look, while everything read then was below it.
 */
export async function readChanges(db: Sql, after: Cursor, limit: number): Promise<Reading> {
  const rows = await db.query<{ xid: string | null; id: number; topic: string; subject: string }>(READ, [
    after.xid,
    after.id,
    limit,
  ]);
  const waiting = rows.at(-1)?.xid === null;
  if (waiting) rows.pop();
  return {
    changes: rows.map(({ xid, id, topic, subject }) => ({ topic, subject, cursor: { xid: xid!, id } })),
    more: waiting || rows.length === limit,
  };
}

const PRUNE = {
  name: 'runtime.change.prune',
  // The inner limit keeps one call short; the oldest rows come first in the order of the key. Nothing goes that could
  // not be read yet.
  text: `delete from change using (
      select xid, id, at from change where xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid, id limit $2
    ) oldest
    where change.xid = oldest.xid and change.id = oldest.id and oldest.at < $1
    returning 1 as gone`,
};

/** Deletes changes told before `before`, at most `limit`; returns how many. */
export async function pruneChanges(db: Sql, before: Date, limit: number): Promise<number> {
  return (await db.query(PRUNE, [before, limit])).length;
}
