import type { Logger } from 'pino';
import type { Database } from '../../db/pool.ts';
import type { Address } from './actor.ts';
import { createAnswers } from './answers.ts';
import type { Clock } from './clock.ts';
import type { AnyDefinition } from './decision.ts';
import { createDrain } from './drain.ts';
import { createEffects, type Effects } from './effects.ts';
import type { RuntimeLimits } from './limits.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { park } from './parked.ts';
import type { Pauses } from './pauses.ts';
import { createRegistry, type Registry } from './registry.ts';
import { createSupervision } from './supervision.ts';
import { createTimers, type Timers } from './timers.ts';

/** Everything one node has for one kind of actor. */
export interface KindRuntime {
  readonly definition: AnyDefinition;
  readonly registry: Registry;
  readonly timers: Timers;
  readonly effects: Effects;
  /** Forgets the failures of an actor that was put back into service. */
  forgive(key: string): void;
}

export interface KindOptions {
  readonly database: Database;
  readonly definition: AnyDefinition;
  readonly clock: Clock;
  readonly limits: RuntimeLimits;
  readonly metrics: RuntimeMetrics;
  readonly pauses: Pauses;
  readonly log: Logger;
  ring(address: Address): void;
  /** The change log got longer. */
  told(): void;
}

/** An actor whose `wakeAt` has passed and that did nothing about it is woken again, but not in a busy loop. */
const IDLE_WAKE_MS = 1_000;
const COMPLAIN_EVERY_MS = 10_000;

export function createKindRuntime(options: KindOptions): KindRuntime {
  const { database, definition, clock, limits, metrics, pauses, log, ring, told } = options;
  const { kind } = definition;
  const supervision = createSupervision(clock, limits);
  let complainedAt = Number.NEGATIVE_INFINITY;

  const answers = createAnswers(database);
  const effects = createEffects({
    ...{ definition, limits, metrics, log },
    async answer(key, body) {
      await answers.send({ to: { kind, key }, body });
      registry.wake(key);
    },
  });

  const drain = createDrain({
    ...{ database, definition, clock, limits, metrics, log },
    committed(what) {
      for (const letter of what.letters) ring(letter.to);
      for (const { key, effects: ordered } of what.effects) effects.order(key, ordered);
      if (what.changes.length > 0) told();
    },
    complain(error) {
      if (performance.now() - complainedAt < COMPLAIN_EVERY_MS) return;
      complainedAt = performance.now();
      log.warn({ reason: error.message }, 'drains wait for Postgres');
    },
  });

  const registry = createRegistry({
    ...{ kind, drain, limits, pauses, log },
    async failed(key, failure) {
      metrics.failures.inc({ kind });
      const verdict = supervision.failed(key);
      const error = failure.cause instanceof Error ? failure.cause : failure;
      if (verdict.do === 'restart') {
        log.warn({ err: error, key, letter: failure.letter, restartInMs: verdict.inMs }, 'an actor failed');
        return verdict.inMs;
      }
      await park(database, { kind, key }, { error, letter: failure.letter, failures: verdict.failures });
      metrics.parkings.inc({ kind });
      timers.set(key, null);
      log.error({ err: error, key, letter: failure.letter, failures: verdict.failures }, 'an actor was parked');
      return null;
    },
    asleep(key, { wakeAt, changed }, byTimer) {
      if (wakeAt === null) return timers.set(key, null);
      const now = clock.now();
      if (changed || wakeAt > now) {
        // Another node has changed it since this timer was set, and has the timer now.
        if (byTimer && !changed) timers.set(key, null);
        else timers.set(key, wakeAt);
      } else {
        timers.set(key, new Date(now.getTime() + IDLE_WAKE_MS));
      }
    },
    gone: key => timers.set(key, null),
  });

  const timers = createTimers({
    clock,
    horizonMs: limits.timerHorizonMs,
    capacity: limits.timersPerKind,
    fire: key => registry.wake(key, { byTimer: true }),
  });

  return { definition, registry, timers, effects, forgive: key => supervision.forgive(key) };
}
