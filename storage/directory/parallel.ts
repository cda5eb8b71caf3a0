/** Flushes of different directories share one journal commit when they run together, so this many deletions do. */
const PARALLEL = 16;

/** Works through the items, a few at a time; the first failure ends it. */
export async function inParallel<T>(
  items: AsyncIterable<T> | Iterable<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const pending = new Set<Promise<void>>();
  for await (const item of items) {
    const one = work(item).finally(() => pending.delete(one));
    one.catch(() => {});
    pending.add(one);
    if (pending.size >= PARALLEL) await Promise.race(pending);
  }
  await Promise.all(pending);
}
