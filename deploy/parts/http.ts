/** What the one port serves that is no RPC: health, metrics, the board of the queues, the embedded object store. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Queue } from 'bullmq';
import express from 'express';
import type { Registry } from 'prom-client';
import { createQueueBoard } from '../../queues/board.ts';
import { S3_PATH } from './object-store.ts';

export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface HttpDeps {
  readonly metrics: Registry;
  readonly queues: readonly Queue[];
  /** A sentence for everything that keeps this node from serving; empty when it is ready. */
  readonly troubles: () => Promise<string[]>;
  readonly objectStore: HttpHandler | undefined;
}

const BOARD_PATH = '/ops/queues';

/** @returns the handler of every path that is no RPC */
export function createHttp({ metrics, queues, troubles, objectStore }: HttpDeps): HttpHandler {
  const app = express().disable('x-powered-by').set('etag', false);
  app.get('/healthz', (_request, response) => {
    response.type('text/plain').send('OK');
  });
  app.get('/readyz', async (_request, response) => {
    const found = await troubles();
    response
      .status(found.length === 0 ? 200 : 503)
      .type('text/plain')
      .send(found.length === 0 ? 'OK' : `${found.join('\n')}\n`);
  });
  app.get('/metrics', async (_request, response) => {
    response.type(metrics.contentType).send(await metrics.metrics());
  });
  app.use(BOARD_PATH, createQueueBoard({ queues, basePath: BOARD_PATH, isReadOnly: false }));
  app.get('/', (_request, response) => {
    response
      .type('text/html')
      .send(
        `<!doctype html><title>Starling</title><p>Starling serves the Flyte API here. <a href="${BOARD_PATH}">Queues</a>, <a href="/metrics">metrics</a>, <a href="/readyz">readiness</a>.`,
      );
  });
  app.use((request, response) => {
    response.status(404).type('text/plain').send(`There is nothing at ${request.path}.\n`);
  });
  return (request, response) => {
    // Before Express: signatures cover the URL and headers exactly as they were sent.
    const { url = '/' } = request;
    if (
      objectStore !== undefined &&
      (url === S3_PATH || url.startsWith(`${S3_PATH}/`) || url.startsWith(`${S3_PATH}?`))
    ) {
      objectStore(request, response);
    } else app(request, response);
  };
}
