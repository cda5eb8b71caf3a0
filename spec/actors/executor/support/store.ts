import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryStore } from '../../../../storage/directory.ts';
import type { ObjectStore } from '../../../../storage/object-store.ts';

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

/** The same store with another `head`. */
export function withHead(store: ObjectStore, head: ObjectStore['head']): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'head') return head;
      const member = Reflect.get(target, name) as unknown;
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
