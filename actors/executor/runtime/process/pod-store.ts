import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { PodStoreError } from '../pod-runtime.ts';

/** A pod as it is kept. `sequence` grows with every pod: the order in which they wait for a slot. */
export type StoredPod = { sequence: number; pod: V1Pod };

/** A request to end a pod. `killAtMs`: epoch milliseconds after which processes still alive get SIGKILL. */
export type Deletion = { killAtMs: number };

const remedies: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space or use another data directory',
  EDQUOT: 'the disk quota is used up; free some space or use another data directory',
  ENOENT: 'the directory is gone; restart the server, or create it again',
  EACCES: 'the server may not write there; correct the permissions or use another data directory',
  EROFS: 'the file system is read-only; use another data directory',
};

/** A sentence that names path and remedy for a failed file operation. */
export function storeError(doing: string, at: string, cause: unknown): PodStoreError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  return new PodStoreError(`cannot ${doing} in ${at}: ${remedies[code] ?? (cause as Error).message}`, at, cause);
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The directory of all pods of one runtime:
 *
 *   <dir>/<pod>/pod.json                    the pod and its sequence; there before the directory has its name
 *   <dir>/<pod>/admitted                    empty; its time is the pod's start time (it has a slot)
 *   <dir>/<pod>/expired                     empty; it has failed by its deadline
 *   <dir>/<pod>/deletion.json               it shall end, and when patience ends
 *   <dir>/<pod>/containers/<c>/log, log.times, <n>/…     one container and its runs (log-file.ts, run-directory.ts)
 *   <dir>/<pod>/volumes/<v>, work/<c>       what the processes see
 *   <dir>/.new-*, .gone-*                   not yet and no longer a pod: swept by the next start
 *
 * A pod appears and disappears by one rename, so there is no half of one.
 */
export class PodStore {
  readonly dir: string;
  private readonly log: Logger;

  constructor(dir: string, log: Logger) {
    this.dir = dir;
    this.log = log;
  }

  podDir(name: string): string {
    return path.join(this.dir, name);
  }

  /** Creates the directory if need be, sweeps leftovers, and reads all pods, oldest first. */
  async load(): Promise<StoredPod[]> {
    try {
      await mkdir(this.dir, { recursive: true });
      const entries = await readdir(this.dir);
      const leftovers = entries.filter(entry => entry.startsWith('.'));
      await Promise.all(leftovers.map(entry => this.sweep(path.join(this.dir, entry))));
      const pods = await Promise.all(entries.filter(entry => !entry.startsWith('.')).map(entry => this.read(entry)));
      return pods.flat().sort((a, b) => a.sequence - b.sequence);
    } catch (error) {
      throw storeError('read the pods', this.dir, error);
    }
  }

  private async read(entry: string): Promise<StoredPod[]> {
    try {
      const stored = JSON.parse(await readFile(path.join(this.dir, entry, 'pod.json'), 'utf8')) as StoredPod;
      const metadata = stored.pod.metadata!;
      metadata.creationTimestamp = new Date(metadata.creationTimestamp!);
      return [stored];
    } catch (error) {
      // One unreadable directory must not keep the others from being adopted (I8); it stays for a person to look at.
      this.log.error({ err: error, path: path.join(this.dir, entry) }, 'pod directory is unreadable and left alone');
      return [];
    }
  }

  /** Stores a new pod; durable when it returns. Throws {@link PodStoreError}. */
  async add(stored: StoredPod): Promise<'created' | 'exists'> {
    const name = stored.pod.metadata!.name!;
    const draft = path.join(this.dir, `.new-${randomUUID()}`);
    try {
      await mkdir(draft);
      await writeDurably(path.join(draft, 'pod.json'), JSON.stringify(stored));
      await syncDirectory(draft);
      await rename(draft, this.podDir(name));
      await syncDirectory(this.dir);
      return 'created';
    } catch (error) {
      await rm(draft, { recursive: true, force: true }).catch(() => {});
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') return 'exists';
      throw storeError(`store pod ${name}`, this.dir, error);
    }
  }

  /** Writes down that something has happened to a pod; the time of the empty file is when. */
  async mark(name: string, what: 'admitted' | 'expired'): Promise<void> {
    await writeFile(path.join(this.podDir(name), what), '', { flag: 'a' }).catch(error => {
      throw storeError(`mark pod ${name} as ${what}`, this.podDir(name), error);
    });
  }

  /** When {@link mark} was first called, in epoch milliseconds. */
  async markedAtMs(name: string, what: 'admitted' | 'expired'): Promise<number | undefined> {
    const found = await stat(path.join(this.podDir(name), what)).catch(() => undefined);
    return found && Math.round(found.mtimeMs);
  }

  /** Writes down that a pod shall end; durable when it returns. Throws {@link PodStoreError}. */
  async requestDeletion(name: string, deletion: Deletion): Promise<void> {
    const dir = this.podDir(name);
    try {
      const draft = path.join(dir, `deletion.${randomUUID()}`);
      await writeDurably(draft, JSON.stringify(deletion));
      await rename(draft, path.join(dir, 'deletion.json'));
      await syncDirectory(dir);
    } catch (error) {
      throw storeError(`delete pod ${name}`, dir, error);
    }
  }

  async readDeletion(name: string): Promise<Deletion | undefined> {
    const text = await readFile(path.join(this.podDir(name), 'deletion.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as Deletion);
  }

  /** Takes a pod's name away; the path its files have then is for {@link sweep}. Undefined when there is nothing. */
  async detach(name: string): Promise<string | undefined> {
    const gone = path.join(this.dir, `.gone-${randomUUID()}`);
    try {
      await rename(this.podDir(name), gone);
      return gone;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw storeError(`remove pod ${name}`, this.podDir(name), error);
    }
  }

  /** Deletes the files of a detached pod; what is left after an error goes with the next start. */
  async sweep(gone: string): Promise<void> {
    await rm(gone, { recursive: true, force: true, maxRetries: 3 }).catch(error => {
      this.log.warn({ err: error, path: gone }, 'files of a removed pod stay until the next start');
    });
  }
}
