import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { isAlive } from '../../deploy/embedded/processes.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisOnPort, startRedisOnPort } from '../support/redis-port.ts';
import { type Server, startServer } from '../support/server.ts';
import { type LeavesJob, startLeaves } from './leaves-job.ts';

/** Redis holds doorbells, not work: losing it costs time only (I5). */
describe('a Redis that is lost', () => {
  let server: Server;
  let job: LeavesJob | undefined;
  afterEach(() => job?.close());

  describe('the embedded one', () => {
    before(async () => {
      server = await startServer();
    });
    after(() => server?.stop());
    const redisPid = async () => Number(await readFile(path.join(server.dataDir, 'run', 'redis.pid'), 'utf8'));

    it('is started again each time it is killed, and every leaf ends once', async () => {
      job = await startLeaves([server.endpoint], 1_500);
      const pids = new Set<number>();
      const burst = job.enqueue(800);
      for (let kills = 0; kills < 3; kills++) {
        await sleep(700);
        const pid = await eventually(async () => {
          const found = await redisPid();
          return isAlive(found) && !pids.has(found) && found;
        }, 30_000);
        pids.add(pid as number);
        process.kill(pid as number, 'SIGKILL');
      }
      await burst;
      await job.seenAll();
      const last = await eventually(async () => {
        const found = await redisPid();
        return isAlive(found) && found;
      }, 30_000);
      expect(pids.has(last as number)).to.equal(false);
      await job.expectAllOnce({ databaseUrl: await server.databaseUrl() });
    });
  });

  describe('one of an installation', () => {
    let redis: RedisOnPort;
    before(async () => {
      redis = await startRedisOnPort();
      server = await startServer({ env: { STARLING_QUEUES_REDIS_URL: redis.url } });
    });
    after(async () => {
      await server?.stop();
      await redis?.close();
    });

    it('is away for fifteen seconds: leaves are accepted and end meanwhile, and none is lost when it is back', async () => {
      job = await startLeaves([server.endpoint], 3_000);
      await job.enqueue(300);
      await redis.kill();
      const awayAt = performance.now();
      await job.enqueue(100);
      expect(performance.now() - awayAt, 'an Enqueue waited for Redis').to.be.lessThan(10_000);
      await job.seenAll(60_000);
      await sleep(Math.max(0, 15_000 - (performance.now() - awayAt)));
      expect((await fetch(`http://${server.endpoint}/readyz`)).status).to.equal(200);
      await redis.start();
      await job.enqueue(300);
      await job.seenAll();
      await job.expectAllOnce({ databaseUrl: await server.databaseUrl() });
    });

    it('forgets everything while a thousand leaves sleep: all end once', async () => {
      job = await startLeaves([server.endpoint], 6_000);
      await job.enqueue(1_000);
      await redis.flushAll();
      await job.seenAll();
      await job.expectAllOnce({ databaseUrl: await server.databaseUrl() });
    });
  });
});
