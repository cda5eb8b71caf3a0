import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { isAlive } from '../../deploy/embedded/processes.ts';
import { podProcesses } from '../support/process-tree.ts';
import { type Server, startServer } from '../support/server.ts';
import { chance } from './random.ts';
import { startTree, type TreeJob } from './tree-job.ts';

/** `kill -9` of the node, again and again, while a tree of Python tasks runs (issue 3, item 4). */
describe('a node that is killed', () => {
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(async () => {
    await server?.stop();
  });

  async function killAndRestart(): Promise<void> {
    await server.kill('SIGKILL');
    await server.restart();
  }
  const moments: Record<string, (job: TreeJob) => Promise<void>> = {
    'right after CreateRun was answered': async () => {},
    'in the burst of enqueued children': async job => job.enqueued(12),
    'between the end of a leaf and its verdict': async job => job.marked('end', 1),
  };
  for (const [words, moment] of Object.entries(moments)) {
    it(`${words}, costs no attempt and doubles no task`, async () => {
      const job = await startTree(server);
      await moment(job);
      await killAndRestart();
      await job.expectSuccess({ once: true });
    });
  }

  // More of them in a row would make the SDK give its object store up in a parent, which aborts its children for ever.
  const KILLS = 2;
  const seeds = process.env.STARLING_CHAOS_SEED ? [Number(process.env.STARLING_CHAOS_SEED)] : [1, 2];
  for (const seed of seeds) {
    it(`at random moments costs no attempt and doubles no task (seed ${seed})`, async () => {
      const { between } = chance(seed);
      const job = await startTree(server);
      let over = false;
      void job.client
        .done()
        .finally(() => {
          over = true;
        })
        .catch(() => {});
      for (let kills = 0; kills < KILLS && !over; kills++) {
        await sleep(between(50, 4_000));
        await killAndRestart();
      }
      await job.expectSuccess({ once: true });
    });
  }

  it('leaves Python processes that the next node adopts', async () => {
    const job = await startTree(server, { paceSeconds: 4 });
    await job.marked('begin', 5);
    await server.kill('SIGKILL');
    const python = podProcesses(server.dataDir);
    await server.restart();
    expect(python.some(isAlive)).to.equal(true);
    await job.expectSuccess({ once: true });
  });

  it('and stays down for twenty seconds runs tasks again that gave the store up meanwhile, though they have no retry', async () => {
    const job = await startTree(server, { paceSeconds: 2 });
    // A parent that gives up itself aborts its children, and no later attempt gets them back: so all are enqueued.
    await job.enqueued(45);
    await server.kill('SIGKILL');
    await sleep(20_000);
    await server.restart();
    // The SDK's `run.wait` gives a server up after fifteen seconds.
    const actions = await job.expectSuccess({ once: false, waited: false });
    expect(Math.max(...actions.map(({ attempt }) => attempt))).to.be.lessThan(4);
    job.client.child.kill();
  });
});
