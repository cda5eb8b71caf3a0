/** CPU and memory of a server and of everything it started, by what it is: read from /proc, so Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

export type Part = 'node' | 'postgres' | 'redis' | 'other';

export interface Usage {
  readonly cpuMs: Record<Part, number>;
  /** Proportional: a page that several processes share (Postgres' buffers) counts once in all. */
  readonly residentMb: Record<Part, number>;
}

const TICK_MS = 10;

/** Usage of the process tree below `pid`, the root included; CPU of ended children counts for their parents. */
export function usageOf(pid: number): Usage {
  const usage: Usage = { cpuMs: zero(), residentMb: zero() };
  const processes = allProcesses();
  const tree = new Set([pid]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const each of processes) {
      if (!tree.has(each.pid) && tree.has(each.parent)) grew = tree.add(each.pid).has(each.pid);
    }
  }
  for (const each of processes) {
    if (!tree.has(each.pid)) continue;
    const part = partOf(each.name);
    usage.cpuMs[part] += each.ticks * TICK_MS;
    usage.residentMb[part] += proportionalKb(each.pid) / 1024;
  }
  return usage;
}

function proportionalKb(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // it ended while we looked
  }
}

function zero(): Record<Part, number> {
  return { node: 0, postgres: 0, redis: 0, other: 0 };
}

function partOf(name: string): Part {
  if (name.startsWith('node') || name === 'MainThread') return 'node';
  if (name.startsWith('postgres')) return 'postgres';
  if (name.startsWith('redis')) return 'redis';
  return 'other';
}

function allProcesses(): { pid: number; parent: number; name: string; ticks: number }[] {
  return readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .flatMap(entry => {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
        const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const [parent, utime, stime] = [fields[1], fields[11], fields[12]].map(Number);
        return [{ pid: Number(entry), parent: parent!, name, ticks: utime! + stime! }];
      } catch {
        return []; // it ended while we looked
      }
    });
}
