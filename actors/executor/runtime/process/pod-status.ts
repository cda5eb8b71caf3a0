import type { V1ContainerState, V1ContainerStatus, V1PodCondition, V1PodStatus } from '@kubernetes/client-node';
import type { ContainerView, PodView } from './container-state.ts';
import { isTerminal, verdict } from './pod-plan.ts';

const at = (ms: number | undefined): Date | undefined => (ms === undefined ? undefined : new Date(ms));

function terminated({ state, lastOutcome }: ContainerView, last = false): V1ContainerState | undefined {
  const outcome = last ? lastOutcome : state.is === 'ended' ? state.outcome : undefined;
  if (!outcome) return undefined;
  const { exitCode, signal, reason, message, startedAtMs, finishedAtMs } = outcome;
  return {
    terminated: {
      exitCode,
      reason,
      finishedAt: new Date(finishedAtMs),
      ...(signal !== undefined && { signal }),
      ...(message !== undefined && { message }),
      ...(startedAtMs !== undefined && { startedAt: new Date(startedAtMs) }),
    },
  };
}

function containerState(container: ContainerView, waitingReason: string): V1ContainerState {
  const { state, kind, restarts } = container;
  switch (state.is) {
    case 'running':
      return { running: { startedAt: new Date(state.startedAtMs) } };
    case 'ended':
      return terminated(container)!;
    case 'refused':
      return { waiting: { reason: state.refusal.reason, message: state.refusal.message } };
    case 'waiting':
      return { waiting: { reason: kind === 'sidecar' && restarts > 0 ? 'CrashLoopBackOff' : waitingReason } };
  }
}

function containerStatus(container: ContainerView, podUid: string, waitingReason: string): V1ContainerStatus {
  const { name, image, kind, state, restarts } = container;
  const succeeded = state.is === 'ended' && state.outcome.exitCode === 0;
  const lastState = terminated(container, true);
  return {
    name,
    image,
    imageID: '',
    restartCount: restarts,
    ready: kind === 'init' ? succeeded : state.is === 'running',
    started: state.is === 'running',
    state: containerState(container, waitingReason),
    ...(lastState && { lastState }),
    ...(state.is !== 'waiting' && state.is !== 'refused' && { containerID: `process://${podUid}/${name}/${restarts}` }),
  };
}

function condition(
  type: string,
  holds: boolean,
  sinceMs: number,
  why?: { reason: string; message?: string },
): V1PodCondition {
  return { type, status: holds ? 'True' : 'False', lastTransitionTime: new Date(sinceMs), ...why };
}

/**
 * The status a kubelet and scheduler would give (executor.md §2.8 says how it is read). Everything in it, times too, comes
 * from the evidence on disk, so it is the same after a restart of the node.
 *
 * A kubelet leaves a pod with a refused container Pending for ever, and readers judge by that (CreateContainerConfigError is
 * a permanent failure). Here such a pod fails, so that it needs nobody to end it; but it is told as Pending once before.
 *
 * @param queueMessage why a pod without a slot waits, for people
 * @param refusalTold whether that has happened
 */
export function podStatus(pod: PodView, podUid: string, queueMessage: string, refusalTold: boolean): V1PodStatus {
  const { admittedAtMs, createdAtMs, containers } = pod;
  if (admittedAtMs === undefined) {
    return {
      phase: 'Pending',
      qosClass: 'Burstable',
      conditions: pod.blocked
        ? [condition('PodScheduled', false, createdAtMs, { reason: 'Unschedulable', message: queueMessage })]
        : [],
    };
  }
  const before = containers.filter(({ kind }) => kind !== 'main');
  const mains = containers.filter(({ kind }) => kind === 'main');
  const initialized = before.every(({ kind, state, restarts }) =>
    kind === 'init'
      ? state.is === 'ended' && state.outcome.exitCode === 0
      : state.is === 'running' || state.is === 'ended' || restarts > 0,
  );
  const begun = mains.some(({ state }) => state.is === 'running' || state.is === 'ended');
  const judged = verdict(pod);
  const refusal = containers.find(({ state }) => state.is === 'refused')?.state;
  const terminal = isTerminal(pod) && (refusal === undefined || refusalTold);
  const phase = terminal && judged.over ? judged.phase : initialized && begun ? 'Running' : 'Pending';
  const ready = !terminal && initialized && mains.every(({ state }) => state.is === 'running');

  const lastStart = Math.max(
    admittedAtMs,
    ...mains.map(({ state }) => (state.is === 'running' ? state.startedAtMs : admittedAtMs)),
  );
  const sinceMs = judged.over ? judged.atMs : lastStart;
  const unready = terminal
    ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' }
    : {
        reason: 'ContainersNotReady',
        message: `containers with unready status: [${mains
          .filter(({ state }) => state.is !== 'running')
          .map(({ name }) => name)
          .join(' ')}]`,
      };
  const message =
    refusal?.is === 'refused'
      ? refusal.refusal.message
      : judged.over && judged.reason === 'DeadlineExceeded'
        ? 'Pod was active on the node longer than the specified deadline'
        : undefined;
  const waitingReason = before.length > 0 && !initialized ? 'PodInitializing' : 'ContainerCreating';
  const startTime = at(admittedAtMs)!;
  return {
    phase,
    startTime,
    qosClass: 'Burstable',
    hostIP: '127.0.0.1',
    podIP: '127.0.0.1',
    ...(terminal && judged.over && judged.reason && { reason: judged.reason }),
    ...(terminal && message && { message }),
    conditions: [
      condition('PodScheduled', true, admittedAtMs),
      condition(
        'Initialized',
        initialized,
        admittedAtMs,
        initialized ? undefined : { reason: 'ContainersNotInitialized' },
      ),
      condition('ContainersReady', ready, sinceMs, ready ? undefined : unready),
      condition('Ready', ready, sinceMs, ready ? undefined : unready),
    ],
    ...(before.length > 0 && {
      initContainerStatuses: before.map(container => containerStatus(container, podUid, waitingReason)),
    }),
    containerStatuses: mains.map(container => containerStatus(container, podUid, waitingReason)),
  };
}
