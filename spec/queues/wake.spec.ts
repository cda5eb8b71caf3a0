import { expect } from 'chai';
import pino from 'pino';
import { openQueueStore, type QueueStore, QueueStoreUnavailable } from '../../queues/store.ts';
import { eventually } from '../support/eventually.ts';
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts';
import { type RedisServer, startRedis, storesUnderTest } from '../support/stores.ts';

const log = pino({ level: 'silent' });

for (const kind of storesUnderTest) {
  describe(`wake queues on ${kind}`, () => {
    let fresh: FreshDatabase | undefined;
    let redis: RedisServer | undefined;
    let store: QueueStore;
    let serial = 0;
    let actorKind = '';

    before(async () => {
      if (kind === 'redis') redis = await startRedis();
      else fresh = await freshDatabase();
      store = await open();
    });
    beforeEach(() => {
      actorKind = `kind-${serial++}`;
    });
    after(async () => {
      await store.close();
      await redis?.close();
      await fresh?.drop();
    });

    const open = () =>
      openQueueStore(
        kind === 'redis'
          ? { kind: 'redis', socketPath: redis!.socketPath, log }
          : { kind: 'postgres', url: fresh!.url, log },
      );
    const wake = (key: string) => ({ kind: actorKind, key });

    it('delivers every wake once when each key is rung once', async () => {
      const heard: string[] = [];
      const consumer = store.consume(actorKind, 50, async key => void heard.push(key));
      const keys = Array.from({ length: 300 }, (_, n) => `7.child-${n}`);
      await eventually(() => store.ring([]).then(() => true));
      await store.ring(keys.map(wake));
      await eventually(() => heard.length >= 300);
      expect(heard.toSorted()).to.deep.equal(keys.toSorted());
      await consumer.close();
    });

    it('queues a waiting key once, however often it is rung', async () => {
      for (let i = 0; i < 5; i += 1) await store.ring([wake('a'), wake('a')]);
      const heard: string[] = [];
      const consumer = store.consume(actorKind, 10, async key => void heard.push(key));
      await store.ring([wake('end')]);
      await eventually(() => heard.includes('end'));
      await consumer.close();
      expect(heard).to.deep.equal(['a', 'end']);
    });

    it('delivers a ring that came while its key was handled, after that, and only once', async () => {
      const events: string[] = [];
      let finish = () => {};
      const consumer = store.consume(actorKind, 10, async () => {
        events.push('begin');
        await new Promise<void>(resolve => {
          finish = resolve;
        });
        events.push('end');
      });
      await store.ring([wake('a')]);
      await eventually(() => events.length === 1);
      await store.ring([wake('a')]);
      await store.ring([wake('a')]);
      await store.ring([wake('a')]);
      finish();
      await eventually(() => events.length === 3);
      expect(events).to.deep.equal(['begin', 'end', 'begin']);
      finish();
      await eventually(() => events.length === 4);
      const [queue] = store.queues([actorKind]);
      await eventually(async () => (await queue!.getActiveCount()) === 0);
      expect(await queue!.getWaitingCount()).to.equal(0);
      await consumer.close();
    });

    it('waits on close for the wakes in hand', async () => {
      let finish: (() => void) | undefined;
      let ended = false;
      const consumer = store.consume(actorKind, 10, async () => {
        await new Promise<void>(resolve => {
          finish = resolve;
        });
        ended = true;
      });
      await store.ring([wake('a')]);
      await eventually(() => finish !== undefined);
      const closing = consumer.close();
      finish!();
      await closing;
      expect(ended).to.equal(true);
    });

    it('keeps no finished wakes', async () => {
      const consumer = store.consume(actorKind, 10, async () => {});
      await store.ring(Array.from({ length: 20 }, (_, n) => wake(`k${n}`)));
      const [queue] = store.queues([actorKind]);
      await eventually(async () => {
        const counts = await queue!.getJobCounts();
        expect(Object.values(counts).reduce((sum, n) => sum + n, 0)).to.equal(0);
      });
      await consumer.close();
    });

    it('says that it is well', async () => {
      expect((await store.health()).ok).to.equal(true);
    });
  });
}

describe('wake queues without their store', () => {
  it('refuse a kind that cannot name a queue', async () => {
    const store = await openQueueStore({ kind: 'redis', socketPath: '/nonexistent/redis.sock', log });
    expect(() => store.queues(['a:b'])).to.throw('a:b');
    await store.close();
  });

  it('fail a ring at once, say that they are not well, and close', async () => {
    const store = await openQueueStore({ kind: 'redis', socketPath: '/nonexistent/redis.sock', log });
    const consumer = store.consume('kind', 1, async () => {});
    const error = await store.ring([{ kind: 'kind', key: 'a' }]).catch(failure => failure);
    expect(error).to.be.instanceOf(QueueStoreUnavailable);
    expect((await store.health()).ok).to.equal(false);
    await consumer.close();
    await store.close();
  });

  if (storesUnderTest.includes('redis')) {
    it('go on when Redis was killed and came back empty', async () => {
      const redis = await startRedis();
      const store = await openQueueStore({ kind: 'redis', socketPath: redis.socketPath, log });
      const heard: string[] = [];
      const consumer = store.consume('kind', 5, async key => void heard.push(key));
      await eventually(() => store.ring([{ kind: 'kind', key: 'before' }]).then(() => true));
      await eventually(() => heard.includes('before'));
      await redis.kill();
      await eventually(
        async () => (await store.ring([{ kind: 'kind', key: 'lost' }]).catch(error => error)) instanceof Error,
      );
      await redis.start();
      await eventually(() => store.ring([{ kind: 'kind', key: 'after' }]).then(() => true));
      await eventually(() => heard.includes('after'));
      await redis.command('FLUSHALL');
      await store.ring([{ kind: 'kind', key: 'flushed' }]);
      await eventually(() => heard.includes('flushed'));
      await consumer.close();
      await store.close();
      await redis.close();
    });
  }
});
