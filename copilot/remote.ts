import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ObjectPreconditionFailed, ObjectStoreError } from '../storage/object-errors.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { forEachBounded } from './bounded.ts';
import { asFailure, CopilotFailure, declarationFailure, systemFailure, userFailure } from './failure.ts';
import { Slots } from './slots.ts';

/** Files in flight at once. */
export const PARALLEL_FILES = 4;
/** Of them, large ones in an upload: each needs several parts in memory, and the container has little of it (main.ts). */
const PARALLEL_LARGE_FILES = 2;
/** From here on an upload goes in parts. */
const LARGE_BYTES = 8 * 1024 * 1024;

const ATTEMPTS = 5;
const FILE_MODE = 0o777;

export type RemoteOptions = {
  /** First wait between two attempts; it doubles with each. Default 500. */
  retryDelayMs?: number;
  /** Ends everything under way; the reason becomes the failure. */
  signal: AbortSignal;
};

/** An error that another try may not meet again: the network, or a server that is busy or broken. */
class Transient extends Error {}

const isHttp = (uri: string): boolean => /^https?:\/\//.test(uri);

/** A store that answered and said no (bad credentials, no permission) says the same the next time; `$metadata` is the AWS SDK's. */
const isRefusal = (cause: unknown): boolean => {
  const status = (cause as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode ?? 0;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
};

const isTransient = (thrown: unknown): boolean =>
  thrown instanceof Transient ||
  (thrown instanceof ObjectStoreError && thrown.code === 'unavailable' && !isRefusal(thrown.cause));

/** What went wrong at `uri`, with the blame: what is absent, too large or misnamed is the user's, all else the platform's. */
const failureAt = (thrown: unknown): CopilotFailure => {
  if (thrown instanceof CopilotFailure) return thrown;
  if (!(thrown instanceof ObjectStoreError)) return asFailure(thrown);
  const isUsers = ['not-found', 'invalid-uri', 'too-large'].includes(thrown.code);
  return (isUsers ? userFailure : systemFailure)(thrown.message, { cause: thrown });
};

/** Remote data (an object store, and plain http(s) for reading) as files: streams, retries, never more in memory than a chunk. */
export class Remote {
  readonly #store: ObjectStore;
  readonly #signal: AbortSignal;
  readonly #retryDelayMs: number;
  readonly #large = new Slots(PARALLEL_LARGE_FILES);

  constructor(store: ObjectStore, { signal, retryDelayMs = 500 }: RemoteOptions) {
    this.#store = store;
    this.#signal = signal;
    this.#retryDelayMs = retryDelayMs;
  }

  /** All bytes of one object. @throws CopilotFailure, also when there are more than `maxBytes`. */
  read(uri: string, maxBytes: number): Promise<Uint8Array> {
    return this.#retried(() => this.#store.read(uri, { maxBytes }));
  }

  /** Stores `body` as the object `uri`. @throws CopilotFailure. */
  async write(uri: string, body: Uint8Array, contentType: string): Promise<void> {
    await this.#retried(() => this.#store.put(uri, body, { contentType }));
  }

  /** Stores a small object unless there is one already: the first word counts. */
  async writeFirst(uri: string, body: Uint8Array, contentType: string): Promise<void> {
    try {
      await this.#retried(() => this.#store.put(uri, body, { contentType, onlyIf: 'absent' }));
    } catch (error) {
      if (!(error instanceof ObjectPreconditionFailed)) throw error;
    }
  }

  /** Copies one object, or what an http(s) URL answers, to the file `target`. Returns its size in bytes. */
  async fetchFile(uri: string, target: string): Promise<number> {
    await mkdir(path.dirname(target), { recursive: true });
    return this.#retried(() => (isHttp(uri) ? this.#fetchHttp(uri, target) : this.#fetchObject(uri, target)));
  }

  /** Copies everything below the prefix `uri` to the directory `target`, which is there afterwards even if empty. */
  async fetchTree(uri: string, target: string): Promise<{ files: number; bytes: number }> {
    if (isHttp(uri))
      throw declarationFailure(`${uri}: a directory cannot be read over http; copy it to the object store`);
    const prefix = uri.endsWith('/') ? uri : `${uri}/`;
    await mkdir(target, { recursive: true });
    let bytes = 0;
    const files = await forEachBounded(this.#listed(prefix), PARALLEL_FILES, async object => {
      const segments = object.slice(prefix.length).split('/');
      // Other writers may have made keys that no path can be; joined, they could even leave the directory.
      if (segments.some(segment => ['', '.', '..'].includes(segment))) {
        throw userFailure(`${object} has a key that cannot be a file below ${target}; rename the object`);
      }
      bytes += await this.fetchFile(object, path.join(target, ...segments));
    });
    return { files, bytes };
  }

  /** A structured dataset: the object at `uri` when there is one, else the tree below it. */
  async fetchDataset(uri: string, target: string): Promise<void> {
    const single =
      isHttp(uri) || (!uri.endsWith('/') && (await this.#retried(() => this.#store.head(uri))) !== undefined);
    await (single ? this.fetchFile(uri, target) : this.fetchTree(uri, target));
  }

  /** Stores the file `source` of `size` bytes as the object `uri`. */
  async storeFile(source: string, size: number, uri: string): Promise<void> {
    const store = () => this.#retried(() => this.#store.put(uri, createReadStream(source, { signal: this.#signal })));
    await (size < LARGE_BYTES ? store() : this.#large.use(store));
  }

  async #fetchObject(uri: string, target: string): Promise<number> {
    const { body, length } = await this.#store.open(uri);
    const written = await this.#save(body, target);
    if (written !== length) throw new Transient(`${uri} ended after ${written} of ${length} bytes`);
    return written;
  }

  async #fetchHttp(uri: string, target: string): Promise<number> {
    const response = await fetch(uri, { signal: this.#signal }).catch((cause: Error) => {
      throw new Transient(
        `${uri} cannot be reached (${(cause.cause as Error | undefined)?.message ?? cause.message})`,
        { cause },
      );
    });
    if (response.ok) return response.body === null ? this.#save([], target) : this.#save(response.body, target);
    await response.body?.cancel();
    const told = `${uri} answered ${response.status} ${response.statusText}`;
    if (response.status >= 500 || response.status === 429 || response.status === 408) throw new Transient(told);
    throw userFailure(`${told}; check that the URL is right and readable without a login`);
  }

  async #save(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, target: string): Promise<number> {
    const file = createWriteStream(target, { mode: FILE_MODE });
    try {
      await pipeline(body, file, { signal: this.#signal });
    } catch (cause) {
      // The local disk answers with errno codes of its own; another try does not make room.
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'ENOSPC' || code === 'EACCES' || code === 'ENAMETOOLONG' || code === 'EISDIR') {
        throw systemFailure(`cannot write ${target}: ${(cause as Error).message}`, { cause });
      }
      if (cause instanceof ObjectStoreError) throw cause;
      throw new Transient(`the transfer to ${target} broke off: ${(cause as Error).message}`, { cause });
    }
    return file.bytesWritten;
  }

  async *#listed(prefix: string): AsyncGenerator<string> {
    try {
      for await (const { uri } of this.#store.list(prefix)) {
        // A key that ends with a slash is the empty marker some consoles leave for a folder.
        if (!uri.endsWith('/')) yield uri;
      }
    } catch (thrown) {
      throw failureAt(thrown);
    }
  }

  async #retried<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#signal.throwIfAborted();
        return await work();
      } catch (thrown) {
        if (this.#signal.aborted) throw failureAt(this.#signal.reason);
        if (!isTransient(thrown)) throw failureAt(thrown);
        if (attempt === ATTEMPTS) {
          throw systemFailure(`${(thrown as Error).message} (tried ${ATTEMPTS} times)`, { cause: thrown });
        }
      }
      const delayMs = this.#retryDelayMs * 2 ** (attempt - 1);
      await sleep(delayMs, undefined, { signal: this.#signal }).catch(() => {});
    }
  }
}
