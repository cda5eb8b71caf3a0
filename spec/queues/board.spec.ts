import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import express from 'express';
import pino from 'pino';
import { createQueueBoard } from '../../queues/board.ts';
import { openQueueStore } from '../../queues/store.ts';
import { freshDatabase } from '../support/postgres.ts';

describe('queue board', () => {
  it('shows the wake queues, and changes nothing when it is read-only', async () => {
    const fresh = await freshDatabase();
    const store = await openQueueStore({ kind: 'postgres', url: fresh.url, log: pino({ level: 'silent' }) });
    await store.ring([{ kind: 'toy', key: 'a' }]);
    const app = express();
    const basePath = '/ops/queues';
    app.use(basePath, createQueueBoard({ queues: store.queues(['toy']), basePath, isReadOnly: true }));
    const server = app.listen(0, '127.0.0.1');
    await new Promise(resolve => server.once('listening', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${basePath}`;
    try {
      const page = await fetch(url);
      expect(page.status).to.equal(200);
      expect(await page.text()).to.contain('Starling queues');
      const answer = (await (await fetch(`${url}/api/queues`)).json()) as {
        queues: { name: string; counts: { waiting: number } }[];
      };
      expect(answer.queues.map(({ name, counts }) => [name, counts.waiting])).to.deep.equal([['wake-toy', 1]]);
      const change = await fetch(`${url}/api/queues/wake-toy/empty`, { method: 'PUT' });
      expect(change.status).to.be.greaterThan(399);
      expect(await store.queues(['toy'])[0]!.getWaitingCount()).to.equal(1);
    } finally {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
      await store.close();
      await fresh.drop();
    }
  });
});
