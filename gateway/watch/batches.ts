import { setImmediate as turn } from 'node:timers/promises';

/**
 * Gathers what a source has ready into lists of at most `size`, and yields an empty list after each `quietMs` without anything. Ends
 * with its source, or when the signal fires; then the source must be ended by whoever made it.
 */
export async function* batches<T>(
  source: AsyncIterable<T>,
  options: { readonly size: number; readonly quietMs: number; readonly signal: AbortSignal },
): AsyncGenerator<readonly T[]> {
  const iterator = source[Symbol.asyncIterator]();
  let next = pull(iterator);
  while (!options.signal.aborted) {
    const first = await withinQuiet(next, options.quietMs, options.signal);
    if (first === 'quiet') {
      if (!options.signal.aborted) yield [];
      continue;
    }
    const batch: T[] = [];
    const endOfTurn = turn('later' as const);
    let result: IteratorResult<T> | 'later' = first;
    while (result !== 'later' && !result.done) {
      batch.push(result.value);
      next = pull(iterator);
      if (batch.length === options.size) break;
      // A failure comes after what was there before it: the next wait throws it.
      result = await Promise.race([next, endOfTurn]).catch(() => 'later' as const);
    }
    if (batch.length > 0) yield batch;
    if (result !== 'later' && result.done) return;
  }
}

/** A failure is seen by whoever waits next; nobody may be waiting any more. */
function pull<T>(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
  const next = iterator.next();
  next.catch(() => undefined);
  return next;
}

async function withinQuiet<T>(next: Promise<T>, quietMs: number, signal: AbortSignal): Promise<T | 'quiet'> {
  let stop: () => void = () => undefined;
  const quiet = new Promise<'quiet'>(resolve => {
    const timer = setTimeout(resolve, quietMs, 'quiet');
    const abort = () => resolve('quiet');
    signal.addEventListener('abort', abort, { once: true });
    stop = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
  });
  try {
    return await Promise.race([next, quiet]);
  } finally {
    stop();
  }
}
