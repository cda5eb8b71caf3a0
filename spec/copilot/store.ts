import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DirectoryStore } from '../../storage/directory.ts';
import { ObjectNotFound, ObjectStoreUnavailable } from '../../storage/object-errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';

/** A directory of its own, real store included. */
export type Workspace = { directory: string; store: ObjectStore; close(): Promise<void> };

export const openWorkspace = async (): Promise<Workspace> => {
  const directory = await mkdtemp(path.join(tmpdir(), 'copilot-'));
  const store = await DirectoryStore.open({
    root: path.join(directory, 'store'),
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    publicUrl: 'http://127.0.0.1',
  });
  return {
    directory,
    store,
    close: async () => {
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/** `store` with the first `failures` calls of open, read and put refused, as a busy store does. */
export const flaky = (store: ObjectStore, failures: number): ObjectStore & { refused: number } => {
  const refuse = async () => {
    if (wrapped.refused >= failures) return;
    wrapped.refused += 1;
    throw new ObjectStoreUnavailable('slow down');
  };
  const wrapped: ObjectStore & { refused: number } = Object.assign(Object.create(store) as ObjectStore, {
    refused: 0,
    open: async (...args: Parameters<ObjectStore['open']>) => refuse().then(() => store.open(...args)),
    read: async (...args: Parameters<ObjectStore['read']>) => refuse().then(() => store.read(...args)),
    put: async (...args: Parameters<ObjectStore['put']>) => refuse().then(() => store.put(...args)),
    list: (...args: Parameters<ObjectStore['list']>) => store.list(...args),
    head: (...args: Parameters<ObjectStore['head']>) => store.head(...args),
  });
  return wrapped;
};

/** The text of an object, or null. */
export const textAt = async (store: ObjectStore, uri: string): Promise<string | null> => {
  try {
    return Buffer.from(await store.read(uri, { maxBytes: 1e9 })).toString();
  } catch (thrown) {
    if (thrown instanceof ObjectNotFound) return null;
    throw thrown;
  }
};

/** The failure of `work`, which must fail. */
export const failureOf = async (work: Promise<unknown>): Promise<Error & { origin?: string; recoverable?: boolean }> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (thrown: Error) => thrown,
  );

export const silent = { info: () => {}, warn: () => {} } as never;
