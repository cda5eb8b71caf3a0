/** Specs that are in the database for sure: a fan-out sends the same one thousands of times, and it is stored once. */
import { LRUCache } from 'lru-cache';
import { storeSpecs } from '../../db/enqueue.ts';
import type { Sql } from '../../db/sql.ts';

export interface SpecStore {
  /** Writes those that may not be stored yet, in the caller's transaction. */
  store(tx: Sql, bodies: ReadonlyMap<string, Uint8Array>): Promise<void>;
  /** To be called after the commit of a transaction that stored these: from then on they are not written again. */
  committed(digests: Iterable<string>): void;
}

/** @returns the memory of one node */
export function createSpecStore(): SpecStore {
  const known = new LRUCache<string, true>({ max: 10_000 });
  return {
    async store(tx, bodies) {
      await storeSpecs(tx, new Map([...bodies].filter(([digest]) => !known.has(digest))));
    },
    committed(digests) {
      for (const digest of digests) known.set(digest, true);
    },
  };
}
