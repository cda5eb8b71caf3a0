/** Reads a stream in the background and keeps what it brings. */
export function gather<M, T>(stream: AsyncIterable<M>, pick: (message: M) => readonly T[]) {
  const seen: T[] = [];
  const bells = new Set<() => void>();
  let failure: unknown;
  let over = false;
  const done = (async () => {
    try {
      for await (const message of stream) {
        seen.push(...pick(message));
        for (const bell of bells) bell();
      }
    } catch (error) {
      failure = error;
    }
    over = true;
    for (const bell of bells) bell();
  })();
  return {
    seen,
    /** Rejects with what the stream failed with. */
    get ended() {
      return done.then(() => {
        if (failure !== undefined) throw failure;
      });
    },
    async until(isIt: (item: T) => boolean): Promise<void> {
      while (!seen.some(isIt)) {
        if (over) throw failure ?? new Error(`the stream ended without it: ${JSON.stringify(seen.length)} items`);
        await new Promise<void>(resolve => {
          const bell = () => {
            bells.delete(bell);
            resolve();
          };
          bells.add(bell);
        });
      }
    },
  };
}
