import { execFile } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { promisify } from 'node:util';

/** One live process. Zombies are not listed: nothing of them runs any more. */
export type ProcessRow = {
  pid: number;
  parent: number;
  /** Process group. */
  group: number;
  /** Session on Linux; macOS does not tell, there it is the process group. */
  session: number;
  residentBytes: number;
  /** Tells this process from a later one with the same pid (see {@link identityOf}). */
  identity: string;
};

const linux = process.platform === 'linux';
const run = promisify(execFile);

/** Locale and zone are fixed: start times in words are compared with those an earlier node has written down. */
const psOptions = { env: { PATH: '/bin:/usr/bin', LC_ALL: 'C', TZ: 'UTC' }, maxBuffer: 16 * 1024 * 1024 };
const psColumns = 'pid=,ppid=,pgid=,stat=,rss=,lstart=';

/** AT_PAGESZ of the auxiliary vector: 4 KiB on x86, 16 or 64 KiB on some ARM kernels. */
function readPageBytes(): number {
  if (!linux) return 4096;
  const vector = readFileSync('/proc/self/auxv');
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    if (vector.readBigUInt64LE(at) === 6n) return Number(vector.readBigUInt64LE(at + 8));
  }
  return 4096;
}
const pageBytes = readPageBytes();

/** Kernel threads (half of the table on many machines) never become ours; forgotten now and then as pids are used again. */
let kernelThreads = new Set<string>();
let kernelThreadsReadAt = 0;
let bootId: string | undefined;

/** Start times count from boot, so they only mean something together with the boot they belong to. */
function boot(): string {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return bootId;
}

const buffer = Buffer.allocUnsafe(1024);

function readStat(pid: string): string | undefined {
  try {
    const file = openSync(`/proc/${pid}/stat`, 'r');
    try {
      return buffer.toString('latin1', 0, readSync(file, buffer, 0, buffer.length, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined; // it ended meanwhile
  }
}

/** /proc/PID/stat: the name may hold spaces and brackets, so everything is counted from the last bracket. */
function parseStat(pid: string, stat: string): ProcessRow | 'kernel' | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  if (fields[1] === '2' || pid === '2') return 'kernel';
  if (state === 'Z' || state === 'X') return undefined;
  return {
    pid: Number(pid),
    parent: Number(fields[1]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    residentBytes: Number(fields[21]) * pageBytes,
    identity: `${boot()} ${fields[19]}`,
  };
}

function listLinux(): ProcessRow[] {
  const rows: ProcessRow[] = [];
  if (Date.now() - kernelThreadsReadAt > 10_000) {
    kernelThreads = new Set();
    kernelThreadsReadAt = Date.now();
  }
  for (const pid of readdirSync('/proc')) {
    const first = pid.charCodeAt(0);
    if (first < 48 || first > 57 || kernelThreads.has(pid)) continue;
    const stat = readStat(pid);
    if (stat === undefined) continue;
    const row = parseStat(pid, stat);
    if (row === 'kernel') kernelThreads.add(pid);
    else if (row) rows.push(row);
  }
  return rows;
}

/** Columns of `ps -o pid=,ppid=,pgid=,stat=,rss=,lstart=`, which BSD and procps agree on. */
function parsePs(text: string): ProcessRow[] {
  const rows: ProcessRow[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\d+)\s+(.+?)\s*$/.exec(line);
    if (!match || match[4]!.startsWith('Z')) continue;
    const group = Number(match[3]);
    rows.push({
      pid: Number(match[1]),
      parent: Number(match[2]),
      group,
      session: group,
      residentBytes: Number(match[5]) * 1024,
      identity: match[6]!,
    });
  }
  return rows;
}

/**
 * All live processes of this machine that we may see. Costs about 15 µs per process on Linux (measured, kernel threads left
 * out); on other systems one `ps`, so callers there should ask less often.
 */
export async function listProcesses(): Promise<ProcessRow[]> {
  if (linux) return listLinux();
  return listWithPs();
}

/** {@link listProcesses} where there is no /proc. */
export async function listWithPs(): Promise<ProcessRow[]> {
  const { stdout } = await run('ps', ['-axo', psColumns], psOptions);
  return parsePs(stdout);
}

/**
 * What tells the process that has this pid now from any other that had or will have it: boot and start time on Linux, the
 * start time in words elsewhere (to a second). Undefined when there is none, or only a zombie.
 */
export async function identityOf(pid: number): Promise<string | undefined> {
  if (linux) {
    const stat = readStat(String(pid));
    const row = stat === undefined ? undefined : parseStat(String(pid), stat);
    return row === 'kernel' ? undefined : row?.identity;
  }
  const found = await run('ps', ['-o', psColumns, '-p', String(pid)], psOptions).catch(() => undefined);
  return parsePs(found?.stdout ?? '')[0]?.identity;
}

/**
 * Memory of a process that is its own, in bytes: pages shared with others count by their share. Forked workers share most of
 * theirs, and a sum of resident sizes would count those pages once per worker. Elsewhere than on Linux: undefined.
 */
export function proportionalBytes(pid: number): number | undefined {
  if (!linux) return undefined;
  try {
    const match = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
    return match ? Number(match[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
}

/** Pids whose environment at exec holds `NAME=value`. Linux only; elsewhere the answer is empty. */
export function processesWithVariable(variable: string, value: string): number[] {
  if (!linux) return [];
  const wanted = Buffer.from(`${variable}=${value}\0`);
  return listLinux()
    .filter(row => {
      try {
        return readFileSync(`/proc/${row.pid}/environ`).includes(wanted);
      } catch {
        return false; // ended, or another user's
      }
    })
    .map(row => row.pid);
}

/**
 * Sends a signal to a process, or to a whole group when `pid` is negative; 0 only asks. False when there is nobody to get it.
 */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    if ((error as NodeJS.ErrnoException).code === 'EPERM') return false; // macOS says EPERM for a group of zombies
    throw error;
  }
}
