import type { V1ResourceRequirements } from '@kubernetes/client-node';
import { type Resources, Resources_ResourceName } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { quantityOf } from './quantity.ts';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

/** What a primary container gets when its task says nothing; absent: nothing is filled in. */
export interface DefaultResources {
  readonly cpu?: string;
  readonly memory?: string;
}

type Quantities = Record<string, string>;

/**
 * Kubernetes resources of a task's container. `gpu` entries become `acceleratorResource` (`nvidia.com/gpu`); STORAGE has
 * no Kubernetes counterpart and is left out; zero amounts mean none (executor.md 3.6).
 * @throws TaskRefused naming the amount that is no quantity
 */
export function resourcesOf(resources: Resources | undefined, acceleratorResource: string): V1ResourceRequirements {
  const requests = entries(resources?.requests ?? [], 'request', acceleratorResource);
  const limits = entries(resources?.limits ?? [], 'limit', acceleratorResource);
  return {
    ...(Object.keys(requests).length > 0 && { requests }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}

function entries(list: Resources['requests'], what: string, acceleratorResource: string): Quantities {
  const quantities: Quantities = {};
  for (const { name, value } of list) {
    const key = resourceKey(name, acceleratorResource);
    if (key === undefined) continue;
    if (amount(value, `${what} of ${key}`) > 0) quantities[key] = value.trim();
  }
  return quantities;
}

function resourceKey(name: Resources_ResourceName, acceleratorResource: string): string | undefined {
  switch (name) {
    case Resources_ResourceName.CPU:
      return 'cpu';
    case Resources_ResourceName.MEMORY:
      return 'memory';
    case Resources_ResourceName.EPHEMERAL_STORAGE:
      return 'ephemeral-storage';
    case Resources_ResourceName.GPU:
      return acceleratorResource;
    default:
      return undefined;
  }
}

/**
 * Completes the resources of the primary container: a missing request takes the limit or the default, a missing limit the
 * request, and a request never exceeds its limit (executor.md 3.6). CPU and memory always, the rest when mentioned.
 * @throws TaskRefused naming the amount that is no quantity
 */
export function completeResources(given: V1ResourceRequirements, defaults: DefaultResources): V1ResourceRequirements {
  const requests: Quantities = { ...given.requests };
  const limits: Quantities = { ...given.limits };
  for (const key of new Set(['cpu', 'memory', ...Object.keys(requests), ...Object.keys(limits)])) {
    const fallback = key === 'cpu' || key === 'memory' ? defaults[key] : undefined;
    const request = requests[key] ?? limits[key] ?? fallback;
    const limit = limits[key] ?? request;
    if (request === undefined || limit === undefined) continue;
    const tooMuch = amount(request, `request of ${key}`) > amount(limit, `limit of ${key}`);
    requests[key] = tooMuch ? limit : request;
    limits[key] = limit;
  }
  const { claims } = given;
  return {
    ...(claims !== undefined && { claims }),
    ...(Object.keys(requests).length > 0 && { requests }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}

function amount(text: string, what: string): number {
  const value = quantityOf(text);
  if (value !== undefined) return value;
  throw new TaskRefused(BAD_TASK, `the ${what} is '${text}', which is no quantity; write 2, 500m, 512Mi or 1.5Gi`);
}
