import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import type { Queue } from 'bullmq';
import type { Router } from 'express';

/**
 * Bull Board over these queues, to be mounted at `basePath` behind the caller's own authentication: it has none.
 * @param isReadOnly shows queues and jobs but refuses to change them
 */
export function createQueueBoard(options: { queues: readonly Queue[]; basePath: string; isReadOnly: boolean }): Router {
  const serverAdapter = new ExpressAdapter();
  serverAdapter.setBasePath(options.basePath);
  createBullBoard({
    queues: options.queues.map(queue => new BullMQAdapter(queue, { readOnlyMode: options.isReadOnly })),
    serverAdapter,
    options: { uiConfig: { boardTitle: 'Starling queues' } },
  });
  return serverAdapter.getRouter();
}
