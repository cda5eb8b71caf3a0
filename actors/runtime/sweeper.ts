import type { Logger } from 'pino';
import type { Database } from '../../db/pool.ts';
import type { Address } from './actor.ts';
import type { Clock } from './clock.ts';
import type { AnyDefinition } from './decision.ts';
import type { RuntimeLimits } from './limits.ts';
import { overdueMail } from './mailbox.ts';
import type { RuntimeMetrics } from './metrics.ts';
import type { Pauses } from './pauses.ts';

/**
 * Finds actors that should be at work and are not: their doorbell was lost with the queue store, a node or a timer.
 * Every node sweeps its own kinds, at its own moments; finding the same actor twice costs a wake, no more.
 * What is merely overdue is rung for, so that nodes share it; what has waited for too long is drained here, because a
 * queue store may keep swallowing the wakes of a key (a deduplication mark that outlived its job).
 */
export function createSweeper(options: {
  database: Database;
  definitions: readonly AnyDefinition[];
  clock: Clock;
  limits: RuntimeLimits;
  log: Logger;
  metrics: RuntimeMetrics;
  pauses: Pauses;
  ring(address: Address): void;
  wake(address: Address): void;
}): { start(): void; sweep(): Promise<number> } {
  const { database, definitions, clock, limits, log, metrics, pauses, ring, wake } = options;
  const kinds = definitions.map(definition => definition.kind);

  /** One look; returns how many were found. */
  async function sweep(): Promise<number> {
    const now = clock.now().getTime();
    const overdue = new Date(now - limits.overdueMs);
    const abandoned = new Date(now - limits.abandonedMs);
    let found = 0;
    const rouse = (address: Address, isAbandoned: boolean) => {
      found += 1;
      metrics.swept.inc({ kind: address.kind });
      (isAbandoned ? wake : ring)(address);
    };
    for (const { kind, key, since } of await overdueMail(database.sql, kinds, overdue, 2 * limits.keysPerSweep)) {
      rouse({ kind, key }, since < abandoned);
    }
    for (const definition of definitions) {
      const { kind } = definition;
      const due = await definition.due(database.sql, overdue, limits.keysPerSweep);
      if (due.length === 0) continue;
      const late = new Set(await definition.due(database.sql, abandoned, limits.keysPerSweep));
      for (const key of due) rouse({ kind, key }, late.has(key));
    }
    return found;
  }

  async function run(): Promise<void> {
    // The first look is soon: after a restart everything that was due meanwhile waits for it.
    let waitMs = limits.sweepEveryMs / 10;
    while (await pauses.pause(waitMs)) {
      waitMs = limits.sweepEveryMs * (0.75 + Math.random() / 2);
      try {
        const found = await sweep();
        if (found > 0) log.info({ found }, 'overdue actors were woken');
      } catch (error) {
        log.warn({ err: error }, 'a sweep failed and is repeated');
      }
    }
  }

  return { start: () => void run(), sweep };
}
