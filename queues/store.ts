/** Who is to be woken: structurally an actor's address. */
export interface Wake {
  readonly kind: string;
  readonly key: string;
}

/** The doorbells of all actors: says on some node that an actor has something to do. It may forget; Postgres does not. */
export interface WakeQueues {
  /**
   * Rings for these actors. An actor that is already waiting to be woken is not queued twice; one that is being handled
   * is queued once more.
   * @throws QueueStoreUnavailable when the store did not take all of them (some may have been taken)
   */
  ring(wakes: readonly Wake[]): Promise<void>;
  /** Starts taking the wakes of one kind, at most `concurrency` at once; `handle` resolves when the wake is dealt with. */
  consume(kind: string, concurrency: number, handle: (key: string) => Promise<void>): WakeConsumer;
}

export interface WakeConsumer {
  /** Takes no more wakes and waits for those being handled. */
  close(): Promise<void>;
}
