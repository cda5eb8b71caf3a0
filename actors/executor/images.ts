import type { V1Container } from '@kubernetes/client-node';
import { TaskRefused } from './task-refusal.ts';

/**
 * What an image name means to the pod runtime. `pull`: the image is fetched (Kubernetes). `default-only`: Python tasks run
 * in the server's Python environment, which stands for the SDK's default image and no other. `ignore`: every Python task
 * runs there, whatever its image.
 */
export type ImagePolicy = 'pull' | 'default-only' | 'ignore';

/** Console scripts of the SDK: a container that starts one is a Python task (sdk.md §5.1). */
const SDK_PROGRAMS: ReadonlySet<string> = new Set(['a0', 'clustered', 'fserve', 'c0']);

/** Names the SDK gives to an environment without an image of its own (sdk.md §7.1). */
export function isDefaultImage(image: string): boolean {
  return image === '' || image === 'auto' || /^ghcr\.io\/flyteorg\/flyte(:[^@/]*)?$/.test(image);
}

/** Whether the container runs the Flyte SDK: the first word of its command line says so. */
export function runsPython(container: Pick<V1Container, 'command' | 'args'>): boolean {
  const program = [...(container.command ?? []), ...(container.args ?? [])][0];
  return program !== undefined && SDK_PROGRAMS.has(program.split('/').at(-1)!);
}

/**
 * Makes sure that what a Python task expects of its image can be there.
 * @throws TaskRefused (`ImageNotAvailable`) for an image with layers of its own under policy `default-only`
 */
export function checkImage(container: V1Container, policy: ImagePolicy): void {
  const image = container.image ?? '';
  if (policy !== 'default-only' || !runsPython(container) || isDefaultImage(image)) return;
  throw new TaskRefused(
    'ImageNotAvailable',
    [
      `This task needs the image '${image}', and this server runs tasks as processes in its one Python environment, which stands for the default image only.`,
      'Either leave out image= of the task environment,',
      "or install the packages of the image into the server's Python environment and set executor.images to 'ignore' (then the image of every Python task is ignored),",
      'or use a server that runs pods on Kubernetes.',
    ].join(' '),
  );
}
