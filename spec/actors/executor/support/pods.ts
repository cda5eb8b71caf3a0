import type { V1ContainerState, V1ContainerStatus, V1Pod, V1PodStatus } from '@kubernetes/client-node';

export const NOON = Date.UTC(2026, 10, 24, 12, 0, 0);

export const containerStatus = (name: string, state: V1ContainerState): V1ContainerStatus => ({
  name,
  state,
  image: 'i',
  imageID: '',
  ready: state.running !== undefined,
  restartCount: 0,
});

export const waits = (reason: string, message?: string): V1ContainerState => ({
  waiting: { reason, ...(message !== undefined && { message }) },
});
export const runs: V1ContainerState = { running: { startedAt: new Date(NOON) } };
export const exited = (exitCode: number, reason = exitCode === 0 ? 'Completed' : 'Error', message?: string) => ({
  terminated: {
    exitCode,
    reason,
    startedAt: new Date(NOON),
    finishedAt: new Date(NOON + 1_000),
    ...(message !== undefined && { message }),
  },
});

/** A pod with one main container named `main`, as buildPod makes it. */
export const aPod = (status: V1PodStatus, changes: { spec?: object; metadata?: object } = {}): V1Pod => ({
  metadata: {
    name: 'rabc123-a0-1-hash',
    namespace: 'flyte',
    annotations: {
      'kubectl.kubernetes.io/default-container': 'main',
      'starling.dev/executor': '7.a0.1',
      'starling.dev/incarnation': '1',
    },
    ...changes.metadata,
  },
  spec: { containers: [{ name: 'main' }], ...changes.spec },
  status,
});

/** A pod whose main container is in this state. */
export const podIn = (phase: string, state: V1ContainerState, more: V1PodStatus = {}) =>
  aPod({ phase, containerStatuses: [containerStatus('main', state)], ...more });

/** The same with the co-pilot around it. */
export const rawPodIn = (phase: string, main: V1ContainerState, uploader: V1ContainerState, more: V1PodStatus = {}) =>
  aPod(
    {
      phase,
      initContainerStatuses: [containerStatus('flyte-copilot-uploader', uploader)],
      containerStatuses: [containerStatus('main', main)],
      ...more,
    },
    { spec: { initContainers: [{ name: 'flyte-copilot-uploader', restartPolicy: 'Always' }] } },
  );
