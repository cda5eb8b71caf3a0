import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { QueueBackend, WakeData } from './backend.ts';
import { KEY_PREFIX } from './names.ts';

/** Reconnect soon and for ever: a Redis that comes back is in use again within a second. */
const retryStrategy = (times: number): number => Math.min(50 * 2 ** Math.min(times, 10), 1_000);

/** How long one command of a producer may take before the ring counts as lost. */
const COMMAND_TIMEOUT_MS = 3_000;

interface Extra {
  readonly connectionName: string;
  readonly maxRetriesPerRequest: number | null;
  readonly enableOfflineQueue?: boolean;
  readonly commandTimeout?: number;
}

/**
 * Two connections for all queues and workers of a node, and a blocking one per worker. The producer's fails fast (no
 * offline queue, no retries), because a ring that waits for Redis would hold back all others; the workers' waits.
 */
export function openRedisBackend(
  options: { readonly log: Logger } & ({ readonly url: string } | { readonly socketPath: string }),
): QueueBackend {
  const connect = (extra: Extra): Redis => {
    const common = { retryStrategy, ...extra };
    return 'url' in options ? new Redis(options.url, common) : new Redis({ path: options.socketPath, ...common });
  };
  const producer = connect({
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectionName: 'starling-rings',
  });
  let consumer: Redis | undefined;
  watch(producer, options.log);

  return {
    kind: 'redis',
    openQueue: name =>
      new Queue(name, {
        connection: producer,
        prefix: KEY_PREFIX,
        // Kept by BullMQ for its own event listeners, of which there are none.
        streams: { events: { maxLen: 100 } },
      }),
    openWorker(name, handle, workerOptions) {
      if (consumer === undefined) {
        consumer = connect({ maxRetriesPerRequest: null, connectionName: 'starling-wakes' });
        // Each worker adds listeners of its own.
        consumer.setMaxListeners(0);
      }
      return new Worker<WakeData>(name, job => handle(job.data.key), {
        ...workerOptions,
        connection: consumer,
        prefix: KEY_PREFIX,
      });
    },
    isReachable: () => producer.status === 'ready',
    async ping() {
      if (producer.status !== 'ready') throw new Error(`the connection to Redis is ${producer.status}`);
      return `Redis answered ${await producer.ping()}`;
    },
    async close() {
      producer.disconnect();
      consumer?.disconnect();
    },
  };
}

/** One line when the connection is lost and one when it is back, instead of one per attempt. */
function watch(redis: Redis, log: Logger): void {
  let lost = false;
  redis.setMaxListeners(0);
  redis.on('error', error => {
    if (!lost) log.warn({ err: error }, 'the connection to Redis was lost; work goes on, more slowly');
    lost = true;
  });
  redis.on('ready', () => {
    if (lost) log.info('Redis is back');
    lost = false;
  });
}
