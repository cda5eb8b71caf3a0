import type { ActorDefinition, Change, Decision, Durable, Letter, Loaded } from '../../../actors/runtime/actor.ts';
import type { Database } from '../../../db/pool.ts';
import type { Sql } from '../../../db/sql.ts';

/** The toy domain of the runtime's specs: accounts that add, pass on, sleep, work, fail and finish. */
export interface Toy extends Durable {
  readonly total: number;
  /** Every `add` it handled, in order. */
  readonly log: readonly { readonly from: string; readonly n: number }[];
  readonly alarms: number;
  /** The effect it waits for. */
  readonly pending: number | null;
  readonly done: boolean;
}

export type ToyMessage =
  | { type: 'add'; from: string; n: number }
  | { type: 'pass'; to: string; n: number }
  /** Passes n, n-1, … along the toys `<stem>-<n>` until nothing is left. */
  | { type: 'chain'; stem: string; n: number }
  | { type: 'alarm'; at: number }
  | { type: 'work'; n: number }
  | { type: 'worked'; n: number }
  | { type: 'noop' }
  | { type: 'echo'; to: string; n: number }
  | { type: 'poison' }
  | { type: 'unwritable' }
  | { type: 'finish' };

export interface ToyEffect {
  readonly n: number;
}

export interface ToyOptions {
  readonly kind?: string;
  perform?(key: string, effect: ToyEffect, signal: AbortSignal): Promise<ToyMessage | undefined>;
  observe?(loaded: readonly Loaded<Toy, ToyMessage>[]): Promise<Map<string, undefined>>;
  /** Poison throws only while this says so. */
  isPoisonous?(): boolean;
  /** Keeps no log in the row: for measuring. */
  readonly forgetful?: boolean;
}

/** How long a toy waits for an effect before it orders it again. */
export const REORDER_MS = 300;

export async function createToyTable(database: Database): Promise<void> {
  await database.sql.query(
    {
      name: 'toy.table',
      text: `create table if not exists toy
        (key text primary key, version int not null, wake_at timestamptz, done boolean not null, data jsonb not null)`,
    },
    [],
  );
  await database.sql.query(
    { name: 'toy.index', text: 'create index if not exists toy_due on toy (wake_at) where wake_at is not null' },
    [],
  );
}

const LOAD = {
  name: 'toy.load',
  text: 'select key, version, wake_at as "wakeAt", done, data from toy where key = any($1::text[])',
};
const SAVE = {
  name: 'toy.save',
  text: `with incoming as (
      select * from unnest($1::text[], $2::int[], $3::timestamptz[], $4::boolean[], $5::text[])
        as i(key, version, wake_at, done, data)
    ),
    updated as (
      update toy t set version = t.version + 1, wake_at = i.wake_at, done = i.done, data = i.data::jsonb
      from incoming i where i.version > 0 and t.key = i.key and t.version = i.version returning t.key
    ),
    inserted as (
      insert into toy (key, version, wake_at, done, data)
      select key, 1, wake_at, done, data::jsonb from incoming where version = 0
      on conflict do nothing returning key
    )
    select key from updated union all select key from inserted`,
};
const DUE = {
  name: 'toy.due',
  text: 'select key from toy where wake_at < $1 order by wake_at limit $2',
};

export const toyKind = 'toy';

export function toyActor(options: ToyOptions = {}): ActorDefinition<Toy, ToyMessage, ToyEffect, undefined> {
  const kind = options.kind ?? toyKind;
  return {
    kind,
    load: loadToys,
    blank: key => ({ key, version: 0, wakeAt: null, total: 0, log: [], alarms: 0, pending: null, done: false }),
    ...(options.observe && { observe: options.observe }),
    decide: (state, mail, now) => decideToy(kind, options, state, mail, now),
    async save(tx, states) {
      const rows = await tx.query<{ key: string }>(SAVE, [
        states.map(state => state.key),
        states.map(state => state.version),
        states.map(state => state.wakeAt),
        states.map(state => state.done),
        states.map(({ key, version, wakeAt, done, ...data }) => JSON.stringify(data)),
      ]);
      return new Set(rows.map(row => row.key));
    },
    ...(options.perform && { perform: options.perform }),
    async due(db, before, limit) {
      return (await db.query<{ key: string }>(DUE, [before, limit])).map(row => row.key);
    },
    isFinished: state => state.done,
  };
}

export async function loadToys(db: Sql, keys: readonly string[]): Promise<Toy[]> {
  const rows = await db.query<Durable & { done: boolean; data: object }>(LOAD, [keys]);
  return rows.map(({ data, ...row }) => ({ ...row, ...data }) as Toy);
}

export async function loadToy(database: Database, key: string): Promise<Toy | undefined> {
  return (await loadToys(database.sql, [key]))[0];
}

function decideToy(
  kind: string,
  options: ToyOptions,
  start: Toy,
  mail: readonly ToyMessage[],
  now: Date,
): Decision<Toy, ToyEffect> {
  let toy = start;
  const letters: Letter[] = [];
  const changes: Change[] = [];
  const effects: ToyEffect[] = [];
  const tell = (key: string, body: ToyMessage) => letters.push({ to: { kind, key }, body });
  const order = (n: number) => {
    effects.push({ n });
    toy = { ...toy, pending: n, wakeAt: new Date(now.getTime() + REORDER_MS) };
  };
  for (const message of mail) {
    switch (message.type) {
      case 'add': {
        const log = options.forgetful ? toy.log : [...toy.log, { from: message.from, n: message.n }];
        toy = { ...toy, total: toy.total + message.n, log };
        changes.push({ topic: 'toy', subject: toy.key });
        break;
      }
      case 'pass':
        toy = { ...toy, total: toy.total - message.n };
        tell(message.to, { type: 'add', from: toy.key, n: message.n });
        break;
      case 'chain':
        toy = { ...toy, total: toy.total + 1 };
        changes.push({ topic: 'toy', subject: toy.key });
        if (message.n > 0) {
          tell(`${message.stem}-${message.n}`, { type: 'chain', stem: message.stem, n: message.n - 1 });
        }
        break;
      case 'alarm':
        toy = { ...toy, wakeAt: new Date(message.at) };
        break;
      case 'work':
        order(message.n);
        break;
      case 'worked':
        if (toy.pending === message.n) toy = { ...toy, pending: null, wakeAt: null, total: toy.total + message.n };
        break;
      case 'noop':
        break;
      case 'echo':
        // Says something without changing itself.
        tell(message.to, { type: 'add', from: toy.key, n: message.n });
        break;
      case 'poison':
        if (options.isPoisonous?.() ?? true) throw new Error('this letter is poison');
        break;
      case 'unwritable':
        tell('NUL is not for text: \0', { type: 'noop' });
        toy = { ...toy, total: toy.total + 1 };
        break;
      case 'finish':
        toy = { ...toy, done: true, wakeAt: null };
        break;
    }
  }
  if (toy.wakeAt !== null && toy.wakeAt <= now) {
    if (toy.pending !== null) order(toy.pending);
    else {
      toy = { ...toy, wakeAt: null, alarms: toy.alarms + 1 };
      changes.push({ topic: 'alarm', subject: toy.key });
    }
  }
  return { state: toy, letters, changes, effects };
}
