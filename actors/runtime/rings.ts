import type { Logger } from 'pino';
import type { WakeQueues } from '../../queues/store.ts';
import type { Address } from './actor.ts';
import type { RuntimeMetrics } from './metrics.ts';

/** Rings doorbells: tells the queue store which actors have something to do. */
export interface Rings {
  /** Returns at once; the ring leaves with all others of the moment. */
  ring(address: Address): void;
  /** Waits until all rings so far have left (or failed). */
  flush(): Promise<void>;
}

const RINGS_AT_ONCE = 1_000;
const COMPLAIN_EVERY_MS = 10_000;

/**
 * Gathers rings while the previous batch is on its way. A ring that cannot be delivered goes to `undelivered`, which
 * wakes the actor on this node if it can; otherwise the sweeper of some node finds its mail. Nothing is kept here.
 */
export function createRings(options: {
  wakes: WakeQueues;
  log: Logger;
  metrics: RuntimeMetrics;
  undelivered(address: Address): void;
}): Rings {
  const { wakes, log, metrics, undelivered } = options;
  let gathered = new Map<string, Address>();
  let sending: Promise<void> | undefined;
  let complainedAt = Number.NEGATIVE_INFINITY;

  async function send(): Promise<void> {
    // One turn of the event loop, so that all rings of a commit leave together.
    await new Promise(resolve => setImmediate(resolve));
    while (gathered.size > 0) {
      const all = [...gathered.values()];
      gathered = new Map();
      for (let i = 0; i < all.length; i += RINGS_AT_ONCE) await deliver(all.slice(i, i + RINGS_AT_ONCE));
    }
    sending = undefined;
  }

  async function deliver(addresses: readonly Address[]): Promise<void> {
    for (const { kind } of addresses) metrics.rings.inc({ kind });
    try {
      await wakes.ring(addresses);
    } catch (error) {
      metrics.lostRings.inc(addresses.length);
      if (performance.now() - complainedAt > COMPLAIN_EVERY_MS) {
        complainedAt = performance.now();
        log.warn(
          { err: error, rings: addresses.length },
          'the queue store takes no wakes: waking on this node instead',
        );
      }
      for (const address of addresses) undelivered(address);
    }
  }

  return {
    ring(address) {
      gathered.set(`${address.kind} ${address.key}`, address);
      sending ??= send();
    },
    flush: async () => {
      while (sending) await sending;
    },
  };
}
