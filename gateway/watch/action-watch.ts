import type { ChangeFeed } from './change-feed.ts';
import { Doorbell } from './doorbell.ts';

/**
 * Follows one action: yields once at the beginning and again whenever it may have changed, until the signal fires. Whoever reads the
 * action after each yield sees every final state: what changes while it reads rings again.
 */
export async function* watchAction(
  changes: ChangeFeed,
  runId: number,
  action: string,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const bell = new Doorbell();
  const unsubscribe = changes.subscribe(String(runId), changed => {
    if (changed.length === 0 || changed.some(({ subject }) => subject === action)) bell.ring();
  });
  try {
    if (signal.aborted) return;
    yield;
    while (await bell.wait(signal)) yield;
  } finally {
    unsubscribe();
  }
}
