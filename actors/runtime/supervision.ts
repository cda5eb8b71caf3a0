import type { Clock } from './clock.ts';

/** What to do with an actor whose decision failed. */
export type Verdict =
  | { readonly do: 'restart'; readonly inMs: number }
  | { readonly do: 'park'; readonly failures: number };

export interface Supervision {
  /** Counts a failure of the actor itself. */
  failed(actor: string): Verdict;
  /** Forgets its failures: it was parked, replayed or dropped. */
  forgive(actor: string): void;
}

export interface RestartIntensity {
  readonly failures: number;
  readonly failureWindowMs: number;
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
}

/**
 * Restart intensity, after Erlang: an actor that fails `failures` times within the window is parked, before that it is
 * restarted after a back-off that doubles. Each node counts for itself, so on n nodes it takes up to n times as many.
 * Memory: only actors that failed within the window are known.
 */
export function createSupervision(clock: Clock, limits: RestartIntensity): Supervision {
  const failures = new Map<string, number[]>();

  function forgetOld(now: number): void {
    for (const [actor, times] of failures) {
      // Oldest first failure first: Map keeps insertion order and every failure re-inserts its actor.
      if (now - times.at(-1)! < limits.failureWindowMs) break;
      failures.delete(actor);
    }
  }

  return {
    failed(actor) {
      const now = clock.now().getTime();
      const recent = (failures.get(actor) ?? []).filter(time => now - time < limits.failureWindowMs);
      recent.push(now);
      failures.delete(actor);
      forgetOld(now);
      if (recent.length >= limits.failures) return { do: 'park', failures: recent.length };
      failures.set(actor, recent);
      return { do: 'restart', inMs: backOffMs(recent.length, limits) };
    },
    forgive(actor) {
      failures.delete(actor);
    },
  };
}

/** The pause before the n-th try (from 1): doubles from the shortest to the longest. */
export function backOffMs(n: number, limits: { restartMinMs: number; restartMaxMs: number }): number {
  return Math.min(limits.restartMinMs * 2 ** (n - 1), limits.restartMaxMs);
}
