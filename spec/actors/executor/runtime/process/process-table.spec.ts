import { expect } from 'chai';
import {
  identityOf,
  listProcesses,
  listWithPs,
  sendSignal,
} from '../../../../../actors/executor/runtime/process/process-table.ts';

describe('table of processes', () => {
  it('lists this process with its parent, group and memory, by /proc and by ps alike', async () => {
    for (const rows of [await listProcesses(), await listWithPs()]) {
      const self = rows.find(({ pid }) => pid === process.pid)!;
      expect(self.parent).to.equal(process.ppid);
      expect(self.group).to.be.greaterThan(0);
      expect(self.residentBytes / process.memoryUsage.rss()).to.be.within(0.5, 2);
      expect(self.identity).to.not.equal('');
    }
  });

  it('gives a process one identity for life, and none to a pid that nobody has', async () => {
    expect(await identityOf(process.pid)).to.equal(await identityOf(process.pid));
    const row = (await listProcesses()).find(({ pid }) => pid === process.pid)!;
    expect(await identityOf(process.pid)).to.equal(row.identity);
    expect(await identityOf(2 ** 22 + 1)).to.equal(undefined);
    expect(sendSignal(2 ** 22 + 1, 0)).to.equal(false);
  });
});
