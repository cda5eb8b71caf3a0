/**
 * Stop requests. One Ctrl-C arrives up to three times: from the terminal, from npm and from launch.mjs, all within moments. So
 * what follows within a second belongs to the first; a later one means that somebody lost patience.
 */
const ONE_REQUEST_MS = 1_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What of `process` is needed here. */
export interface SignalSource {
  on(event: string, listener: () => void): unknown;
}

/**
 * Calls `stop` for the first request and `leave` for a second one that is meant as such.
 * The loss of launch.mjs (kill -9) counts as a request: nobody would be left to stop us.
 */
export function onStopRequest(
  source: SignalSource,
  now: () => number,
  stop: (why: string) => void,
  leave: () => void,
): void {
  let firstAt: number | undefined;
  for (const signal of SIGNALS) {
    source.on(signal, () => {
      if (firstAt === undefined) {
        firstAt = now();
        stop(signal);
      } else if (now() - firstAt > ONE_REQUEST_MS) leave();
    });
  }
  source.on('disconnect', () => {
    if (firstAt !== undefined) return;
    firstAt = now();
    stop('the launcher is gone');
  });
}
