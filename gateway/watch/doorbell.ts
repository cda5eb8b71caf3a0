/** Rings for one waiter at a time; a ring that nobody waits for is kept, and any number of rings count as one. */
export class Doorbell {
  #rung = false;
  #answer: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#answer?.();
  }

  /** Waits for a ring, at most `timeoutMs`; false when the time passed or the signal fired without one. */
  async wait(signal: AbortSignal, timeoutMs?: number): Promise<boolean> {
    if (!this.#rung && !signal.aborted) await this.#next(signal, timeoutMs);
    const rung = this.#rung && !signal.aborted;
    if (rung) this.#rung = false;
    return rung;
  }

  #next(signal: AbortSignal, timeoutMs: number | undefined): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        this.#answer = undefined;
        signal.removeEventListener('abort', done);
        clearTimeout(timer);
        resolve();
      };
      const timer = timeoutMs === undefined ? undefined : setTimeout(done, timeoutMs);
      this.#answer = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
