import type { Logger } from 'pino';
import { type Database, isDatabaseUnavailable } from '../../db/pool.ts';
import type { Sql } from '../../db/sql.ts';
import type { Change, Durable, Letter, Loaded } from './actor.ts';
import type { Clock } from './clock.ts';
import { type AnyDefinition, decideOne, type Outcome } from './decision.ts';
import type { RuntimeLimits } from './limits.ts';
import { isLetterGone, type Received, readMail, settle } from './mailbox.ts';
import type { RuntimeMetrics } from './metrics.ts';

/** An actor that wants to be drained. */
export interface Drainable {
  readonly key: string;
  /** Called right before its mail is read: what arrives from now on needs another drain. */
  taken(): void;
}

/** What a drain did for one actor. */
export type Drained =
  /** Nothing more to do until the next wake or `wakeAt`. */
  | { readonly done: 'asleep'; readonly wakeAt: Date | null; readonly changed: boolean }
  /** It lost a race, or has more mail than fits: drain it again at once. */
  | { readonly done: 'again'; readonly lost: boolean }
  | { readonly done: 'finished' | 'nobody' | 'parked' };

/** The actor itself failed: its decision threw, or its row or letters cannot be written. Counts towards parking. */
export class ActorFailed extends Error {
  override readonly name = 'ActorFailed';
  readonly letter: Received | undefined;
  constructor(cause: unknown, letter: Received | undefined) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.letter = letter;
  }
}

/** Something outside of the actor failed: it is tried again with back-off, for ever, and nobody is blamed. */
export class InfrastructureFailed extends Error {
  override readonly name = 'InfrastructureFailed';
}

/** What became of a committed drain, for those who ring, time and perform. */
export interface Committed {
  readonly letters: readonly Letter[];
  readonly changes: readonly Change[];
  readonly effects: readonly { readonly key: string; readonly effects: readonly unknown[] }[];
}

export interface DrainDependencies {
  readonly database: Database;
  readonly definition: AnyDefinition;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: RuntimeLimits;
  readonly metrics: RuntimeMetrics;
  committed(what: Committed): void;
  /** Postgres is away; said once in a while, not once per drain. */
  complain(error: Error): void;
}

export interface Drain {
  /**
   * Joins the next drain of this kind.
   * @throws ActorFailed after the good part of its mail was committed; InfrastructureFailed
   */
  join(actor: Drainable): Promise<Drained>;
}

interface Joined {
  readonly actor: Drainable;
  resolve(result: Drained): void;
  reject(error: Error): void;
}

/** One actor on its way through a drain. */
interface Drainee extends Joined {
  readonly state: Durable;
  readonly mail: readonly Received[];
}

/**
 * The data loader of one kind. Actors woken within a moment of each other share the statements of one drain:
 *
 *   read mail → load rows → observe → decide each → one transaction: save, delete handled letters, send, tell
 *
 * Nothing is locked while deciding. Two drains of the same actor (two nodes, a duplicate wake) cannot both count:
 * a changed state is written only over the version it was loaded with, and the handled letters must all still be there
 * when they are deleted. Mail is read before the row, never after: so whoever commits between the two has deleted a
 * letter we hold, or was there before we read the row, and a decision to change nothing is never made on an old row
 * about new mail. If this process dies before the commit nothing happened, after it the sweeper finds who was not rung.
 */
export function createDrain(deps: DrainDependencies): Drain {
  const { definition, limits, metrics } = deps;
  const waiting: Joined[] = [];
  let running = 0;
  let gathering: NodeJS.Timeout | undefined;

  function schedule(): void {
    if (running >= limits.drainsPerKind || waiting.length === 0) return;
    if (waiting.length >= limits.keysPerDrain) start();
    // The busier the kind, the longer its next drain gathers: fewer, larger transactions instead of waiting ones.
    else gathering ??= setTimeout(start, limits.gatherMs * (1 + 2 * running));
  }

  function start(): void {
    clearTimeout(gathering);
    gathering = undefined;
    const batch = waiting.splice(0, limits.keysPerDrain);
    if (batch.length === 0) return;
    running += 1;
    drain(deps, batch).finally(() => {
      running -= 1;
      schedule();
    });
    schedule();
  }

  return {
    join(actor) {
      return new Promise((resolve, reject) => {
        waiting.push({ actor, resolve, reject });
        metrics.joined.inc({ kind: definition.kind });
        schedule();
      });
    },
  };
}

/** Drains a batch; every member is settled when this resolves. Never rejects. */
async function drain(deps: DrainDependencies, batch: readonly Joined[]): Promise<void> {
  const { definition, metrics, log } = deps;
  const step = { name: 'read' };
  const stop = metrics.drainSeconds.startTimer({ kind: definition.kind });
  try {
    await drainTogether(deps, batch, step);
    stop();
  } catch (error) {
    if (isLetterGone(error)) {
      for (const member of batch) member.resolve({ done: 'again', lost: true });
    } else if (isDatabaseUnavailable(error)) {
      deps.complain(error as Error);
      rejectAll(batch, new InfrastructureFailed((error as Error).message, { cause: error }));
    } else if (batch.length > 1) {
      // One of them spoils it: halve until it is alone, so that its neighbours go on (I8).
      const half = Math.ceil(batch.length / 2);
      log.warn(
        { err: error, kind: definition.kind, step: step.name, keys: batch.length },
        'a drain failed and is halved',
      );
      await drain(deps, batch.slice(0, half));
      await drain(deps, batch.slice(half));
    } else if (step.name === 'observe' || isPassing(error)) {
      rejectAll(batch, new InfrastructureFailed(`${step.name}: ${(error as Error).message}`, { cause: error }));
    } else {
      rejectAll(batch, new ActorFailed(error, undefined));
    }
  }
}

