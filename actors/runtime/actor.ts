import type { Sql } from '../../db/sql.ts';

/** Where a letter goes and who an actor is: a kind from the closed set registered at start, and a key unique in it. */
export interface Address {
  readonly kind: string;
  readonly key: string;
}

/** A message on its way: it becomes a row of `mailbox` in the transaction of the change that caused it (I4). */
export interface Letter {
  readonly to: Address;
  readonly body: object;
}

/** One entry of the change log: something readers of `topic` may see has changed about `subject`. */
export interface Change {
  readonly topic: string;
  readonly subject: string;
}

/** What the runtime needs to know of every durable state. The rest of the row belongs to the domain. */
export interface Durable {
  readonly key: string;
  /** Rises with every save; 0 = no row yet (an actor born by its first letter). The fence against a second writer. */
  readonly version: number;
  /** When to wake without mail; null = only mail wakes it. A non-terminal actor has one or waits for a letter (I5). */
  readonly wakeAt: Date | null;
}

/** What an actor decided: all of it commits together or not at all (I4); effects run after the commit. */
export interface Decision<State extends Durable, Effect = never> {
  /** The same object as was passed in means: unchanged, do not write the row. */
  readonly state: State;
  readonly letters: readonly Letter[];
  readonly changes: readonly Change[];
  readonly effects: readonly Effect[];
}

/** An actor as loaded for one drain: its state and its mail in order, at most `mailPerDrain` letters. */
export interface Loaded<State extends Durable, Message> {
  readonly state: State;
  readonly mail: readonly Message[];
}

/**
 * A kind of durable actor. Its code reads as if it were alone: load → observe → decide → save → perform; underneath,
 * the runtime does these steps for all actors of a kind that woke in the same few milliseconds at once.
 */
export interface ActorDefinition<State extends Durable, Message extends object, Effect = never, Facts = undefined> {
  readonly kind: string;

  /** Reads the rows of these keys, without locking them. Keys without a row are left out of the answer. */
  load(db: Sql, keys: readonly string[]): Promise<State[]>;

  /** The state of an actor that has mail but no row. Absent: mail to an unknown key is dropped with a warning. */
  blank?(key: string): State;

  /**
   * Reads what the decision depends on outside the row (object store, other tables): no writes, idempotent, bounded in
   * time, outside of any transaction. Keys without facts may be left out. An error here is an infrastructure failure:
   * the whole drain is retried with back-off and nobody is parked for it.
   */
  observe?(loaded: readonly Loaded<State, Message>[], now: Date): Promise<Map<string, Facts>>;

  /** The decision: pure, total, no I/O, no clock. An exception here parks this actor only (I8). */
  decide(state: State, mail: readonly Message[], now: Date, facts: Facts | undefined): Decision<State, Effect>;

  /**
   * Writes the changed states in one statement, each only `where version = state.version` (or inserts when it is 0),
   * raising the version by one. Returns the keys really written: the others lost a race and are drained again.
   */
  save(tx: Sql, states: readonly State[]): Promise<ReadonlySet<string>>;

  /**
   * Carries out an intent after its commit: idempotent, may be called again after a crash because the state that
   * ordered it has a `wakeAt` and orders it again. The answer becomes mail to the same actor. An exception is
   * logged and retried by that same wake-up.
   */
  perform?(key: string, effect: Effect, signal: AbortSignal): Promise<Message | undefined>;

  /** Keys whose `wakeAt` is before `before`, oldest first: what the sweeper finds after a lost timer or a dead node. */
  due(db: Sql, before: Date, limit: number): Promise<string[]>;

  /** A finished actor is passivated at once and late mail to it is deleted after `decide` saw it. */
  isFinished(state: State): boolean;
}
