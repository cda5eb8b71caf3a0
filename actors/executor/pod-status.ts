/**
 * What a Pod object means for its attempt (executor.md 2.8). Pure, and the same for a kubelet and for the process runtime.
 *
 *   waiting-for-resources  no room for it yet; the scheduler's words are the reason
 *   queued                 nobody has looked at it yet
 *   initializing           images, volumes, init containers; trouble that may pass has a moment to give up at
 *   running                the primary container runs, or has ended well and its outputs are still being uploaded
 *   ended                  the primary container has ended, or it can never start
 *
 * Who is to blame: what a node, its kubelet or an operator did (eviction, shutdown, preemption, deletion, a lost
 * container) is SYSTEM; everything the containers did, being killed included, is USER. A SIGKILL alone is no evidence of
 * the platform's doing: the kernel sends it to a task that uses too much memory, and tasks send it to themselves.
 */
import type { V1ContainerStateTerminated, V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import { podFacts, primaryContainerOf } from './pod-facts.ts';
import { classifyPending } from './pod-pending.ts';
import type { PodExit, PodView } from './pod-view.ts';

/** `status.reason` of pods that their node or the scheduler ended. */
const PLATFORM_REASONS: ReadonlySet<string> = new Set([
  'Evicted',
  'Shutdown',
  'Terminated',
  'NodeShutdown',
  'NodeAffinity',
  'NodeLost',
  'Preempting',
  'UnexpectedAdmissionError',
  'TopologyAffinityError',
  'OutOfcpu',
  'OutOfmemory',
  'OutOfpods',
  'OutOfephemeral-storage',
]);
/** An eviction for what the pod itself used beyond its own limit: it would happen again anywhere. */
const OWN_LIMIT = /exceed(?:s|ed) (?:its|the total|the) (?:local )?(?:ephemeral|limit)/i;
const SIGKILL_CODES: ReadonlySet<number> = new Set([137, 247]);

/** Reads a pod. `nowMs` decides whether trouble that may pass has lasted too long. */
export function classify(pod: V1Pod, nowMs: number): PodView {
  const facts = podFacts(pod);
  const ended = (exit: PodExit): PodView => ({ is: 'ended', exit, over: isOver(pod), facts });
  switch (pod.status?.phase) {
    case 'Succeeded':
      return ended(succeededExit(pod));
    case 'Failed':
      return ended(failedExit(pod));
    case 'Running':
      return classifyRunning(pod, facts);
    case 'Unknown':
      return { is: 'live', phase: 'running', reason: 'its node does not answer', facts };
    default: {
      const view = classifyPending(pod, facts);
      return view.giveUp !== undefined && nowMs >= view.giveUp.atMs ? ended(view.giveUp.exit) : view;
    }
  }
}

/** The phases that say so: a kubelet sets them when every container has ended. */
function isOver(pod: V1Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

function classifyRunning(pod: V1Pod, facts: ReturnType<typeof podFacts>): PodView {
  const primary = primaryStatus(pod);
  const running = (reason: string): PodView => ({ is: 'live', phase: 'running', reason, facts });
  const ended = (exit: PodExit): PodView => ({ is: 'ended', exit, over: false, facts });
  const name = facts.primaryContainer;
  if (primary === undefined) {
    const inSpec = pod.spec?.containers.some(container => container.name === name);
    return inSpec ? running(`container ${name} is starting`) : ended(noPrimary(name));
  }
  const { terminated, waiting } = primary.state ?? {};
  if (terminated === undefined) {
    return running(waiting === undefined ? `container ${name} runs` : `container ${name} waits: ${waiting.reason}`);
  }
  if (terminated.exitCode !== 0) return ended(containerExit(pod, primary, terminated));
  const uploader = liveUploader(pod);
  if (uploader === undefined) return ended(succeededExit(pod));
  return running(`container ${uploader} uploads the outputs`);
}

/** Everything ended with 0, but a container that ran out of memory may have lost a part of its work. */
function succeededExit(pod: V1Pod): PodExit {
  const oom = oomStatus(pod);
  if (oom !== undefined) return containerExit(pod, oom, oom.state!.terminated!);
  return wellExit(pod);
}

/** The exit of the main container was good. An uploader that failed is told, for the case that it left nothing that says why. */
function wellExit(pod: V1Pod): PodExit {
  const uploader = uploaderStatus(pod);
  const terminated = uploader?.state?.terminated;
  if (terminated === undefined || terminated.exitCode === 0) return { failure: null, detail: '', decisive: false };
  return { failure: null, container: uploader!.name, detail: terminated.message ?? '', decisive: false };
}

function failedExit(pod: V1Pod): PodExit {
  const { reason = '', message = '' } = pod.status ?? {};
  const disruption = disruptionOf(pod);
  if (disruption !== undefined) return disruption;
  if (reason === 'DeadlineExceeded') {
    const text = `the pod ran longer than its own limit (activeDeadlineSeconds): ${message}`;
    return failure('DeadlineExceeded', 'USER', text, true);
  }
  if (reason === 'CreateContainerConfigError') return failure(reason, 'USER', message, false, { decisive: true });
  const oom = oomStatus(pod);
  if (oom !== undefined) return containerExit(pod, oom, oom.state!.terminated!);
  const failed = failedStatus(pod);
  if (failed !== undefined) return containerExit(pod, failed, failed.state!.terminated!);
  const primary = primaryStatus(pod);
  if (primary?.state?.terminated?.exitCode === 0) return wellExit(pod);
  const text = `the pod failed without saying why: ${[reason, message].filter(Boolean).join(': ') || 'no reason given'}`;
  return failure(reason || 'UnknownError', 'SYSTEM', text, true);
}

/** The pod was ended from outside: by its node, by the scheduler, or by somebody who deleted it. */
function disruptionOf(pod: V1Pod): PodExit | undefined {
  const { reason = '', message = '', conditions = [] } = pod.status ?? {};
  if (reason === 'Evicted' && OWN_LIMIT.test(message)) {
    return failure('Evicted', 'USER', `the pod was evicted for what it used itself: ${message}`, true);
  }
  const target = conditions.find(({ type, status }) => type === 'DisruptionTarget' && status === 'True');
  if (target !== undefined || PLATFORM_REASONS.has(reason)) {
    const why = [reason || target?.reason, message || target?.message].filter(Boolean).join(': ');
    return interrupted(`the platform ended the pod: ${why}`);
  }
  const lost = allStatuses(pod).find(({ state }) => state?.terminated?.reason === 'ContainerStatusUnknown');
  if (lost !== undefined) {
    return interrupted(`container ${lost.name} was lost: ${lost.state?.terminated?.message || 'nobody saw it end'}`);
  }
  if (pod.metadata?.deletionTimestamp !== undefined) return interrupted('somebody deleted the pod while it ran');
  return undefined;
}

function interrupted(message: string): PodExit {
  return failure('Interrupted', 'SYSTEM', message, true);
}

/** The verdict of one container that did not end well. */
function containerExit(pod: V1Pod, status: V1ContainerStatus, terminated: V1ContainerStateTerminated): PodExit {
  const { exitCode, reason = 'Error', message = '' } = terminated;
  const isPrimary = status.name === primaryContainerOf(pod);
  const options = {
    container: status.name,
    detail: message,
    // With a co-pilot around it the files come from the uploader, which knows less than the exit of the main container.
    decisive: isPrimary && uploaderOf(pod) !== undefined,
  };
  const name = `container ${status.name}`;
  if (reason.includes('OOMKilled')) {
    return failure('OOMKilled', 'USER', `${name} used more memory than its limit and was killed`, true, options);
  }
  if (reason === 'ContainerCannotRun') {
    return failure(reason, 'USER', `${name} cannot run: ${message}`, false, { ...options, detail: '' });
  }
  if (reason === 'StartError' && message !== '') {
    return failure(reason, 'SYSTEM', `${name} did not start: ${message}`, true, { ...options, detail: '' });
  }
  if (SIGKILL_CODES.has(exitCode)) {
    return failure('Interrupted', 'USER', `${name} was killed (SIGKILL, exit code ${exitCode})`, true, options);
  }
  const signal = exitCode > 128 && exitCode < 160 ? ` (signal ${exitCode - 128})` : '';
  return failure(reason, 'USER', `${name} exited with code ${exitCode}${signal}`, true, options);
}

function noPrimary(name: string): PodExit {
  return failure('PrimaryContainerNotFound', 'USER', `the pod has no container '${name}', its primary one`, false);
}

function failure(
  code: string,
  kind: 'USER' | 'SYSTEM',
  message: string,
  recoverable: boolean,
  options: { container?: string; detail?: string; decisive?: boolean } = {},
): PodExit {
  return { failure: { code, kind, message, recoverable }, detail: '', decisive: false, ...options };
}

function primaryStatus(pod: V1Pod): V1ContainerStatus | undefined {
  const name = primaryContainerOf(pod);
  return pod.status?.containerStatuses?.find(status => status.name === name);
}

/** The container to blame: the first init container that failed, else the primary, else any other. */
function failedStatus(pod: V1Pod): V1ContainerStatus | undefined {
  const failed = (status: V1ContainerStatus | undefined) => (status?.state?.terminated?.exitCode ?? 0) !== 0;
  const restartable = new Set(
    pod.spec?.initContainers?.filter(({ restartPolicy }) => restartPolicy === 'Always').map(({ name }) => name),
  );
  const init = pod.status?.initContainerStatuses?.find(status => !restartable.has(status.name) && failed(status));
  if (init !== undefined) return init;
  const primary = primaryStatus(pod);
  if (failed(primary)) return primary;
  // The work is done when the primary ended well, whatever became of its companions.
  return primary?.state?.terminated === undefined ? pod.status?.containerStatuses?.find(failed) : undefined;
}

function oomStatus(pod: V1Pod): V1ContainerStatus | undefined {
  return allStatuses(pod).find(({ state }) => state?.terminated?.reason?.includes('OOMKilled'));
}

function allStatuses({ status }: V1Pod): V1ContainerStatus[] {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

/** The co-pilot's uploader, a sidecar that takes the outputs when the main container has ended. */
function uploaderOf(pod: V1Pod): string | undefined {
  return pod.spec?.initContainers?.find(
    ({ name, restartPolicy }) => restartPolicy === 'Always' && name.endsWith('uploader'),
  )?.name;
}

function liveUploader(pod: V1Pod): string | undefined {
  return uploaderStatus(pod)?.state?.terminated === undefined ? uploaderOf(pod) : undefined;
}

function uploaderStatus(pod: V1Pod): V1ContainerStatus | undefined {
  const name = uploaderOf(pod);
  return pod.status?.initContainerStatuses?.find(init => init.name === name);
}
