/** The bounds of one node's runtime; every queue, batch and cache in it has one of these. */
export interface RuntimeLimits {
  /** Actors of a kind in one transaction. */
  readonly keysPerDrain: number;
  /** Letters of one actor in one drain. A lonely hot actor gets up to `hotMailPerDrain`. */
  readonly mailPerDrain: number;
  readonly hotMailPerDrain: number;
  /** How long woken actors of a kind gather before their drain starts; `1 + 2n` times this while n drains of it are under way. */
  readonly gatherMs: number;
  /** Drains of a kind under way at once. */
  readonly drainsPerKind: number;
  /** Wakes of a kind that this node takes from the queue store at once. */
  readonly wakesPerKind: number;
  /** Restart intensity: so many failures within the window park the actor. */
  readonly failures: number;
  readonly failureWindowMs: number;
  /** Back-off before a restart: doubles from the first to the longest. */
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
  /** An actor that nobody woke for so long leaves memory (its timer stays). */
  readonly idleMs: number;
  /** Above so many actors in memory each leaves as soon as it sleeps. */
  readonly liveActors: number;
  /** Timers further away than this, or beyond this number, are left to the sweeper. */
  readonly timerHorizonMs: number;
  readonly timersPerKind: number;
  /** How often the sweeper looks, and how old mail or a due actor must be for it to ring again. */
  readonly sweepEveryMs: number;
  readonly overdueMs: number;
  /** Older than this, the sweeper no longer trusts the doorbell and drains here. */
  readonly abandonedMs: number;
  readonly keysPerSweep: number;
  /** Effects of a kind under way at once, and how long one may take. */
  readonly effectsPerKind: number;
  readonly effectTimeoutMs: number;
}

export const defaultLimits: RuntimeLimits = {
  keysPerDrain: 128,
  mailPerDrain: 64,
  hotMailPerDrain: 512,
  gatherMs: 1,
  drainsPerKind: 4,
  wakesPerKind: 512,
  failures: 3,
  failureWindowMs: 60_000,
  restartMinMs: 100,
  restartMaxMs: 5_000,
  idleMs: 10_000,
  liveActors: 20_000,
  timerHorizonMs: 600_000,
  timersPerKind: 200_000,
  sweepEveryMs: 3_000,
  overdueMs: 2_000,
  abandonedMs: 6_000,
  keysPerSweep: 500,
  effectsPerKind: 64,
  effectTimeoutMs: 60_000,
};
