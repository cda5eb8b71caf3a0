/**
 * Calls `work` for every item, at most `limit` at a time, taking items from the source only when there is room (so a long listing
 * is never held in memory). The first failure stops the taking, waits for what is running, and is thrown; the failures of
 * those still running are not told.
 *
 * @returns how many items were worked on.
 */
export const forEachBounded = async <T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<number> => {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  let count = 0;
  try {
    for await (const item of items) {
      if (failures.length > 0) break;
      count += 1;
      const task = work(item)
        .catch(thrown => void failures.push(thrown))
        .finally(() => running.delete(task));
      running.add(task);
      if (running.size >= limit) await Promise.race(running);
    }
  } finally {
    await Promise.all(running);
  }
  if (failures.length > 0) throw failures[0];
  return count;
};
