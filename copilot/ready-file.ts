import { access, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemFailure } from './failure.ts';

const LOOK_EVERY_MS = 20;

/** Creates `file` (and its directory): the uploader says that it will not miss the end of the main container. */
export const announceReady = async (file: string): Promise<void> => {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, '');
};

/**
 * Waits until `file` is there. Looks instead of watching: file-change events do not cross the mounts of every container runtime.
 *
 * @throws CopilotFailure when `signal` ends the wait.
 */
export const awaitReady = async (file: string, signal: AbortSignal): Promise<void> => {
  const isThere = () =>
    access(file).then(
      () => true,
      () => false,
    );
  while (!(await isThere())) {
    if (signal.aborted) {
      throw systemFailure(`${file} did not appear in time: the upload sidecar has not started; look at its log`);
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
  }
};
