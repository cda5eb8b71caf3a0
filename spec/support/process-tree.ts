import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

interface Process {
  readonly pid: number;
  readonly parent: number;
}

/**
 * Pids of everything that belongs to a server: the node `pid`, what descends from it, and what an earlier node left behind,
 * which is known by its working directory (a pod, Postgres and Redis all run below the data directory).
 */
export function processesOf(dataDir: string, pid: number): number[] {
  const all = listProcesses();
  const found = new Set<number>();
  for (const one of all) if (one.pid === pid || worksBelow(one.pid, dataDir)) found.add(one.pid);
  for (let grew = true; grew; ) {
    grew = false;
    for (const one of all) {
      if (found.has(one.pid) || !found.has(one.parent)) continue;
      found.add(one.pid);
      grew = true;
    }
  }
  return [...found];
}

/** Pids of everything that runs in the pods of a data directory. */
export function podProcesses(dataDir: string): number[] {
  return listProcesses()
    .filter(({ pid }) => worksBelow(pid, `${dataDir}/pods`))
    .map(({ pid }) => pid);
}

/** Kills all of them; they are stopped first, so that none of them sees another one die and reacts. */
export function killAll(dataDir: string, pid: number): number[] {
  const killed = new Set<number>();
  for (;;) {
    const fresh = processesOf(dataDir, pid).filter(one => !killed.has(one));
    if (fresh.length === 0) break;
    for (const one of fresh) {
      send(one, 'SIGSTOP');
      killed.add(one);
    }
  }
  for (const one of killed) send(one, 'SIGKILL');
  return [...killed];
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself.
  }
}

function worksBelow(pid: number, directory: string): boolean {
  try {
    const where = readlinkSync(`/proc/${pid}/cwd`);
    return where === directory || where.startsWith(`${directory}/`);
  } catch {
    return false;
  }
}

/** Live processes of this machine; one that only waits to be reaped is none. */
function listProcesses(): Process[] {
  return readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .flatMap(entry => {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return state === 'Z' ? [] : [{ pid: Number(entry), parent: Number(parent) }];
      } catch {
        return [];
      }
    });
}
