import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryStore } from '../../../../storage/directory.ts';

/** An object store in a directory of its own. */
export async function temporaryStore(): Promise<{ store: DirectoryStore; close(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'starling-executor-'));
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
  const store = await DirectoryStore.open({ root, credentials, publicUrl: 'http://localhost:1' });
  return {
    store,
    async close() {
      await store.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
