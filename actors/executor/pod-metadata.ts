import { executorKey } from './messages.ts';
import { isMetadataKey, labelValue } from './names.ts';
import type { PodInput, PodSettings } from './pod-input.ts';
import type { RawPod } from './raw-pod.ts';
import { DEPTH_ANNOTATION } from './runtime/pod-runtime.ts';

/** Annotation: key of the executor a pod belongs to. */
export const EXECUTOR_ANNOTATION = 'starling.dev/executor';
/** Annotation: which pod of its attempt it is, from 1. */
export const INCARNATION_ANNOTATION = 'starling.dev/incarnation';
/** Annotation that tools (`kubectl logs`) and pod-status.ts read: the container whose exit decides. */
export const PRIMARY_ANNOTATION = 'kubectl.kubernetes.io/default-container';

/**
 * Labels of a pod: the task's, over them the run's, over them our own (executor.md 3.3). What Kubernetes would refuse is
 * made valid or left out: a label is no reason for a task to fail.
 */
export function podLabels(
  { identity, runSpec, template }: PodInput,
  settings: PodSettings,
  raw: RawPod,
): Record<string, string> {
  const own = {
    'flyte.org/managed': 'true',
    'flyte.org/project': identity.project,
    'flyte.org/domain': identity.domain,
    'flyte.org/run': identity.run,
    'flyte.org/action': identity.action,
    'flyte.org/action-type': 'task',
    'flyte.org/is-root': String(identity.action === 'a0'),
    'starling.dev/run-id': String(identity.runId),
    organization: settings.org,
    project: identity.project,
    domain: identity.domain,
    run: identity.run,
    action: identity.action,
    attempt: String(identity.attempt),
    'task-name': template.id?.name ?? '',
  };
  const users = { ...raw.labels, ...runSpec.labels?.values };
  const result: Record<string, string> = {};
  for (const [key, text] of Object.entries({ ...users, ...own })) {
    // An empty value is legal for users' labels; ours are left out when there is nothing to say (executor.md 3.3).
    const value = labelValue(text) ?? (Object.hasOwn(own, key) ? undefined : '');
    if (value !== undefined && isMetadataKey(key)) result[key] = value;
  }
  return result;
}

/** Annotations of a pod, in the same order of precedence. */
export function podAnnotations({ identity, plan, runSpec, template }: PodInput, raw: RawPod): Record<string, string> {
  const users = { ...raw.annotations, ...runSpec.annotations?.values };
  const alone = raw.spec.containers.length === 1 && template.type !== 'raw-container';
  return {
    'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
    ...Object.fromEntries(Object.entries(users).filter(([key]) => isMetadataKey(key))),
    ...((template.type === 'sidecar' || alone) && { primary_container_name: raw.primary }),
    [PRIMARY_ANNOTATION]: raw.primary,
    [EXECUTOR_ANNOTATION]: executorKey(identity.runId, identity.action, identity.attempt),
    [INCARNATION_ANNOTATION]: String(identity.incarnation),
    [DEPTH_ANNOTATION]: String(plan.depth),
  };
}
