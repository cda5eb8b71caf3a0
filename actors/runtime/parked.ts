import { toJsonb } from '../../db/jsonb.ts';
import type { Database } from '../../db/pool.ts';
import type { Address } from './actor.ts';
import type { Received } from './mailbox.ts';

/** An actor that was taken out of service because it kept failing. Its mail waits. */
export interface ParkedActor extends Address {
  readonly parkedAt: Date;
  /** The letter it failed on; null when it failed without one. */
  readonly letter: { readonly seq: number; readonly body: object } | null;
  readonly error: string;
  readonly stack: string | null;
  readonly failures: number;
}

/** What an operator can do about parked actors. */
export interface ParkedActors {
  /** The latest first. */
  list(filter: { kind?: string; limit: number }): Promise<ParkedActor[]>;
  /** Puts it back into service as it is: the cause was removed. False when it was not parked. */
  replay(address: Address): Promise<boolean>;
  /** Deletes the letter it failed on and puts it back into service. False when it was not parked. */
  drop(address: Address): Promise<boolean>;
}

const PARK = {
  name: 'runtime.parked.park',
  text: `insert into parked (kind, key, letter_seq, letter, error, stack, failures)
    values ($1, $2, $3, $4::jsonb, $5, $6, $7)
    on conflict (kind, key) do update set parked_at = now(), letter_seq = excluded.letter_seq, letter = excluded.letter,
      error = excluded.error, stack = excluded.stack, failures = excluded.failures`,
};
const LIST = {
  name: 'runtime.parked.list',
  text: `select kind, key, parked_at as "parkedAt", letter_seq as seq, letter as body, error, stack, failures
    from parked where $1::text is null or kind = $1 order by parked_at desc limit $2`,
};
const UNPARK = {
  name: 'runtime.parked.unpark',
  text: 'delete from parked where kind = $1 and key = $2 returning kind, key',
};
const DROP = {
  name: 'runtime.parked.drop',
  text: `with freed as (delete from parked where kind = $1 and key = $2 returning kind, key, letter_seq),
    gone as (delete from mailbox using freed where seq = freed.letter_seq)
    select kind, key from freed`,
};

/** Takes an actor out of service on all nodes: drains and sweepers leave it out from now on. */
export async function park(
  database: Database,
  address: Address,
  why: { error: Error; letter: Received | undefined; failures: number },
): Promise<void> {
  const { error, letter, failures } = why;
  await database.sql.query(PARK, [
    address.kind,
    address.key,
    letter?.seq ?? null,
    letter ? toJsonb(letter.body) : null,
    printable(error.message),
    error.stack === undefined ? null : printable(error.stack),
    failures,
  ]);
}

export function createParkedActors(database: Database, freed: (address: Address) => void): ParkedActors {
  async function free(statement: typeof UNPARK, { kind, key }: Address): Promise<boolean> {
    const rows = await database.sql.query(statement, [kind, key]);
    if (rows.length > 0) freed({ kind, key });
    return rows.length > 0;
  }
  return {
    async list({ kind, limit }) {
      const rows = await database.sql.query<ParkedActor & { seq: number | null; body: object }>(LIST, [
        kind ?? null,
        limit,
      ]);
      return rows.map(({ seq, body, ...parked }) => ({ ...parked, letter: seq === null ? null : { seq, body } }));
    },
    replay: address => free(UNPARK, address),
    drop: address => free(DROP, address),
  };
}

/** Postgres text cannot hold NUL, and an error message may quote anything. */
const printable = (text: string): string => text.replaceAll('\0', '\ufffd');
