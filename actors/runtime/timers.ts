import type { Clock } from './clock.ts';

/** Wakes keys at their time. What is lost here (a crash, too many, too far) is found by the sweeper. */
export interface Timers {
  /** Sets, moves or (null) clears the one timer of a key. */
  set(key: string, at: Date | null): void;
  readonly size: number;
  stop(): void;
}

/** Node's own timers cannot be longer. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * The timers of one kind on this node: a binary heap in two flat arrays and one Node timer for the earliest. Moving a
 * timer leaves its old heap entry behind, recognised by not being the key's current time; when such leftovers are the
 * majority the heap is rebuilt, so memory follows the number of keys (about 100 bytes each with a 20-byte key).
 */
export function createTimers(options: {
  clock: Clock;
  horizonMs: number;
  capacity: number;
  fire(key: string): void;
}): Timers {
  const { clock, horizonMs, capacity, fire } = options;
  const current = new Map<string, number>();
  let times: number[] = [];
  let keys: string[] = [];
  let alarm: NodeJS.Timeout | undefined;
  let alarmAt = Number.POSITIVE_INFINITY;

  function swap(i: number, j: number): void {
    [times[i], times[j]] = [times[j]!, times[i]!];
    [keys[i], keys[j]] = [keys[j]!, keys[i]!];
  }
  function push(at: number, key: string): void {
    let i = times.push(at) - 1;
    keys.push(key);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (times[parent]! <= times[i]!) break;
      swap(i, parent);
      i = parent;
    }
  }
  function pop(): void {
    swap(0, times.length - 1);
    times.pop();
    keys.pop();
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      let least = i;
      if (left < times.length && times[left]! < times[least]!) least = left;
      if (left + 1 < times.length && times[left + 1]! < times[least]!) least = left + 1;
      if (least === i) return;
      swap(i, least);
      i = least;
    }
  }
  function rebuild(): void {
    times = [];
    keys = [];
    for (const [key, at] of current) push(at, key);
  }

  function arm(): void {
    const next = times[0] ?? Number.POSITIVE_INFINITY;
    if (next >= alarmAt && alarm !== undefined) return;
    clearTimeout(alarm);
    alarm = undefined;
    alarmAt = next;
    if (next === Number.POSITIVE_INFINITY) return;
    alarm = setTimeout(ring, Math.min(Math.max(next - clock.now().getTime(), 0), LONGEST_TIMEOUT_MS));
  }
  function ring(): void {
    alarm = undefined;
    alarmAt = Number.POSITIVE_INFINITY;
    const now = clock.now().getTime();
    while (times.length > 0 && times[0]! <= now) {
      const key = keys[0]!;
      const at = times[0]!;
      pop();
      if (current.get(key) !== at) continue;
      current.delete(key);
      fire(key);
    }
    arm();
  }

  return {
    set(key, when) {
      const at = when?.getTime();
      if (at === undefined || at - clock.now().getTime() > horizonMs) {
        current.delete(key);
      } else if (current.get(key) !== at && (current.has(key) || current.size < capacity)) {
        current.set(key, at);
        push(at, key);
      }
      if (times.length > 2 * current.size + 64) rebuild();
      arm();
    },
    get size() {
      return current.size;
    },
    stop() {
      clearTimeout(alarm);
      current.clear();
      rebuild();
    },
  };
}
