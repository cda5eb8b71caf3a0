import type { Changed, ChangeFeed } from '../../gateway/watch/change-feed.ts';

/** A change log of a spec's own: changes are told as soon as the spec has written the rows. */
export class LocalFeed implements ChangeFeed {
  readonly #listeners = new Map<string, Set<(changes: readonly Changed[]) => void>>();

  get subscriptions(): number {
    let count = 0;
    for (const set of this.#listeners.values()) count += set.size;
    return count;
  }

  subscribe(topic: string, listener: (changes: readonly Changed[]) => void): () => void {
    const set = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, set.add(listener));
    return () => void set.delete(listener);
  }

  tell(runId: number, ...names: string[]): void {
    const changes = names.map(subject => ({ topic: String(runId), subject }));
    for (const topic of ['*', String(runId)])
      for (const listener of this.#listeners.get(topic) ?? []) listener(changes);
  }

  /** As after an outage: changes may have been missed. */
  lose(): void {
    for (const set of this.#listeners.values()) for (const listener of set) listener([]);
  }
}
