import { listProcesses, proportionalBytes } from './process-table.ts';

/** What the watch needs of a container: its session, its limit, and how to end it. */
export type MemoryUser = {
  session: number | undefined;
  memoryLimitBytes: number | undefined;
  killForMemory(usedBytes: number): Promise<void>;
};

/**
 * Ends the containers whose processes together hold more memory than their limit allows. Resident sizes are summed first
 * (cheap); only who is over by that sum is measured with shared pages counted once, so forked workers are not wronged.
 * A look, not a wall: between two looks a container may exceed its limit. One pass over the process table per call, none
 * when no container has a limit.
 */
export async function watchMemory(users: MemoryUser[]): Promise<void> {
  const limited = users.filter(
    ({ session, memoryLimitBytes }) => session !== undefined && memoryLimitBytes !== undefined,
  );
  if (limited.length === 0) return;
  const bySession = new Map<number, { pids: number[]; residentBytes: number }>();
  for (const { session } of limited) bySession.set(session!, { pids: [], residentBytes: 0 });
  for (const { pid, session, residentBytes } of await listProcesses()) {
    const sum = bySession.get(session);
    if (!sum) continue;
    sum.pids.push(pid);
    sum.residentBytes += residentBytes;
  }
  for (const user of limited) {
    const { pids, residentBytes } = bySession.get(user.session!)!;
    if (residentBytes <= user.memoryLimitBytes!) continue;
    const shares = pids.map(proportionalBytes).filter(bytes => bytes !== undefined);
    const usedBytes = shares.length > 0 ? shares.reduce((sum, bytes) => sum + bytes, 0) : residentBytes;
    if (usedBytes > user.memoryLimitBytes!) await user.killForMemory(usedBytes);
  }
}
