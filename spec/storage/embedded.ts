/** A directory store in a temporary directory, and its S3 endpoint on a real port, for specs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { DirectoryStore, type DirectoryStoreOptions } from '../../storage/directory.ts';
import { type S3EndpointOptions, s3Endpoint } from '../../storage/endpoint/endpoint.ts';

export const credentials = { accessKeyId: 'starling', secretAccessKey: 'starling-secret' };

export interface Embedded {
  readonly store: DirectoryStore;
  readonly root: string;
  /** `http://127.0.0.1:<port>/s3` */
  readonly url: string;
  close(): Promise<void>;
}

export async function openEmbedded(
  options: Partial<Omit<DirectoryStoreOptions, 'credentials'>> &
    Partial<Pick<S3EndpointOptions, 'stallTimeoutMs'>> = {},
): Promise<Embedded> {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), 'starling-objects-')));
  const server = createServer((req, res) => handler(req, res)).listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/s3`;
  const { stallTimeoutMs, ...storeOptions } = options;
  const store = await DirectoryStore.open({ publicUrl: url, ...storeOptions, root, credentials });
  const handler = s3Endpoint({
    store,
    credentials,
    pathPrefix: '/s3',
    logger: pino({ level: 'silent' }),
    ...(options.now && { now: options.now }),
    ...(stallTimeoutMs !== undefined && { stallTimeoutMs }),
  });
  return {
    store,
    root,
    url,
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
      await store.close();
      if (options.root === undefined) await rm(root, { recursive: true });
    },
  };
}
