import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { isAlive } from '../../deploy/embedded/processes.ts';
import { podProcesses } from '../support/process-tree.ts';
import { type Server, startServer } from '../support/server.ts';
import { startTree } from './tree-job.ts';

describe('SIGTERM', () => {
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.stop());

  it('drains: exit code 0, task processes go on, and the next start adopts them', async () => {
    const job = await startTree(server, { paceSeconds: 3 });
    await job.marked('begin', 5);
    const askedAt = performance.now();
    await server.kill('SIGTERM');
    expect(await server.ended()).to.equal(0);
    expect(performance.now() - askedAt).to.be.lessThan(15_000);
    const left = podProcesses(server.dataDir);
    expect(left).to.not.deep.equal([]);
    expect(server.processes().toSorted(), 'only task processes outlive the node').to.deep.equal(left.toSorted());
    await server.restart();
    expect(left.some(isAlive)).to.equal(true);
    await job.expectSuccess({ once: true });
  });

  it('a second time leaves at once', async () => {
    // A request that never gets to its end keeps the drain waiting.
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    const path = '/flyteidl2.workflow.RunService/ListRuns';
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/proto\r\ncontent-length: 100\r\n\r\nx`,
    );
    await sleep(300);
    await server.kill('SIGTERM');
    // A signal within the first second counts as the same request (signals.ts).
    await sleep(1_500);
    expect(isAlive(server.pid), 'the drain did not wait for the request').to.equal(true);
    const askedAt = performance.now();
    await server.kill('SIGTERM');
    expect(await server.ended()).to.equal(130);
    expect(performance.now() - askedAt).to.be.lessThan(2_000);
    socket.destroy();
    await server.restart();
  });
});
