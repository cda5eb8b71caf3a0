/**
 * Where objects are written before they get their name. Each store instance has a directory of its own, named for its process; what a
 * crashed process left behind is removed when the next store opens the same root.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { disk } from './disk-errors.ts';

/** Instances of this process, so that one store never sweeps another that is open beside it. */
const openInstances = new Set<string>();

export class Scratch {
  readonly path: string;
  readonly #instance: string;
  #drafts = 0;

  private constructor(path: string, instance: string) {
    this.path = path;
    this.#instance = instance;
  }

  static async open(parent: string): Promise<Scratch> {
    const instance = `${process.pid}-${randomBytes(6).toString('hex')}`;
    const path = join(parent, instance);
    openInstances.add(instance);
    await disk(mkdir(path, { recursive: true }), parent);
    for (const other of await disk(readdir(parent), parent)) {
      if (!openInstances.has(other) && !isLive(other))
        await disk(rm(join(parent, other), { recursive: true, force: true }), parent);
    }
    return new Scratch(path, instance);
  }

  /** A fresh path; whoever writes there renames it away or discards it. */
  draft(): string {
    return join(this.path, String(++this.#drafts));
  }

  async discard(draft: string): Promise<void> {
    await unlink(draft).catch(() => {});
  }

  async close(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    openInstances.delete(this.#instance);
  }
}

/** True when the process that made the directory still runs. Our own pid without an open instance is a predecessor's: containers reuse pid 1. */
function isLive(instance: string): boolean {
  const pid = Number.parseInt(instance, 10);
  if (!(pid > 0) || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
