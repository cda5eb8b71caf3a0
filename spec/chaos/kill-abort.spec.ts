import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { BenchClient } from '../bench/connect-client.ts';
import { eventually } from '../support/eventually.ts';
import { expectHistory } from '../support/history.ts';
import { podProcesses } from '../support/process-tree.ts';
import { type Server, startServer } from '../support/server.ts';
import { startTree, type TreeJob } from './tree-job.ts';

const SUCCEEDED = 5;
const ABORTED = 7;

/** A node that is killed while an abort is on its way down the tree. */
describe('an abort that is interrupted', () => {
  let server: Server;
  let client: BenchClient;
  before(async () => {
    server = await startServer();
    client = new BenchClient(server.endpoint);
  });
  after(async () => {
    client?.close();
    await server?.stop();
  });

  const abort = (job: TreeJob) =>
    client.call(RunService.method.abortRun, {
      runId: { org: '', project: 'flytesnacks', domain: 'development', name: job.run },
      reason: 'enough of this',
    });

  for (const afterMs of [0, 60, 400]) {
    it(`by a kill ${afterMs} ms after it was accepted, ends everything as aborted and every process`, async () => {
      const job = await startTree(server, { task: 'forest', paceSeconds: 300 });
      await job.marked('begin', 4);
      expect(podProcesses(server.dataDir)).to.not.deep.equal([]);
      await abort(job);
      await sleep(afterMs);
      await server.kill('SIGKILL');
      await server.restart();
      expect(await job.client.done()).to.include('phase aborted');
      const { actions } = await expectHistory({
        databaseUrl: await server.databaseUrl(),
        podsDir: `${server.dataDir}/pods`,
      });
      const ours = actions.filter(({ run }) => run === job.run);
      const tasks = ours.filter(action => action.task_type !== '');
      expect(tasks.length).to.be.greaterThan(4);
      // A nap may have been over before.
      const others = tasks.filter(
        ({ phase, task_type }) => !(phase === ABORTED || (phase === SUCCEEDED && task_type === 'core-sleep')),
      );
      expect(others.map(({ name, phase }) => ({ name, phase }))).to.deep.equal([]);
      expect(ours.find(({ name }) => name === 'a0')?.abort_reason).to.equal('enough of this');
      await eventually(() => podProcesses(server.dataDir).length === 0);
      expect((await job.marks()).filter(line => line.startsWith('end'))).to.deep.equal([]);
    });
  }
});
