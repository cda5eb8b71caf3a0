import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { ProcessContainer } from '../../../../../actors/executor/runtime/process/process-container.ts';
import { shell, until } from './pod-bench.ts';

describe('container of processes', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'starling-container-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const open = () => new ProcessContainer(shell('any'), 'sidecar', path.join(dir, 'main'), () => {});
  const runToEnd = async (container: ProcessContainer, script: string) => {
    await container.launch(async () => ({
      command: ['sh', '-c', script],
      env: { PATH: process.env.PATH! },
      workDir: dir,
      niceness: 5,
    }));
    await until('it has ended', async () => {
      await container.refresh();
      return !container.running;
    });
  };

  it('keeps the last outcome and one log over the restarts of a sidecar, also for a later node', async () => {
    const container = open();
    await runToEnd(container, 'echo one; exit 3');
    container.restart();
    expect(container.view()).to.deep.include({ state: { is: 'waiting' }, restarts: 1 });
    await runToEnd(container, 'echo two; nice; exit 4');
    const later = open();
    await later.load();
    for (const { state, lastOutcome, restarts } of [container.view(), later.view()]) {
      expect(state.is === 'ended' && state.outcome.exitCode).to.equal(4);
      expect(lastOutcome!.exitCode).to.equal(3);
      expect(restarts).to.equal(1);
    }
    const lines: string[] = [];
    for await (const { text } of later.log.read({ fromByte: 0, follow: false, ended: () => true, signal: undefined })) {
      lines.push(text);
    }
    expect(lines).to.deep.equal(['one', 'two', String(Math.max(5, os.getPriority()))]);
  });

  it('ends with StartError when it cannot be started, naming the place', async () => {
    const container = open();
    await container.launch(() => Promise.reject(new Error('no room')));
    const { state } = container.view();
    expect(state.is === 'ended' && state.outcome).to.include({ exitCode: 128, reason: 'StartError' });
    expect(state.is === 'ended' && state.outcome.message)
      .to.contain(dir)
      .and.to.contain('no room');
  });
});
