import { toJsonb } from '../../db/jsonb.ts';
import type { Sql } from '../../db/sql.ts';
import type { Address, Change, Letter } from './actor.ts';

/** A letter as it lies in the mailbox; `seq` orders the letters of one sender to one addressee. */
export interface Received {
  readonly seq: number;
  readonly body: object;
}

const READ = {
  name: 'runtime.mailbox.read',
  // One plain index scan per key: unlike a bitmap scan it marks the entries of deleted letters it passes, so a mailbox
  // that got 50,000 letters does not make every later read walk all of them again (design.md §8).
  text: `select k.key, m.seq, m.body
    from unnest($2::text[]) as k(key)
    left join lateral (
      select seq, body from mailbox where kind = $1 and mailbox.key = k.key order by seq limit $3
    ) m on true
    where not exists (select from parked p where p.kind = $1 and p.key = k.key)`,
};

/**
 * The oldest letters of each of these actors, at most `limit` each, in order. Parked actors are left out of the answer;
 * actors without mail have an empty list.
 */
export async function readMail(
  db: Sql,
  kind: string,
  keys: readonly string[],
  limit: number,
): Promise<Map<string, Received[]>> {
  const rows = await db.query<{ key: string; seq: number | null; body: object }>(READ, [kind, keys, limit]);
  const mail = new Map<string, Received[]>();
  for (const { key, seq, body } of rows) {
    let letters = mail.get(key);
    if (letters === undefined) mail.set(key, (letters = []));
    if (seq !== null) letters.push({ seq, body });
  }
  return mail;
}

/** One plain statement can only fail by doing something impossible; this text tells this failure from all others. */
const LETTER_GONE = 'a handled letter is gone';

const SETTLE = {
  name: 'runtime.mailbox.settle',
  text: `with gone as (delete from mailbox where seq = any($1::bigint[]) returning 1),
    sent as (
      insert into mailbox (kind, key, body)
      select kind, key, body::jsonb from unnest($2::text[], $3::text[], $4::text[])
        with ordinality as l(kind, key, body, n) order by n
    ),
    told as (
      insert into change (topic, subject)
      select topic, subject from unnest($5::text[], $6::text[]) with ordinality as c(topic, subject, n) order by n
    )
    select case when count(*) = $7 then 0 else ('${LETTER_GONE}, there were ' || count(*))::int end from gone`,
};
/**
 * Ends a decision's transaction: deletes the letters it handled, sends its letters and tells its changes, in order.
 * @throws when one of the handled letters was not there any more ({@link isLetterGone}), which fails the transaction
 */
export function settle(
  tx: Sql,
  handled: readonly number[],
  letters: readonly Letter[],
  changes: readonly Change[],
): Promise<unknown> {
  return tx.query(SETTLE, [
    handled,
    letters.map(letter => letter.to.kind),
    letters.map(letter => letter.to.key),
    letters.map(letter => toJsonb(letter.body)),
    changes.map(change => change.topic),
    changes.map(change => change.subject),
    handled.length,
  ]);
}

/** True for the failure of {@link settle} that means: another drain handled one of these letters. */
export function isLetterGone(error: unknown): boolean {
  return error instanceof Error && error.message.includes(LETTER_GONE);
}

const OVERDUE = {
  name: 'runtime.mailbox.overdue',
  // The inner limit keeps this cheap on a full mailbox: only the oldest letters are looked at, in the order of the key.
  text: `select kind, key, min(sent_at) as since
    from (
      select kind, key, sent_at from mailbox m
      where kind = any($1::text[]) and not exists (select from parked p where p.kind = m.kind and p.key = m.key)
      order by seq limit $3
    ) oldest
    where sent_at < $2
    group by kind, key`,
};

/** Actors of these kinds that have had mail since before `before`; looks at the `limit` oldest letters only. */
export function overdueMail(
  db: Sql,
  kinds: readonly string[],
  before: Date,
  limit: number,
): Promise<(Address & { readonly since: Date })[]> {
  return db.query(OVERDUE, [kinds, before, limit]);
}
