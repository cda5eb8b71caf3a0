import type { Queue } from 'bullmq';
import type { Logger } from 'pino';
import { openPostgresBackend } from './postgres-backend.ts';
import { openRedisBackend } from './redis-backend.ts';
import { createWakes } from './wake.ts';

/** Who is to be woken: structurally an actor's address. */
export interface Wake {
  readonly kind: string;
  readonly key: string;
}

/** The doorbells of all actors: says on some node that an actor has something to do. It may forget; Postgres does not. */
export interface WakeQueues {
  /**
   * Rings for these actors. An actor that is already waiting to be woken is not queued twice; one that is being handled
   * is queued once more.
   * @throws QueueStoreUnavailable when the store did not take all of them (some may have been taken)
   */
  ring(wakes: readonly Wake[]): Promise<void>;
  /** Starts taking the wakes of one kind, at most `concurrency` at once; `handle` resolves when the wake is dealt with. */
  consume(kind: string, concurrency: number, handle: (key: string) => Promise<void>): WakeConsumer;
}

export interface WakeConsumer {
  /** Takes no more wakes and waits for those being handled. */
  close(): Promise<void>;
}

/** The queue store cannot be reached or answers too late. Nothing is lost but time: see actors/runtime/sweeper.ts. */
export class QueueStoreUnavailable extends Error {
  override readonly name = 'QueueStoreUnavailable';
}

/** The doorbells on BullMQ, on Redis or on Postgres. */
export interface QueueStore extends WakeQueues {
  /** The queues of these kinds, for the board. */
  queues(kinds: readonly string[]): Queue[];
  /** Asks the store whether it is there. Never rejects. */
  health(): Promise<{ readonly ok: boolean; readonly detail: string }>;
  /** Closes all queues and connections; consumers are to be closed first. */
  close(): Promise<void>;
}

export type QueueStoreOptions = { readonly log: Logger } & (
  | {
      readonly kind: 'redis';
      /** `redis://[user:password@]host:port[/database]` or `rediss://…` */
      readonly url: string;
    }
  | {
      readonly kind: 'redis';
      /** Path of a Unix socket. */
      readonly socketPath: string;
    }
  | {
      readonly kind: 'postgres';
      /** `postgres://…`; the tables live in a schema of their own, `bullmq`. */
      readonly url: string;
    }
);

/**
 * Opens the queue store. With Redis nothing is awaited: it may come up later. With Postgres the schema of BullMQ is
 * created or brought up to date first, safely beside other nodes.
 * @throws the driver's error when Postgres cannot be reached
 */
export async function openQueueStore(options: QueueStoreOptions): Promise<QueueStore> {
  const backend = options.kind === 'redis' ? openRedisBackend(options) : await openPostgresBackend(options);
  return createWakes(backend, options.log);
}
