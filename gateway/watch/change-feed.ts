/** One entry of the change log: something about `subject` of `topic` has changed. */
export interface Changed {
  /** The id of the run, in decimal. */
  readonly topic: string;
  /** The name of the action. */
  readonly subject: string;
}

/**
 * The change log as watches see it. Whoever subscribes first and reads the rows afterwards misses nothing: a change that is
 * not in what was read comes later. The same change may come more than once.
 */
export interface ChangeFeed {
  /** @param topic the id of a run, or `*` for all. Returns the function that ends the subscription. */
  subscribe(topic: string, listener: (change: Changed) => void): () => void;
}
