/** A pod that waits for a slot. */
export type Waiting = { name: string; depth: number; sequence: number };

export type AdmissionOptions = {
  /** Pods that may run at once, not counting those that only wait for their children. */
  slots: number;
  /** Pods without a slot, in any order. */
  waiting: () => Waiting[];
  /** Pods with a slot whose work is not over. */
  holders: () => string[];
  /** Which of these pods only wait for their children. An error counts as "none"; it is asked again soon. */
  idlePods: (names: string[]) => Promise<Set<string>>;
  admit: (name: string) => Promise<void>;
  /** There is no room for this pod now. Told after every pass, so it must cost nothing the second time. */
  onBlocked: (name: string) => void;
  onError: (error: unknown) => void;
};

/** An answer about idle pods that takes longer counts as an error: slots that become free must not wait for it. */
const patienceMs = 2000;

/** While pods wait and no slot is free: how often to ask for idle pods, and how long to wait between two asks at least. */
const askAgainMs = 500;
const askPauseMs = 20;

/**
 * Gives slots to waiting pods: deepest first, then in order of creation. A parent that waits for its children holds no slot,
 * and children go before new parents, so nesting can neither deadlock nor be starved by a broad first level.
 *
 * Idle pods are looked for only when slots are short. When an idle parent goes on, there are for a while more busy pods than
 * slots; nothing is taken away from a running pod, the next admission waits instead.
 * Invariant: a pass at a time; no pod is admitted twice.
 */
export class Admission {
  private readonly options: AdmissionOptions;
  private pass: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  private timer: NodeJS.Timeout | undefined;
  private askedAtMs = 0;

  constructor(options: AdmissionOptions) {
    this.options = options;
  }

  /** Something has changed (a pod came, ended, or began to wait for children): look whether a pod can be admitted. */
  poke(): void {
    if (this.stopped) return;
    this.again = true;
    this.pass ??= this.work().finally(() => {
      this.pass = undefined;
      if (this.again) this.poke();
    });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.pass;
  }

  private async work(): Promise<void> {
    clearTimeout(this.timer);
    while (this.again && !this.stopped) {
      this.again = false;
      const blocked = await this.admitSome().catch(error => {
        this.options.onError(error);
        return true;
      });
      if (blocked && !this.again) {
        this.timer = setTimeout(() => this.poke(), askAgainMs);
        return;
      }
    }
  }

  /** True when pods are left waiting. */
  private async admitSome(): Promise<boolean> {
    const { slots, admit, onBlocked } = this.options;
    const queue = this.options.waiting().toSorted((a, b) => b.depth - a.depth || a.sequence - b.sequence);
    let free = slots - this.options.holders().length;
    if (queue.length > free) free += await this.countIdle();
    free = Math.max(0, free);
    for (const { name } of queue.slice(free)) onBlocked(name);
    for (const { name } of queue.slice(0, free)) await admit(name);
    return queue.length > free;
  }

  private async countIdle(): Promise<number> {
    const holders = this.options.holders();
    if (holders.length === 0) return 0;
    const pause = this.askedAtMs + askPauseMs - Date.now();
    if (pause > 0) await new Promise(resolve => setTimeout(resolve, pause));
    this.askedAtMs = Date.now();
    const idle = await this.askIdle(holders).catch(error => {
      this.options.onError(error);
      return new Set<string>();
    });
    return holders.filter(name => idle.has(name)).length;
  }

  private async askIdle(holders: string[]): Promise<Set<string>> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer about idle pods within ${patienceMs} ms`)), patienceMs);
    });
    return Promise.race([this.options.idlePods(holders), late]).finally(() => clearTimeout(timer));
  }
}
