import type { Wake, WakeConsumer, WakeQueues } from '../../queues/store.ts';

/**
 * Doorbells inside this process, for specs that are not about the queue store. Several systems may consume a kind; they
 * take turns. `broken` makes every ring fail, `deaf` makes every ring get lost.
 */
export interface LocalWakes extends WakeQueues {
  broken: boolean;
  deaf: boolean;
  rung: Wake[];
}

export function localWakes(): LocalWakes {
  const consumers = new Map<string, ((key: string) => Promise<void>)[]>();
  const active = new Set<Promise<void>>();
  let turn = 0;
  return {
    broken: false,
    deaf: false,
    rung: [],
    async ring(wakes) {
      if (this.broken) throw new Error('the queue store of this spec is down');
      this.rung.push(...wakes);
      if (this.deaf) return;
      for (const { kind, key } of wakes) {
        const handlers = consumers.get(kind) ?? [];
        const handler = handlers[turn++ % Math.max(handlers.length, 1)];
        if (!handler) continue;
        const job = handler(key).finally(() => active.delete(job));
        active.add(job);
      }
    },
    consume(kind, _concurrency, handle): WakeConsumer {
      const handlers = consumers.get(kind) ?? [];
      consumers.set(kind, [...handlers, handle]);
      return {
        async close() {
          consumers.set(
            kind,
            (consumers.get(kind) ?? []).filter(other => other !== handle),
          );
          await Promise.all(active);
        },
      };
    },
  };
}