async function drainTogether(deps: DrainDependencies, batch: readonly Joined[], step: { name: string }): Promise<void> {
  const { database, definition, limits, clock, log, metrics } = deps;
  const { kind } = definition;
  for (const member of batch) member.actor.taken();

  step.name = 'read';
  const limit = Math.min(Math.max(limits.mailPerDrain, Math.floor(2048 / batch.length)), limits.hotMailPerDrain);
  const keys = batch.map(member => member.actor.key);
  // Issued together, executed in this order: see above.
  const [mail, rows] = await database.inOrder(db =>
    Promise.all([readMail(db, kind, keys, limit), definition.load(db, keys)]),
  );
  const states = new Map(rows.map(state => [state.key, state]));

  const drainees: Drainee[] = [];
  const strays: number[] = [];
  const settled: [Joined, Drained][] = [];
  for (const member of batch) {
    const { key } = member.actor;
    const letters = mail.get(key);
    const state = states.get(key) ?? (letters?.length ? definition.blank?.(key) : undefined);
    if (letters === undefined) settled.push([member, { done: 'parked' }]);
    else if (state !== undefined) drainees.push({ ...member, state, mail: letters });
    else {
      if (letters.length > 0) {
        log.warn(
          { kind, key, letters: letters.length, first: letters[0]?.body },
          'mail to an unknown actor is dropped',
        );
        strays.push(...letters.map(letter => letter.seq));
      }
      settled.push([member, { done: 'nobody' }]);
    }
  }

  step.name = 'observe';
  const now = clock.now();
  const facts = drainees.length > 0 ? await definition.observe?.(drainees.map(asLoaded), now) : undefined;

  step.name = 'decide';
  const outcomes = drainees.map(({ state, mail }) => decideOne(definition, state, mail, now, facts?.get(state.key)));

  step.name = 'commit';
  const winners = await commit(database, definition, drainees, outcomes, strays);

  for (const [member, result] of settled) member.resolve(result);
  const counted: Outcome[] = [];
  drainees.forEach((drainee, i) => {
    const outcome = outcomes[i]!;
    if (winners.has(drainee)) counted.push(outcome);
    else drainee.resolve({ done: 'again', lost: true });
  });
  metrics.letters.inc(
    { kind },
    sum(counted, outcome => outcome.handled.length),
  );
  metrics.drainKeys.observe({ kind }, batch.length);
  deps.committed({
    letters: counted.flatMap(outcome => outcome.letters),
    changes: counted.flatMap(outcome => outcome.changes),
    effects: counted
      .filter(outcome => outcome.effects.length > 0)
      .map(outcome => ({ key: outcome.state.key, effects: outcome.effects })),
  });
  // Last, so that whoever hears of the end of this drain finds its letters rung and its effects ordered.
  drainees.forEach((drainee, i) => {
    const outcome = outcomes[i]!;
    if (!winners.has(drainee)) return;
    if (outcome.poison) drainee.reject(new ActorFailed(outcome.poison.error, outcome.poison.letter));
    else if (drainee.mail.length >= limit) drainee.resolve({ done: 'again', lost: false });
    else if (definition.isFinished(outcome.state)) drainee.resolve({ done: 'finished' });
    else drainee.resolve({ done: 'asleep', wakeAt: outcome.state.wakeAt, changed: outcome.state !== drainee.state });
  });
}

/** Writes what was decided in one short transaction; returns those whose decision counts. */
async function commit(
  database: Database,
  definition: AnyDefinition,
  drainees: readonly Drainee[],
  outcomes: readonly Outcome[],
  strays: readonly number[],
): Promise<ReadonlySet<Drainee>> {
  const everything = new Set(drainees);
  const changed = drainees
    .flatMap((drainee, i) => (outcomes[i]!.state === drainee.state ? [] : [outcomes[i]!.state]))
    // Two nodes that save the same rows take their locks in the same order.
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const silent = strays.length === 0 && outcomes.every(outcome => outcome.handled.length === 0);
  if (silent && changed.length === 0) return everything;

  return database.transaction(async (tx: Sql) => {
    const saved = changed.length > 0 ? await definition.save(tx, changed) : new Set<string>();
    const winners = new Set(
      drainees.filter((drainee, i) => outcomes[i]!.state === drainee.state || saved.has(drainee.state.key)),
    );
    const counted = outcomes.filter((_, i) => winners.has(drainees[i]!));
    const handled = [...strays, ...counted.flatMap(outcome => outcome.handled)];
    const letters = counted.flatMap(outcome => outcome.letters);
    const changes = counted.flatMap(outcome => outcome.changes);
    // Not awaited: it shares its round trip with the commit, which fails when it does.
    if (handled.length + letters.length + changes.length > 0) void settle(tx, handled, letters, changes);
    return winners;
  });
}

const asLoaded = (drainee: Drainee): Loaded<Durable, object> => ({
  state: drainee.state,
  mail: drainee.mail.map(letter => letter.body),
});

const sum = <T>(items: readonly T[], size: (item: T) => number): number => items.reduce((n, item) => n + size(item), 0);

function rejectAll(batch: readonly Joined[], error: Error): void {
  for (const member of batch) member.reject(error);
}

/** Serialisation failure, deadlock, lock or statement timeout, lack of resources: SQLSTATE classes that pass. */
function isPassing(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^(40|53|55|57|58)/.test(code);
}
