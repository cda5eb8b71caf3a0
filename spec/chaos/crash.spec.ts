import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type Server, startServer } from '../support/server.ts';
import { chance } from './random.ts';
import { askDatabase, startTree } from './tree-job.ts';

/** Power cut: the node, its stores and every task process are gone at one moment. */
describe('a machine that crashes', () => {
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  it('runs what was lost again although no task has a retry, and what was done is not', async () => {
    const job = await startTree(server);
    await job.marked('end', 1);
    const url = await server.databaseUrl();
    const over = async () =>
      askDatabase(
        url,
        `select a.name from action a join run r on r.id = a.run_id where r.name = '${job.run}' and a.phase = 5`,
      );
    let done = await over();
    while (done.length < 10) {
      await sleep(20);
      done = await over();
    }
    await server.crash();
    expect(server.processes()).to.deep.equal([]);
    await server.restart();
    const actions = await job.expectSuccess({ once: false });
    const marks = await job.marks();
    const again = done.filter(name => marks.filter(line => line.startsWith(`begin ${name} `)).length > 1);
    expect(again, 'finished tasks that were executed again').to.deep.equal([]);
    expect(Math.max(...actions.map(({ attempt }) => attempt))).to.be.lessThan(3);
  });

  for (const seed of [1]) {
    it(`at random moments, loses no run (seed ${seed})`, async () => {
      const { between } = chance(seed);
      const job = await startTree(server);
      for (let crashes = 0; crashes < 2; crashes++) {
        await sleep(between(500, 5_000));
        await server.crash();
        await server.restart();
      }
      await job.expectSuccess({ once: false });
    });
  }
});
