import type { V1NodeSelectorRequirement, V1Toleration } from '@kubernetes/client-node';
import { type GPUAccelerator, GPUAccelerator_DeviceClass } from '../../proto/gen/flyteidl2/core/tasks_pb.js';

interface DeviceClass {
  readonly resource: string;
  readonly deviceLabel: string;
  readonly partitionLabel: string;
}

const NVIDIA: DeviceClass = {
  resource: 'nvidia.com/gpu',
  deviceLabel: 'k8s.amazonaws.com/accelerator',
  partitionLabel: 'k8s.amazonaws.com/gpu-partition-size',
};

/** Resource and node labels per device class (executor.md 3.8). */
const CLASSES: ReadonlyMap<number, DeviceClass> = new Map([
  [GPUAccelerator_DeviceClass.NVIDIA_GPU, NVIDIA],
  [
    GPUAccelerator_DeviceClass.GOOGLE_TPU,
    {
      resource: 'google.com/tpu',
      deviceLabel: 'cloud.google.com/gke-tpu-accelerator',
      partitionLabel: 'cloud.google.com/gke-tpu-topology',
    },
  ],
  [GPUAccelerator_DeviceClass.AMAZON_NEURON, { ...NVIDIA, resource: 'aws.amazon.com/neuron' }],
  [GPUAccelerator_DeviceClass.AMD_GPU, { ...NVIDIA, resource: 'amd.com/gpu' }],
  [GPUAccelerator_DeviceClass.HABANA_GAUDI, { ...NVIDIA, resource: 'habana.ai/gaudi' }],
]);

/** Name of the Kubernetes resource that counts the devices a task asks for; unknown classes count as NVIDIA. */
export function acceleratorResource(accelerator: GPUAccelerator | undefined): string {
  return classOf(accelerator).resource;
}

/** Which nodes a pod with this accelerator may go to, and the taints of those nodes (executor.md 3.8). */
export function acceleratorPlacement(accelerator: GPUAccelerator): {
  readonly requirements: V1NodeSelectorRequirement[];
  readonly tolerations: V1Toleration[];
} {
  const { deviceLabel, partitionLabel } = classOf(accelerator);
  const requirements: V1NodeSelectorRequirement[] = [];
  const tolerations: V1Toleration[] = [];
  const pin = (key: string, value: string) => {
    requirements.push({ key, operator: 'In', values: [value] });
    tolerations.push({ key, value, operator: 'Equal', effect: 'NoSchedule' });
  };
  if (accelerator.device !== '') pin(deviceLabel, accelerator.device);
  const partition = accelerator.partitionSizeValue;
  if (partition.case === 'partitionSize' && partition.value !== '') pin(partitionLabel, partition.value);
  if (partition.case === 'unpartitioned' && partition.value) {
    requirements.push({ key: partitionLabel, operator: 'DoesNotExist' });
  }
  return { requirements, tolerations };
}

function classOf(accelerator: GPUAccelerator | undefined): DeviceClass {
  return CLASSES.get(accelerator?.deviceClass ?? GPUAccelerator_DeviceClass.NVIDIA_GPU) ?? NVIDIA;
}
