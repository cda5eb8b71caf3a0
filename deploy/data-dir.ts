/**
 * The data directory: exists, may be written, has room, is of a version we know, and is ours alone while we run.
 *
 * The lock is a file with the pid of its owner and the moment that process began, so that a pid which belongs to somebody else by now does
 * not count. A killed owner's lock is taken over.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, startMoment } from './embedded/processes.ts';
import { StartError } from './start-error.ts';

/** Raised when a newer Starling keeps things that an older one would misread. */
const LAYOUT_VERSION = 1;
const MIB = 1024 * 1024;
const REFUSE_BELOW_BYTES = 200 * MIB;
const WARN_BELOW_BYTES = 1024 * MIB;
/** An owner that was killed together with its terminal may need a moment to go. */
const PATIENCE_MS = 3_000;
const PATIENCE_WHILE_STOPPING_MS = 60_000;

/** The data directory cannot be used: the message says why and what to do. */
export class DataDirError extends StartError {
  override name = 'DataDirError';
}

export interface DataDir {
  readonly path: string;
  /** Things to say that do not stop the start. */
  readonly warnings: readonly string[];
  /** Whether this is its first start. */
  readonly isNew: boolean;
  /** Tells whoever finds the lock what we are doing. */
  describe(state: { doing: 'starting' | 'serving' | 'stopping'; endpoint?: string }): void;
  /** Gives the lock back. */
  release(): void;
}

interface Owner {
  pid: number;
  since: string;
  doing: 'starting' | 'serving' | 'stopping';
  endpoint?: string;
}

/**
 * Makes the directory if need be, checks it and locks it. Directories inside are closed to other users.
 * @throws DataDirError
 */
export async function openDataDir(directory: string): Promise<DataDir> {
  makeWritable(directory);
  const warnings = checkRoom(directory);
  const isNew = checkVersion(directory);
  const lockFile = path.join(directory, 'lock');
  await lock(lockFile, directory);
  for (const name of ['logs', 'run', 'objects', 'work'])
    mkdirSync(path.join(directory, name), { recursive: true, mode: 0o700 });
  return {
    path: directory,
    warnings,
    isNew,
    describe: state => writeFileSync(lockFile, ownerRecord(state)),
    release: () => rmSync(lockFile, { force: true }),
  };
}

function makeWritable(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const probe = path.join(directory, `.probe-${process.pid}`);
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? 'this user may not write to it'
        : code === 'ENOTDIR' || code === 'EEXIST'
          ? 'something on its path is not a directory'
          : code === 'ENOSPC'
            ? 'the disk is full'
            : message;
    throw new DataDirError(
      `The data directory ${directory} cannot be used: ${why}. Choose another with --data-dir or STARLING_DATA_DIR.`,
    );
  }
}

function checkRoom(directory: string): string[] {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  const words = `Only ${Math.floor(free / MIB)} MB are free on the disk of the data directory ${directory}`;
  if (free < REFUSE_BELOW_BYTES)
    throw new DataDirError(`${words}: too little to start. Free some, or choose another with --data-dir.`);
  return free < WARN_BELOW_BYTES ? [`${words}; runs will fail when it is full.`] : [];
}

function checkVersion(directory: string): boolean {
  const file = path.join(directory, 'version.json');
  if (!statSync(file, { throwIfNoEntry: false })) {
    writeFileSync(file, `${JSON.stringify({ layout: LAYOUT_VERSION })}\n`);
    return true;
  }
  const { layout } = JSON.parse(readFileSync(file, 'utf8')) as { layout: number };
  if (layout <= LAYOUT_VERSION) return false;
  throw new DataDirError(
    `The data directory ${directory} was last used by a newer Starling (layout ${layout}; this one knows up to ${LAYOUT_VERSION}). Start that version, or choose another directory with --data-dir.`,
  );
}

async function lock(lockFile: string, directory: string): Promise<void> {
  const askedAt = Date.now();
  for (;;) {
    try {
      const file = openSync(lockFile, 'wx', 0o600);
      writeSync(file, ownerRecord({ doing: 'starting' }));
      closeSync(file);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = readOwner(lockFile);
    if (owner && isAlive(owner.pid) && startMoment(owner.pid) === owner.since) {
      const waited = Date.now() - askedAt;
      if (waited > (owner.doing === 'stopping' ? PATIENCE_WHILE_STOPPING_MS : PATIENCE_MS)) {
        const where = owner.endpoint ? ` at ${owner.endpoint}` : '';
        throw new DataDirError(
          `Another Starling (pid ${owner.pid}) is already ${owner.doing}${where} on the data directory ${directory}. Stop it first, or give this one its own --data-dir and --port.`,
        );
      }
      await sleep(100);
    } else {
      rmSync(lockFile, { force: true });
    }
  }
}

function ownerRecord(state: { doing: Owner['doing']; endpoint?: string }): string {
  const owner: Owner = { pid: process.pid, since: startMoment(process.pid) ?? '', ...state };
  return `${JSON.stringify(owner)}\n`;
}

function readOwner(lockFile: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}
