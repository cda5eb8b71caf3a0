import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { dataDirKeys } from '../../deploy/keys.ts';
import { type PostgresServer, startPostgresServer } from '../support/postgres-server.ts';
import { type RedisOnPort, startRedisOnPort } from '../support/redis-port.ts';
import { type Server, startServer } from '../support/server.ts';
import { type LeavesJob, startLeaves } from './leaves-job.ts';
import { chance } from './random.ts';

/** Two nodes on one database, one Redis and one object store; one of them keeps dying (design.md §3, "Scaling out"). */
describe('two nodes', () => {
  let postgres: PostgresServer;
  let redis: RedisOnPort;
  let all: Server;
  let helper: Server;
  let job: LeavesJob | undefined;
  before(async () => {
    postgres = await startPostgresServer();
    redis = await startRedisOnPort();
    const shared = { STARLING_DATABASE_URL: postgres.url, STARLING_QUEUES_REDIS_URL: redis.url };
    all = await startServer({ env: shared });
    const { accessKeyId, secretAccessKey } = dataDirKeys(all.dataDir);
    helper = await startServer({
      args: ['--roles', 'gateway,actors'],
      env: {
        ...shared,
        STARLING_STORAGE_KIND: 's3',
        STARLING_STORAGE_ENDPOINT: `http://127.0.0.1:${all.port}/s3`,
        STARLING_STORAGE_ACCESS_KEY_ID: accessKeyId,
        STARLING_STORAGE_SECRET_ACCESS_KEY: secretAccessKey,
      },
    });
  });
  after(async () => {
    job?.close();
    await helper?.stop();
    await all?.stop();
    await redis?.close();
    await postgres?.close();
  });

  it('of which one is killed again and again lose and double nothing in a fan-out of 2,000 leaves (seed 1)', async () => {
    const { between } = chance(1);
    job = await startLeaves([all.endpoint, helper.endpoint], 500);
    let over = false;
    let kills = 0;
    const storm = (async () => {
      while (!over) {
        await sleep(between(100, 1_500));
        await helper.kill('SIGKILL');
        kills += 1;
        await helper.restart();
      }
    })();
    try {
      for (let part = 0; part < 8; part++) await job.enqueue(250);
      await job.seenAll();
    } finally {
      over = true;
      await storm;
    }
    expect(kills).to.be.greaterThan(1);
    expect(job.interruptions, 'the watch on the node that lived').to.deep.equal([]);
    await job.expectAllOnce({ databaseUrl: postgres.url });
  });
});
