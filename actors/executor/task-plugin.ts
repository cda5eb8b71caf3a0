import type { TaskTemplate } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { CORE_SLEEP } from '../action/core-sleep.ts';
import { checkImage, type ImagePolicy, runsPython } from './images.ts';
import { rawPod } from './raw-pod.ts';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

/** What the pod runtime of this installation is able to do. */
export interface RuntimeAbilities {
  readonly images: ImagePolicy;
  /** The pods run on a Mac with Apple silicon, where a task may use its GPU (sdk-2.12.md 2.8). */
  readonly appleSilicon: boolean;
  /** The runtime knows Kubernetes PodTemplate objects by name. */
  readonly podTemplates: boolean;
}

/** Task types that are one pod. `actor` is the type of reusable environments, run as ordinary pods (sdk.md §5.8). */
export const POD_TYPES: readonly string[] = [
  'python',
  'python-task',
  'container',
  'raw-container',
  'sidecar',
  'pod',
  'actor',
];

/** Task types that need a set of pods or an operator. */
const CLUSTER_TYPES: ReadonlySet<string> = new Set([
  'clustered-task',
  'spark',
  'ray',
  'dask',
  'pytorch',
  'tensorflow',
  'mpi',
]);

/** `device_class` of AppleSilicon, newer than the contract we compile (sdk-2.12.md 2.8). */
const APPLE_SILICON_CLASS: number = 5;

/**
 * Makes sure that the task can run here at all, before anything is created for it. Task types are told apart without
 * regard to case, because the SDK's plug-ins do not agree on it.
 * @throws TaskRefused with what is missing and what to do
 */
export function checkTask(template: TaskTemplate, abilities: RuntimeAbilities): void {
  checkType(template);
  const { primary, spec } = rawPod(template);
  const container = spec.containers.find(({ name }) => name === primary)!;
  if (runsPython(container) && program(container) === 'clustered') throw clusterNeeded('clustered-task');
  const accelerator = template.extendedResources?.gpuAccelerator;
  const apple = accelerator?.deviceClass === APPLE_SILICON_CLASS || accelerator?.device === 'AppleSilicon';
  if (apple && !abilities.appleSilicon) {
    throw new TaskRefused(
      'APPLE_SILICON_NOT_AVAILABLE',
      "The task asks for gpu='AppleSilicon', and the pods of this server do not run on such a machine; start the server on a Mac with Apple silicon, or ask for another device.",
    );
  }
  const named = template.metadata?.podTemplateName ?? '';
  if (named !== '' && !abilities.podTemplates) {
    throw new TaskRefused(
      BAD_TASK,
      `The task names the pod template '${named}', which is an object of a Kubernetes cluster, and there is none here; give the template itself: pod_template=flyte.PodTemplate(...).`,
    );
  }
  checkImage(container, abilities.images);
}

function checkType({ type }: TaskTemplate): void {
  if (POD_TYPES.includes(type.toLowerCase())) return;
  if (CLUSTER_TYPES.has(type.toLowerCase())) throw clusterNeeded(type);
  throw new TaskRefused(
    'PluginNotFound',
    `No plug-in here runs tasks of type '${type}'; supported are ${[...POD_TYPES, CORE_SLEEP].join(', ')}. Use one of these, or a server with a connector for '${type}'.`,
  );
}

function clusterNeeded(type: string): TaskRefused {
  return new TaskRefused(
    'PluginNotFound',
    `Tasks of type '${type}' need several pods that know each other, and the executor of this server runs single pods only (${POD_TYPES.join(', ')}); use one of these types, or a server with the '${type}' plug-in.`,
  );
}

function program(container: { command?: string[]; args?: string[] }): string | undefined {
  return [...(container.command ?? []), ...(container.args ?? [])][0]?.split('/').at(-1);
}
