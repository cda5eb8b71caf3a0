import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { type Listener, listen } from '../../db/listen.ts';
import type { Database } from '../../db/pool.ts';
import { type Cursor, currentCursor, type LoggedChange, pruneChanges, readChanges } from './change-log.ts';
import type { Clock } from './clock.ts';

/**
 * Follows the change log for all watchers of a node.
 *
 * Contract for a watcher: first subscribe, then read its snapshot from the tables, then act on what the subscription
 * brings (by reading again, so that seeing a change twice is harmless). Nothing is missed: a change that the snapshot
 * does not show commits after the snapshot was taken, so after the subscription; the tail delivers a change only after
 * its commit; so it delivers this one to the subscription.
 */
export interface ChangeTail {
  /** Subscriptions that have not ended, over all topics. */
  readonly subscriptions: number;
  start(): void;
  stop(): Promise<void>;
  /** Something was committed to the change log by this process: look soon, and let the other nodes look. */
  poke(): void;
  /**
   * Delivers the changes of one topic, or of all (`*`), in the order of the log, each once, from now on. The listener is
   * called synchronously and must not throw. An empty list says that changes may have been missed (nobody followed the
   * log before, or Postgres was out of reach for almost as long as it keeps them): read everything again.
   * @returns ends the subscription
   */
  subscribe(topic: string, listener: (changes: readonly LoggedChange[]) => void): () => void;
}

export interface ChangeTailOptions {
  readonly database: Database;
  readonly log: Logger;
  readonly clock: Clock;
  /** How long the log keeps changes. */
  readonly retentionMs?: number;
  /** How often the tail looks although nobody poked it. */
  readonly pollMs?: number;
}

const CHANNEL = 'starling_change';
const ROWS_PER_READ = 2_000;
/** Under load, looks gather the changes of so long. */
const LOOK_EVERY_MS = 2;
/** Other nodes are told at most so often. */
const NOTIFY_EVERY_MS = 4;
/** A node that came up since is told of changes after so long at the latest; until then it polls. */
const COUNT_NEIGHBOURS_MS = 2_000;
/** While changes wait for an older transaction: look again after so long, doubling. */
const HORIZON_RETRY_MIN_MS = 1;
const HORIZON_RETRY_MAX_MS = 50;
/** Few at once: until a deletion commits, no reader sees what was committed after it began. */
const PRUNE_ROWS = 1_000;
const NOTIFY = {
  name: 'runtime.change.notify',
  // A notification takes a transaction id, so its commit would wait for the disk; as a hint it need not.
  text: `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`,
};
const LISTENERS = {
  name: 'runtime.change.listeners',
  text: `select count(*) as n from pg_stat_activity
    where datname = current_database() and application_name = 'starling listen'`,
};
const PRUNE_TURN = {
  name: 'runtime.change.prune-turn',
  text: `select pg_try_advisory_xact_lock(hashtext('starling prune change log')) as mine`,
};

