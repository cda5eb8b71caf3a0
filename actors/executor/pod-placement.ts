import type { V1Affinity, V1PodSpec } from '@kubernetes/client-node';
import { acceleratorPlacement } from './accelerators.ts';
import type { PodInput, PodSettings } from './pod-input.ts';
import type { RawPod } from './raw-pod.ts';

/** Which nodes a pod may go to: what its own spec says, narrowed by what the run and the accelerator demand. */
export function podPlacement(
  spec: Partial<V1PodSpec>,
  input: PodInput,
  settings: PodSettings,
  raw: RawPod,
): Partial<V1PodSpec> {
  const interruptible = isInterruptible(input) ? settings.interruptible : undefined;
  const accelerator = acceleratorOf(input, raw);
  const tolerations = [
    ...(interruptible?.tolerations ?? []),
    ...(accelerator?.tolerations ?? []),
    ...(spec.tolerations ?? []),
  ];
  const requirements = accelerator?.requirements ?? [];
  return {
    ...(tolerations.length > 0 && { tolerations }),
    ...(interruptible?.nodeSelector !== undefined && {
      nodeSelector: { ...interruptible.nodeSelector, ...spec.nodeSelector },
    }),
    ...(requirements.length > 0 && { affinity: requireNodes(spec.affinity, requirements) }),
  };
}

function isInterruptible({ runSpec, template }: PodInput): boolean {
  return runSpec.interruptible ?? template.metadata?.interruptibleValue.value === true;
}

/** Placement counts only when a container really asks for a device (executor.md 3.8). */
function acceleratorOf(input: PodInput, raw: RawPod) {
  const accelerator = input.template.extendedResources?.gpuAccelerator;
  if (accelerator === undefined) return undefined;
  const counted = /\/(gpu|tpu|neuron|gaudi)$/;
  const asks = raw.spec.containers.some(container =>
    Object.keys({ ...container.resources?.limits, ...container.resources?.requests }).some(key => counted.test(key)),
  );
  return asks ? acceleratorPlacement(accelerator) : undefined;
}

/** Terms are alternatives, so a requirement goes into every one of them. */
function requireNodes(
  affinity: V1Affinity | undefined,
  requirements: ReturnType<typeof acceleratorPlacement>['requirements'],
): V1Affinity {
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required === undefined || required.nodeSelectorTerms.length === 0 ? [{}] : required.nodeSelectorTerms;
  return {
    ...affinity,
    nodeAffinity: {
      ...affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map(term => ({
          ...term,
          matchExpressions: [...('matchExpressions' in term ? (term.matchExpressions ?? []) : []), ...requirements],
        })),
      },
    },
  };
}
