/** One entry of the change log: something about `subject` of `topic` has changed. */
export interface Changed {
  /** The id of the run, in decimal. */
  readonly topic: string;
  /** The name of the action. */
  readonly subject: string;
}

/**
 * The change log as watches see it (actors/runtime/change-tail.ts). Whoever subscribes first and reads the rows afterwards misses
 * nothing: a change that is not in what was read comes later. Seeing a change twice is harmless, because it is answered by reading.
 */
export interface ChangeFeed {
  /**
   * @param topic the id of a run, or `*` for all
   * @param listener called synchronously, must not throw. An empty list means that changes may have been missed: everything that is
   * watched must be read again
   * @returns ends the subscription
   */
  subscribe(topic: string, listener: (changes: readonly Changed[]) => void): () => void;
}
