import path from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { quantityOf } from '../../quantity.ts';
import { DEPTH_ANNOTATION, InvalidPodError } from '../pod-runtime.ts';

const podName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

function fail(field: string, value: unknown, remedy: string): never {
  throw new InvalidPodError(`${field} is ${JSON.stringify(value)}: ${remedy}`);
}

/**
 * Refuses a pod that this runtime can never run or whose names could leave its directory. The rules are those of the
 * Kubernetes API server for the same fields. Throws {@link InvalidPodError}.
 */
export function validatePod(pod: V1Pod): void {
  const name = pod.metadata?.name;
  if (!name || name.length > 253 || !podName.test(name)) {
    fail('metadata.name', name, 'use at most 253 lower-case letters, digits, "-" and "."');
  }
  const depth = pod.metadata?.annotations?.[DEPTH_ANNOTATION];
  if (depth !== undefined && !/^\d{1,9}$/.test(depth)) {
    fail(`metadata.annotations["${DEPTH_ANNOTATION}"]`, depth, 'use a whole number from 0');
  }
  const containers = pod.spec?.containers ?? [];
  if (containers.length === 0) fail('spec.containers', containers, 'give at least one container');

  const volumes = new Set<string>();
  for (const volume of pod.spec?.volumes ?? []) {
    if (volume.name.length > 63 || !label.test(volume.name))
      fail('spec.volumes[].name', volume.name, 'use a DNS label');
    if (volumes.has(volume.name)) fail('spec.volumes[].name', volume.name, 'use each name once');
    volumes.add(volume.name);
  }
  const names = new Set<string>();
  for (const container of [...(pod.spec?.initContainers ?? []), ...containers]) {
    const field = `container ${container.name}`;
    if (container.name.length > 63 || !label.test(container.name)) {
      fail('spec.containers[].name', container.name, 'use a DNS label (at most 63 lower-case letters, digits and "-")');
    }
    if (names.has(container.name)) fail('spec.containers[].name', container.name, 'use each name once in a pod');
    names.add(container.name);
    for (const variable of container.env ?? []) {
      if (!variable.name || /[=\0]/.test(variable.name)) fail(`${field}: env[].name`, variable.name, 'leave out "="');
      if (variable.value?.includes('\0')) fail(`${field}: env ${variable.name}`, variable.value, 'leave out NUL bytes');
    }
    for (const word of [...(container.command ?? []), ...(container.args ?? [])]) {
      if (word.includes('\0')) fail(`${field}: args`, word, 'leave out NUL bytes');
    }
    for (const mount of container.volumeMounts ?? []) {
      if (!volumes.has(mount.name)) fail(`${field}: volumeMounts[].name`, mount.name, 'name a volume of spec.volumes');
      const normal = path.posix.normalize(mount.mountPath);
      if (!path.posix.isAbsolute(normal) || normal === '/') {
        fail(`${field}: volumeMounts[].mountPath`, mount.mountPath, 'use an absolute path below "/"');
      }
      if (mount.subPath?.split('/').includes('..')) {
        fail(`${field}: volumeMounts[].subPath`, mount.subPath, 'use a relative path without ".."');
      }
    }
    const memory = container.resources?.limits?.memory;
    if (memory !== undefined && !((quantityOf(memory) ?? -1) >= 0)) {
      fail(`${field}: resources.limits.memory`, memory, 'use a quantity such as "512Mi"');
    }
  }
}
