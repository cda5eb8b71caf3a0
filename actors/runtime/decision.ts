import type { ActorDefinition, Change, Durable, Letter } from './actor.ts';
import type { Received } from './mailbox.ts';

/** Any kind of actor, with its types forgotten: what the runtime works with. */
export type AnyDefinition = ActorDefinition<Durable, object, unknown, unknown>;

/** Why an actor could not decide, and on which letter; no letter when it failed without mail. */
export interface Poison {
  readonly error: unknown;
  readonly letter: Received | undefined;
}

/** What an actor decided over its mail, as far as it got. */
export interface Outcome {
  readonly state: Durable;
  readonly handled: readonly number[];
  readonly letters: readonly Letter[];
  readonly changes: readonly Change[];
  readonly effects: readonly unknown[];
  readonly poison: Poison | undefined;
}

/**
 * Runs `decide` of one actor. If it throws over the whole mail, its letters are tried one by one: what came before the
 * poison letter counts, the rest stays in the mailbox (I8).
 */
export function decideOne(
  definition: AnyDefinition,
  state: Durable,
  mail: readonly Received[],
  now: Date,
  facts: unknown,
): Outcome {
  try {
    return outcome(definition, state, mail, now, facts);
  } catch (error) {
    if (mail.length === 0) return nothing(state, { error, letter: undefined });
    return prefix(definition, state, mail, now, facts);
  }
}

function prefix(
  definition: AnyDefinition,
  start: Durable,
  mail: readonly Received[],
  now: Date,
  facts: unknown,
): Outcome {
  let whole = nothing(start, undefined);
  for (const letter of mail) {
    try {
      const step = outcome(definition, whole.state, [letter], now, facts);
      whole = {
        state: step.state,
        handled: [...whole.handled, letter.seq],
        letters: [...whole.letters, ...step.letters],
        changes: [...whole.changes, ...step.changes],
        effects: [...whole.effects, ...step.effects],
        poison: undefined,
      };
    } catch (error) {
      return { ...whole, poison: { error, letter } };
    }
  }
  return whole;
}

function outcome(
  definition: AnyDefinition,
  state: Durable,
  mail: readonly Received[],
  now: Date,
  facts: unknown,
): Outcome {
  const decision = definition.decide(
    state,
    mail.map(letter => letter.body),
    now,
    facts,
  );
  if (decision.state.key !== state.key || decision.state.version !== state.version) {
    throw new Error(
      `a decision may change neither key nor version: got ${decision.state.key} v${decision.state.version}`,
    );
  }
  // Nothing would keep two nodes that woke it at once from both saying it.
  if (mail.length === 0 && decision.state === state && decision.letters.length + decision.changes.length > 0) {
    throw new Error('a decision without mail that sends letters or tells changes must change the state');
  }
  return {
    state: decision.state,
    handled: mail.map(letter => letter.seq),
    letters: decision.letters,
    changes: decision.changes,
    effects: decision.effects,
    poison: undefined,
  };
}

function nothing(state: Durable, poison: Poison | undefined): Outcome {
  return { state, handled: [], letters: [], changes: [], effects: [], poison };
}
