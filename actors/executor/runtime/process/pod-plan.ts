import type { ContainerView, PodView } from './container-state.ts';

/** What to do next for a pod, and when to look again even if nothing happens. */
export type PodPlan = {
  start: string[];
  restart: string[];
  signal: { name: string; signal: 'SIGTERM' | 'SIGKILL' }[];
  /** Its deadline is over: write that down, then plan again. */
  expire: boolean;
  /** Nothing is alive and it shall go. */
  remove: boolean;
  wakeAtMs?: number;
};

/** How the work of a pod stands: open, or over at a moment and with which phase. */
export type PodVerdict = { over: false } | { over: true; atMs: number; phase: 'Succeeded' | 'Failed'; reason?: string };

const firstBackOffMs = 10_000;
const longestBackOffMs = 300_000;

const finishedAt = (container: ContainerView): number =>
  container.state.is === 'ended' ? container.state.outcome.finishedAtMs : 0;

const hasFailed = (container: ContainerView): boolean =>
  container.state.is === 'ended' && container.state.outcome.exitCode !== 0;

/**
 * The verdict on a pod's work, from durable evidence only, so it never changes once it is over:
 * the deadline, a refused container or a failed init container fails the pod at once; otherwise it is over when every main container has ended, and has failed when one of them has. Sidecars have no
 * say (as for a kubelet; the uploader's own failure is read from its status by the executor).
 */
export function verdict(pod: PodView): PodVerdict {
  const mains = pod.containers.filter(({ kind }) => kind === 'main');
  const allEnded = mains.every(({ state }) => state.is === 'ended');
  const lastEnd = Math.max(...mains.map(finishedAt));
  if (pod.expired)
    return { over: true, atMs: pod.deadlineAtMs ?? pod.nowMs, phase: 'Failed', reason: 'DeadlineExceeded' };
  for (const container of pod.containers) {
    if (container.state.is === 'refused') {
      const { reason, refusedAtMs } = container.state.refusal;
      return { over: true, atMs: refusedAtMs, phase: 'Failed', reason };
    }
    if (container.kind === 'init' && hasFailed(container)) {
      return { over: true, atMs: finishedAt(container), phase: 'Failed' };
    }
  }
  if (!allEnded) return { over: false };
  return { over: true, atMs: lastEnd, phase: mains.some(hasFailed) ? 'Failed' : 'Succeeded' };
}

/** True when the pod's phase is terminal: the work is over and nothing of it is alive. */
export function isTerminal(pod: PodView): boolean {
  return verdict(pod).over && pod.containers.every(({ state }) => state.is !== 'running');
}

/** Init and main containers end together, sidecars after them, last started first: the kubelet's order. */
function stop(pod: PodView, plan: PodPlan, killAtMs: number): void {
  const alive = pod.containers.filter(({ state }) => state.is === 'running');
  const work = alive.filter(({ kind }) => kind !== 'sidecar');
  for (const { name, signalled } of work.length > 0 ? work : alive.slice(-1)) {
    if (pod.nowMs >= killAtMs) plan.signal.push({ name, signal: 'SIGKILL' });
    else if (!signalled) plan.signal.push({ name, signal: 'SIGTERM' });
  }
  if (alive.length > 0 && pod.nowMs < killAtMs) plan.wakeAtMs = killAtMs;
}

/** Back-off before restart n + 1 of a sidecar: 10 s, doubled up to 5 min (the kubelet's numbers). */
export function backOffMs(restarts: number): number {
  return Math.min(firstBackOffMs * 2 ** restarts, longestBackOffMs);
}

/**
 * Decides the next steps of a pod from what there is. Pure, and level-triggered: it does not matter how the pod came to be
 * as it is, or which node started what.
 *
 *   queued      no slot: nothing to do
 *   preparing   init containers one after the other; a sidecar among them is started and the next one follows
 *   working     all main containers at once; sidecars that end are started again after a back-off
 *   stopping    the work is over, or the pod shall be deleted: see {@link stop}
 *   over        nothing alive: the phase is terminal; a pod to be deleted is removed
 */
export function planPod(pod: PodView): PodPlan {
  const plan: PodPlan = { start: [], restart: [], signal: [], expire: false, remove: false };
  if (pod.deletion) {
    stop(pod, plan, pod.deletion.killAtMs);
    plan.remove = pod.containers.every(({ state }) => state.is !== 'running');
    return plan;
  }
  if (pod.admittedAtMs === undefined) return plan;
  const judged = verdict(pod);
  if (judged.over) {
    stop(pod, plan, judged.atMs + pod.gracePeriodMs);
    return plan;
  }
  const wake = (atMs: number) => {
    plan.wakeAtMs = Math.min(plan.wakeAtMs ?? atMs, atMs);
  };
  if (pod.deadlineAtMs !== undefined) {
    if (pod.nowMs >= pod.deadlineAtMs) return { ...plan, expire: true };
    wake(pod.deadlineAtMs);
  }

  for (const { name, kind, state, restarts } of pod.containers) {
    if (state.is === 'waiting') plan.start.push(name);
    if (kind === 'sidecar' && state.is === 'ended') {
      const atMs = state.outcome.finishedAtMs + backOffMs(restarts);
      if (pod.nowMs >= atMs) plan.restart.push(name);
      else wake(atMs);
    }
    // What stands behind waits for this one: an init container must have ended, a sidecar must have been started once.
    if (kind === 'init' && state.is !== 'ended') break;
    if (kind === 'sidecar' && state.is === 'waiting' && restarts === 0) break;
  }
  return plan;
}
