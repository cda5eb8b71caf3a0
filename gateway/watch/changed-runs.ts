import { ROOT_ACTION } from '../identifiers.ts';
import type { ChangeFeed } from './change-feed.ts';
import { Doorbell } from './doorbell.ts';

/** Which runs have been made or have changed at their root since somebody last asked. */
export class ChangedRuns {
  readonly #bell = new Doorbell();
  readonly #unsubscribe: () => void;
  #ids = new Set<number>();

  /** Subscribes at once: read what there is after this, then {@link next} for ever. */
  constructor(changes: ChangeFeed) {
    this.#unsubscribe = changes.subscribe('*', ({ topic, subject }) => {
      if (subject !== ROOT_ACTION) return;
      const id = Number(topic);
      if (!Number.isSafeInteger(id)) return;
      this.#ids.add(id);
      this.#bell.ring();
    });
  }

  /** Ids of the runs, in no order; null when the signal fired. */
  async next(signal: AbortSignal): Promise<readonly number[] | null> {
    if (!(await this.#bell.wait(signal))) return null;
    const ids = [...this.#ids];
    this.#ids = new Set();
    return ids;
  }

  close(): void {
    this.#unsubscribe();
  }
}
