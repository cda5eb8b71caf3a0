import type { Queue } from 'bullmq';
import type { Logger } from 'pino';
import type { QueueBackend } from './backend.ts';
import { wakeQueueName } from './names.ts';
import { type QueueStore, QueueStoreUnavailable, type Wake } from './store.ts';

/** How long a batch of rings may take before it counts as lost. */
const RING_TIMEOUT_MS = 5_000;
/** Another node may take over a wake so long after its node died … */
const LOCK_MS = 10_000;
/** … and looks for such wakes so often. */
const STALL_CHECK_MS = 5_000;
/** No limit, in effect; the Postgres backend stores it as a four-byte integer. */
const MAX_TAKEOVERS = 2 ** 31 - 1;
const CLOSE_TIMEOUT_MS = 5_000;
const COMPLAIN_EVERY_MS = 10_000;

/**
 * Doorbells as BullMQ jobs: queue per kind, job data `{key}`, deduplicated by key so that at most one wake per key is
 * active and one waits, on all nodes together (libraries.md §5, pattern E). Jobs are removed when done; a wake whose
 * node died is taken over any number of times, because handling one twice is harmless.
 */
export function createWakes(backend: QueueBackend, log: Logger): QueueStore {
  const queues = new Map<string, Queue>();
  const complain = atMostEvery(COMPLAIN_EVERY_MS, (error: Error) =>
    log.warn({ err: error, store: backend.kind }, 'the queue store reported an error'),
  );

  function queueOf(kind: string): Queue {
    let queue = queues.get(kind);
    if (queue === undefined) {
      queue = backend.openQueue(wakeQueueName(kind));
      queue.on('error', complain);
      queues.set(kind, queue);
    }
    return queue;
  }

  const store: QueueStore = {
    async ring(wakes) {
      if (!backend.isReachable()) throw new QueueStoreUnavailable(`the queue store (${backend.kind}) is not connected`);
      const byKind = Map.groupBy(wakes, wake => wake.kind);
      const adding = [...byKind].map(([kind, group]) => queueOf(kind).addBulk(group.map(jobOf)));
      try {
        await within(RING_TIMEOUT_MS, Promise.all(adding));
      } catch (error) {
        throw new QueueStoreUnavailable(
          `the queue store (${backend.kind}) took no wakes: ${(error as Error).message}`,
          {
            cause: error,
          },
        );
      }
    },

    consume(kind, concurrency, handle) {
      const worker = backend.openWorker(wakeQueueName(kind), handle, {
        concurrency,
        lockDuration: LOCK_MS,
        stalledInterval: STALL_CHECK_MS,
        maxStalledCount: MAX_TAKEOVERS,
        runRetryDelay: 1_000,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 1_000 },
      });
      worker.on('error', complain);
      worker.on('failed', (job, error) =>
        complain(new Error(`wake of ${kind} ${job?.data.key} failed`, { cause: error })),
      );
      return {
        async close() {
          // A store that is gone cannot confirm anything; the wakes in hand are then found by the sweeper.
          await within(CLOSE_TIMEOUT_MS, worker.close(!backend.isReachable())).catch(complain);
        },
      };
    },

    queues: kinds => kinds.map(queueOf),

    async health() {
      try {
        return { ok: true, detail: await within(1_000, backend.ping()) };
      } catch (error) {
        return { ok: false, detail: (error as Error).message };
      }
    },

    async close() {
      const closing = [...queues.values()].map(queue => queue.close());
      await within(CLOSE_TIMEOUT_MS, Promise.allSettled(closing)).catch(complain);
      await within(CLOSE_TIMEOUT_MS, backend.close()).catch(complain);
    },
  };
  return store;
}

const jobOf = ({ key }: Wake) => ({
  name: 'wake',
  data: { key },
  opts: { deduplication: { id: key, keepLastIfActive: true }, removeOnComplete: true, removeOnFail: 1_000 },
});

/** @throws Error when `work` takes longer than `ms`. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function atMostEvery<T>(ms: number, report: (value: T) => void): (value: T) => void {
  let last = Number.NEGATIVE_INFINITY;
  return value => {
    if (performance.now() - last < ms) return;
    last = performance.now();
    report(value);
  };
}
