/**
 * Group commit: while a batch is being written the next items gather, and go together. A lone item waits for nobody; under
 * load a transaction is shared by as many as came in the meantime.
 */

import { isDatabaseUnavailable } from '../../db/pool.ts';

/** Items per transaction: enough to share its cost, few enough to keep it short for the readers of the change log. */
const MAX_BATCH = 128;
/** One batch is decoded and sent while another waits for its commit. */
const MAX_IN_FLIGHT = 2;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly settle: (result: Result) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * @param write writes a batch durably, all of it or nothing, and answers one result per item, in order. An item whose
 * batch cannot be written is tried with fewer others, in the end alone; then it fails with the error of `write`
 * @returns submits one item; resolves when its batch is durable
 */
export function createBatcher<Item, Result>(
  write: (batch: readonly Item[]) => Promise<readonly Result[]>,
): (item: Item) => Promise<Result> {
  const waiting: Waiting<Item, Result>[] = [];
  let inFlight = 0;

  function pump(): void {
    while (inFlight < MAX_IN_FLIGHT && waiting.length > 0) {
      inFlight++;
      const batch = waiting.splice(0, MAX_BATCH);
      void settle(batch).finally(() => {
        inFlight--;
        pump();
      });
    }
  }

  async function settle(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    let results: readonly Result[];
    try {
      results = await write(batch.map(({ item }) => item));
    } catch (error) {
      if (batch.length === 1 || isDatabaseUnavailable(error)) {
        for (const { fail } of batch) fail(error);
        return;
      }
      // One of them spoils it, and nothing was written: halve until it is alone, so that its neighbours go on (I8).
      const half = Math.ceil(batch.length / 2);
      await settle(batch.slice(0, half));
      await settle(batch.slice(half));
      return;
    }
    for (const [index, { settle }] of batch.entries()) settle(results[index]!);
  }

  return item =>
    new Promise((resolve, reject) => {
      waiting.push({ item, settle: resolve, fail: reject });
      pump();
    });
}