export function createChangeTail(options: ChangeTailOptions): ChangeTail {
  const { database, log, clock, retentionMs = 600_000, pollMs = 1_000 } = options;
  const node = randomUUID();
  const listeners = new Map<string, Set<(changes: readonly LoggedChange[]) => void>>();
  let cursor: Cursor | undefined;
  let readAt = 0;
  let state: 'new' | 'started' | 'stopped' = 'new';
  let listener: Listener | undefined;
  let hasNeighbours = true;
  let reading = false;
  let poked = false;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let nextLook: NodeJS.Timeout | undefined;
  let retryMs = HORIZON_RETRY_MIN_MS;
  let notifying: NodeJS.Timeout | undefined;
  let pruning: NodeJS.Timeout | undefined;
  let idle: (() => void) | undefined;

  /** One look at a time; a poke during a look makes another one follow. */
  function lookSoon(): void {
    if (state !== 'started' || listeners.size === 0) return;
    poked = true;
    if (!reading) lookIn(Math.max(0, lookedAt + LOOK_EVERY_MS - performance.now()));
  }
  function lookIn(ms: number): void {
    clearTimeout(nextLook);
    if (ms > 0) nextLook = setTimeout(() => void look(), ms);
    else void look();
  }

  async function look(): Promise<void> {
    if (state !== 'started' || reading) return;
    reading = true;
    poked = false;
    lookedAt = performance.now();
    let waitMs = pollMs;
    try {
      if (listeners.size > 0) waitMs = await readOn();
      else cursor = undefined;
    } catch (error) {
      log.debug({ err: error }, 'the change log could not be read; trying again');
    }
    reading = false;
    idle?.();
    if (state === 'started') lookIn(poked ? LOOK_EVERY_MS : waitMs);
  }

  /** Reads and delivers all that is readable; returns when to look again. */
  async function readOn(): Promise<number> {
    for (;;) {
      if (cursor === undefined || clock.now().getTime() - readAt > retentionMs / 2) await jump();
      const { changes, more } = await readChanges(database.sql, cursor!, ROWS_PER_READ);
      readAt = clock.now().getTime();
      if (changes.length > 0) {
        cursor = changes.at(-1)!.cursor;
        retryMs = HORIZON_RETRY_MIN_MS;
        deliver(changes);
      }
      if (!more) return pollMs;
      if (changes.length === ROWS_PER_READ) continue;
      const waitMs = retryMs;
      retryMs = Math.min(retryMs * 2, HORIZON_RETRY_MAX_MS);
      return waitMs;
    }
  }

  /** Starts at the end of the log: at first, and when what lies between may have been deleted meanwhile. */
  async function jump(): Promise<void> {
    if (cursor) log.warn('the change log was out of reach for too long: watchers read everything again');
    cursor = await currentCursor(database.sql);
    for (const set of listeners.values()) for (const tell of set) tell([]);
  }

  function deliver(changes: readonly LoggedChange[]): void {
    const everything = listeners.get('*');
    if (everything) for (const tell of everything) tell(changes);
    if (listeners.size === (everything ? 1 : 0)) return;
    for (const [topic, some] of Map.groupBy(changes, change => change.topic)) {
      const set = listeners.get(topic);
      if (set) for (const tell of set) tell(some);
    }
  }

  /** Tells the other nodes, if there are any. */
  function notify(): void {
    notifying = undefined;
    if (!hasNeighbours) return;
    database.sql.query(NOTIFY, [CHANNEL, node]).catch(error => {
      log.debug({ err: error }, 'other nodes could not be told of a change; they poll');
    });
  }

  async function prune(): Promise<void> {
    try {
      const before = new Date(clock.now().getTime() - retentionMs);
      const gone = await database.transaction(async tx => {
        const [turn] = await tx.query<{ mine: boolean }>(PRUNE_TURN, []);
        return turn?.mine ? pruneChanges(tx, before, PRUNE_ROWS) : 0;
      });
      schedulePrune(gone === PRUNE_ROWS ? 50 : retentionMs / 20);
    } catch (error) {
      log.debug({ err: error }, 'old changes could not be deleted; trying again');
      schedulePrune(retentionMs / 20);
    }
  }
  function schedulePrune(inMs: number): void {
    if (state === 'started') pruning = setTimeout(() => void prune(), inMs * (0.75 + Math.random() / 2));
  }

  async function countNeighbours(): Promise<void> {
    try {
      const [row] = await database.sql.query<{ n: number }>(LISTENERS, []);
      hasNeighbours = row!.n > 1;
    } catch {
      hasNeighbours = true;
    }
  }

  let counting: NodeJS.Timeout | undefined;
  return {
    start() {
      if (state !== 'new') throw new Error('a change tail is started once');
      state = 'started';
      listener = listen({
        ...{ url: database.url, channel: CHANNEL, log },
        hear: payload => {
          if (payload !== node) lookSoon();
        },
        connected: lookSoon,
      });
      counting = setInterval(() => void countNeighbours(), COUNT_NEIGHBOURS_MS);
      schedulePrune(retentionMs / 20);
      lookIn(0);
    },
    async stop() {
      state = 'stopped';
      clearInterval(counting);
      for (const timer of [nextLook, notifying, pruning]) clearTimeout(timer);
      if (reading) await new Promise<void>(resolve => (idle = resolve));
      await listener?.close();
    },
    poke() {
      if (state !== 'started') return;
      retryMs = HORIZON_RETRY_MIN_MS;
      lookSoon();
      notifying ??= setTimeout(notify, NOTIFY_EVERY_MS);
    },
    get subscriptions() {
      return [...listeners.values()].reduce((sum, { size }) => sum + size, 0);
    },
    subscribe(topic, tell) {
      let set = listeners.get(topic);
      if (set === undefined) listeners.set(topic, (set = new Set()));
      set.add(tell);
      // Without a place in the log, the first look finds one and tells everybody to read again.
      if (cursor === undefined) lookSoon();
      return () => {
        set.delete(tell);
        if (set.size === 0 && listeners.get(topic) === set) listeners.delete(topic);
      };
    },
  };
}
