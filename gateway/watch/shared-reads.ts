/**
 * One read for all who ask for the same thing in the same turn of the event loop. Watchers of an action are woken together, so a change
 * costs one read however many follow it. The read begins after the last of them asked, so it shows nothing older than any of them
 * was woken for.
 */
export class SharedReads<T> {
  readonly #asked = new Map<string, Promise<T>>();

  read(key: string, read: () => Promise<T>): Promise<T> {
    const asked = this.#asked.get(key);
    if (asked !== undefined) return asked;
    const answer = new Promise<void>(resolve => setImmediate(resolve)).then(() => {
      this.#asked.delete(key);
      return read();
    });
    this.#asked.set(key, answer);
    return answer;
  }
}
