import { setTimeout as delay } from 'node:timers/promises';
import { isDatabaseUnavailable } from '../../db/pool.ts';

const PATIENCE_MS = 60_000;
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 1_000;

/**
 * A read of a stream: it is repeated while the database is away, up to a minute. A client that is told `unavailable` gives up after
 * about 15 s of trying (sdk.md §1.6), one whose stream is only quiet does not.
 * @throws whatever `read` throws when the minute is over, the signal fired, or it is another error
 */
export async function patiently<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const since = performance.now();
  for (let pauseMs = PAUSE_MIN_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)) {
    try {
      return await read();
    } catch (error) {
      if (!isDatabaseUnavailable(error) || signal.aborted || performance.now() - since > PATIENCE_MS) throw error;
    }
    await delay(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}
