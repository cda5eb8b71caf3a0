/** flyteidl2.common.ActionPhase by name (runs.md 3.1). */
export const Phase = {
  queued: 1,
  waitingForResources: 2,
  initializing: 3,
  running: 4,
  succeeded: 5,
  failed: 6,
  aborted: 7,
  timedOut: 8,
  paused: 9,
  recovered: 10,
} as const;

export type Phase = (typeof Phase)[keyof typeof Phase];

const terminal: ReadonlySet<number> = new Set([
  Phase.succeeded,
  Phase.failed,
  Phase.aborted,
  Phase.timedOut,
  Phase.recovered,
]);

/** True for the phases that never change again (I1). */
export function isTerminal(phase: number): boolean {
  return terminal.has(phase);
}
