import type { Queue, Worker, WorkerOptions } from 'bullmq';

/** What a WakeQueues needs of the store below BullMQ. */
export interface QueueBackend {
  readonly kind: 'redis' | 'postgres';
  openQueue(name: string): Queue;
  openWorker(name: string, handle: (key: string) => Promise<void>, options: Omit<WorkerOptions, 'connection'>): Worker;
  /** False when it is known that the store cannot be reached now: a ring then fails at once. */
  isReachable(): boolean;
  /** One round trip. @throws when the store does not answer */
  ping(): Promise<string>;
  close(): Promise<void>;
}

/** The data of a wake job: never more than the key; the message itself is a row. */
export interface WakeData {
  readonly key: string;
}
