import type { Logger } from 'pino';
import type { Registry as MetricsRegistry } from 'prom-client';
import type { Database } from '../../db/pool.ts';
import type { Sql } from '../../db/sql.ts';
import type { WakeConsumer, WakeQueues } from '../../queues/store.ts';
import type { Address, Change, Letter } from './actor.ts';
import type { Clock } from './clock.ts';
import type { AnyDefinition } from './decision.ts';
import { createKindRuntime, type KindRuntime } from './kind.ts';
import { defaultLimits, type RuntimeLimits } from './limits.ts';
import type { Mail, Outbox } from './mail.ts';
import { settle } from './mailbox.ts';
import { createRuntimeMetrics } from './metrics.ts';
import { createParkedActors, type ParkedActors } from './parked.ts';
import { createPauses } from './pauses.ts';
import { createRings } from './rings.ts';
import { createSweeper } from './sweeper.ts';

/** One node's share of the actors: the kinds registered here run here; mail may be sent to any kind. */
export interface ActorSystem extends Mail {
  /** Adds a kind; only before {@link start}. */
  register(definition: AnyDefinition): void;
  /** Starts taking wakes, timers and the sweeper. A node without kinds (a gateway) starts nothing but can send mail. */
  start(): void;
  /**
   * Takes no more wakes, lets the drains and effects under way end for at most so long, then stops. What is left undone
   * is in Postgres and other nodes, or this one after its restart, go on with it.
   */
  stop(options: { graceMs: number }): Promise<void>;
  readonly parked: ParkedActors;
}

export interface ActorSystemOptions {
  readonly database: Database;
  readonly wakes: WakeQueues;
  readonly definitions?: readonly AnyDefinition[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: MetricsRegistry;
  readonly limits?: Partial<RuntimeLimits>;
  /** Is told after each commit that wrote to the change log: a ChangeTail. */
  readonly changes?: { poke(): void };
}

export function createActorSystem(options: ActorSystemOptions): ActorSystem {
  const { database, wakes, clock, log, changes } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const metrics = createRuntimeMetrics(options.metrics);
  const pauses = createPauses();
  const kinds = new Map<string, KindRuntime>();
  const consumers: WakeConsumer[] = [];
  let state: 'new' | 'started' | 'stopped' = 'new';
  let housekeeping: NodeJS.Timeout | undefined;

  const rings = createRings({
    wakes,
    log,
    metrics,
    undelivered: ({ kind, key }) => kinds.get(kind)?.registry.wake(key),
  });

  /** Wakes somebody after a commit: by itself if it is about to read its mail on this node, else by the doorbell. */
  function ring(address: Address): void {
    if (kinds.get(address.kind)?.registry.isAboutToRead(address.key)) return;
    rings.ring(address);
  }

  const parked = createParkedActors(database, address => {
    kinds.get(address.kind)?.forgive(address.key);
    rings.ring(address);
  });

  const system: ActorSystem = {
    parked,
    register(definition) {
      if (state !== 'new') throw new Error(`kind ${definition.kind} is registered after the start`);
      if (kinds.has(definition.kind)) throw new Error(`kind ${definition.kind} is registered twice`);
      const kind = createKindRuntime({
        ...{ database, definition, clock, limits, metrics, pauses },
        log: log.child({ kind: definition.kind }),
        ring,
        told: () => changes?.poke(),
      });
      kinds.set(definition.kind, kind);
    },
    start() {
      if (state !== 'new') throw new Error('an actor system is started once');
      state = 'started';
      if (kinds.size === 0) return;
      for (const [kind, { registry }] of kinds) {
        const handle = (key: string) => new Promise<void>(done => registry.wake(key, { done }));
        consumers.push(wakes.consume(kind, limits.wakesPerKind, handle));
      }
      createSweeper({
        ...{ database, clock, limits, log, metrics, pauses, ring },
        definitions: [...kinds.values()].map(kind => kind.definition),
        wake: ({ kind, key }) => kinds.get(kind)?.registry.wake(key),
      }).start();
      housekeeping = setInterval(() => {
        for (const [kind, { registry, timers }] of kinds) {
          registry.passivateIdle();
          metrics.live.set({ kind }, registry.size);
          metrics.timers.set({ kind }, timers.size);
        }
      }, limits.idleMs / 4);
    },
    async stop({ graceMs }) {
      if (state === 'stopped') return;
      state = 'stopped';
      clearInterval(housekeeping);
      pauses.end();
      for (const kind of kinds.values()) kind.timers.stop();
      const deadline = performance.now() + graceMs;
      const left = () => Math.max(0, deadline - performance.now());
      const closing = Promise.all(consumers.map(consumer => consumer.close()));
      await within(left(), Promise.all([closing, ...[...kinds.values()].map(kind => kind.registry.rest())]));
      await Promise.all([...kinds.values()].map(kind => kind.effects.stop(left())));
      // Settles the wakes that outlived the grace, so that their consumers can close.
      for (const kind of kinds.values()) kind.registry.stop();
      await within(left(), rings.flush());
      await closing;
    },
    async commit<T>(write: (tx: Sql, outbox: Outbox) => Promise<T>): Promise<T> {
      const letters: Letter[] = [];
      const told: Change[] = [];
      const woken: Address[] = [];
      const outbox: Outbox = {
        letter: letter => void letters.push(letter),
        change: change => void told.push(change),
        wake: address => void woken.push(address),
      };
      const answer = await database.transaction(async tx => {
        const result = await write(tx, outbox);
        // Not awaited: it shares its round trip with the commit, which fails when it does.
        if (letters.length + told.length > 0) void settle(tx, [], letters, told);
        return result;
      });
      for (const { to } of letters) ring(to);
      for (const address of woken) ring(address);
      if (told.length > 0) changes?.poke();
      return answer;
    },
  };
  for (const definition of options.definitions ?? []) system.register(definition);
  return system;
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>(resolve => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
