import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { V1Container, V1Pod, V1Volume } from '@kubernetes/client-node';
import { ContainerConfigError, type PathMapping } from './container-command.ts';

/**
 * Directories that stand for the volumes of a container, created if need be. An emptyDir is a directory of the pod that its
 * containers share (a size limit or memory medium is not enforced), a hostPath is itself. Other kinds need a cluster:
 * {@link ContainerConfigError}.
 */
export async function mountVolumes(pod: V1Pod, container: V1Container, volumesDir: string): Promise<PathMapping[]> {
  const mappings: PathMapping[] = [];
  for (const mount of container.volumeMounts ?? []) {
    const volume = pod.spec?.volumes?.find(({ name }) => name === mount.name);
    const root = volume && rootOf(volume, volumesDir);
    if (!root) {
      const kinds = Object.keys(volume ?? {}).filter(key => key !== 'name');
      throw new ContainerConfigError(
        `volume "${mount.name}" (${kinds.join(', ') || 'no kind'}) of container ${container.name} needs a cluster: on the process runtime use emptyDir or hostPath`,
      );
    }
    const hostPath = path.join(root, mount.subPath ?? '');
    if (volume.emptyDir) await mkdir(hostPath, { recursive: true });
    mappings.push({ mountPath: path.posix.normalize(`${mount.mountPath}/`).slice(0, -1), hostPath });
  }
  return mappings;
}

function rootOf(volume: V1Volume, volumesDir: string): string | undefined {
  if (volume.emptyDir) return path.join(volumesDir, volume.name);
  return volume.hostPath?.path;
}

/**
 * Where a container's process starts: its workingDir when that lies in a volume, else a directory of its own in the pod.
 * Every container has one, so relative paths of two containers never meet, as with two root file systems.
 */
export function workDirectory(container: V1Container, mappings: PathMapping[], workRoot: string): string {
  const wanted = path.posix.normalize(path.posix.join('/', container.workingDir ?? '', '.'));
  const longestFirst = mappings.toSorted((a, b) => b.mountPath.length - a.mountPath.length);
  const volume = longestFirst.find(({ mountPath }) => wanted === mountPath || wanted.startsWith(`${mountPath}/`));
  if (volume) return path.join(volume.hostPath, wanted.slice(volume.mountPath.length));
  return path.join(workRoot, container.name, wanted);
}
