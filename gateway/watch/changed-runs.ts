import { ROOT_ACTION } from '../identifiers.ts';
import type { ChangeFeed } from './change-feed.ts';
import { Doorbell } from './doorbell.ts';

/** Which runs have been made or have changed at their root since somebody last asked. */
export class ChangedRuns {
  readonly #bell = new Doorbell();
  readonly #unsubscribe: () => void;
  #ids = new Set<number>();
  #all = false;

  /** Subscribes at once: read what there is after this, then {@link next} for ever. */
  constructor(changes: ChangeFeed) {
    this.#unsubscribe = changes.subscribe('*', changed => {
      if (changed.length === 0) this.#all = true;
      for (const { topic, subject } of changed) {
        const id = Number(topic);
        if (subject === ROOT_ACTION && Number.isSafeInteger(id)) this.#ids.add(id);
      }
      if (this.#all || this.#ids.size > 0) this.#bell.ring();
    });
  }

  /** Ids of the runs, in no order; `all` when some may have been missed; null when the signal fired. */
  async next(signal: AbortSignal): Promise<readonly number[] | 'all' | null> {
    if (!(await this.#bell.wait(signal))) return null;
    const changed = this.#all ? 'all' : [...this.#ids];
    this.#all = false;
    this.#ids = new Set();
    return changed;
  }

  close(): void {
    this.#unsubscribe();
  }
}
