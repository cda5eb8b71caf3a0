import type { Logger } from 'pino';
import type { AnyDefinition } from './decision.ts';
import type { RuntimeLimits } from './limits.ts';
import type { RuntimeMetrics } from './metrics.ts';

/** Carries out the effects of one kind after their commit. */
export interface Effects {
  order(key: string, effects: readonly unknown[]): void;
  /** Tells those under way to end, starts no more, and waits for them at most so long. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Effects of one actor run one after the other in the order of their commits, those of different actors side by side.
 * They are remembered only here: if this process dies, the `wakeAt` of the state that ordered them orders them again.
 */
export function createEffects(options: {
  definition: AnyDefinition;
  limits: RuntimeLimits;
  metrics: RuntimeMetrics;
  log: Logger;
  /** Delivers the answer of an effect as mail to its actor. */
  answer(key: string, message: object): Promise<void>;
}): Effects {
  const { definition, limits, metrics, log, answer } = options;
  const { kind } = definition;
  const ordered = new Map<string, unknown[]>();
  const ready: string[] = [];
  const stopping = new AbortController();
  let running = 0;
  let idle: (() => void) | undefined;

  async function perform(key: string, effect: unknown): Promise<void> {
    const timeout = new AbortController();
    const timer = setTimeout(
      () => timeout.abort(new Error(`gave up after ${limits.effectTimeoutMs} ms`)),
      limits.effectTimeoutMs,
    );
    const signal = AbortSignal.any([stopping.signal, timeout.signal]);
    try {
      const message = await orAborted(definition.perform!(key, effect, signal), signal);
      if (message !== undefined) await answer(key, message);
      metrics.effects.inc({ kind, outcome: 'done' });
    } catch (error) {
      metrics.effects.inc({ kind, outcome: 'failed' });
      if (!stopping.signal.aborted)
        log.warn({ err: error, kind, key, effect }, 'an effect failed; its actor orders it again');
    } finally {
      clearTimeout(timer);
    }
  }

  async function work(key: string): Promise<void> {
    const queue = ordered.get(key)!;
    while (queue.length > 0 && !stopping.signal.aborted) await perform(key, queue.shift());
    ordered.delete(key);
  }

  function next(): void {
    while (running < limits.effectsPerKind && ready.length > 0 && !stopping.signal.aborted) {
      running += 1;
      work(ready.shift()!).finally(() => {
        running -= 1;
        if (running === 0) idle?.();
        next();
      });
    }
  }

  return {
    order(key, effects) {
      const queue = ordered.get(key);
      if (queue) queue.push(...effects);
      else {
        ordered.set(key, [...effects]);
        ready.push(key);
        next();
      }
    },
    async stop(graceMs) {
      stopping.abort(new Error('the node is stopping'));
      if (running === 0) return;
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, graceMs);
        idle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    },
  };
}

/** The promise, or a rejection as soon as the signal aborts: an effect that ignores its signal must not hold its place. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
