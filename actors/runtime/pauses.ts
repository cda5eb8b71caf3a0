/** Pauses that all end at once when the node stops. */
export interface Pauses {
  /** Resolves true after the pause, false as soon as {@link end} is called. */
  pause(ms: number): Promise<boolean>;
  end(): void;
}

export function createPauses(): Pauses {
  const sleepers = new Set<() => void>();
  let ended = false;
  return {
    pause(ms) {
      if (ended) return Promise.resolve(false);
      return new Promise(resolve => {
        const wake = () => {
          clearTimeout(timer);
          sleepers.delete(wake);
          resolve(!ended);
        };
        const timer = setTimeout(wake, ms);
        sleepers.add(wake);
      });
    },
    end() {
      ended = true;
      for (const wake of [...sleepers]) wake();
    },
  };
}
