import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import type { ContainerFacts, PodFacts } from './messages.ts';
import { PRIMARY_ANNOTATION } from './pod-metadata.ts';

/** The container whose exit decides the task (executor.md 3.3): as annotated, else the one named like the pod, else the first. */
export function primaryContainerOf(pod: V1Pod): string {
  const annotations = pod.metadata?.annotations ?? {};
  const names = pod.spec?.containers.map(({ name }) => name) ?? [];
  const candidates = [annotations[PRIMARY_ANNOTATION], annotations.primary_container_name, pod.metadata?.name];
  return candidates.find(name => name !== undefined && names.includes(name)) ?? candidates[0] ?? names[0] ?? '';
}

/** Name and containers of a pod with the times of their current state. */
export function podFacts(pod: V1Pod): PodFacts {
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  return {
    name: pod.metadata?.name ?? '',
    namespace: pod.metadata?.namespace ?? '',
    primaryContainer: primaryContainerOf(pod),
    containers: [
      ...initContainerStatuses.map(status => containerFacts(status, true)),
      ...containerStatuses.map(status => containerFacts(status, false)),
    ],
  };
}

function containerFacts({ name, state }: V1ContainerStatus, init: boolean): ContainerFacts {
  const startedAtMs = timeOf(state?.running?.startedAt ?? state?.terminated?.startedAt);
  const endedAtMs = timeOf(state?.terminated?.finishedAt);
  const exitCode = state?.terminated?.exitCode;
  return {
    name,
    init,
    ...(startedAtMs !== undefined && { startedAtMs }),
    ...(endedAtMs !== undefined && { endedAtMs }),
    ...(exitCode !== undefined && { exitCode }),
  };
}

/** Epoch milliseconds of a time in a Pod object: a Date, or its text when the object came as plain JSON. */
export function timeOf(time: Date | string | undefined): number | undefined {
  if (time === undefined || time === null) return undefined;
  const ms = new Date(time).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}
