/**
 * Makes directory changes (a rename into, an unlink from, a new subdirectory) survive a power cut. A rename is only durable once its
 * directory was flushed, and a flush covers everything that happened in the directory before it started: so all who ask while a
 * flush runs share the next one, and a burst of writes into one directory costs two flushes instead of one each.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { flushEntries, withFile } from './descriptor.ts';
import { disk, errnoOf } from './disk-errors.ts';

/** How often a directory may vanish under a writer before something else must be wrong. */
const MAX_ATTEMPTS = 20;

export class Durability {
  /** Per directory: the flush that runs, and the one that starts after it. */
  readonly #flushes = new Map<string, { running: Promise<void>; next?: Promise<void> }>();
  /** Directories whose new subdirectory is not flushed yet, with the number of writers seeing to it. Anyone writing below waits too. */
  readonly #unflushed = new Map<string, number>();

  /** Resolves when every change made in the directory before this call is on the disk. A directory that is gone needs no flush. */
  flush(directory: string): Promise<void> {
    const current = this.#flushes.get(directory);
    if (!current) return this.#start(directory);
    current.next ??= current.running.then(
      () => this.#start(directory),
      () => this.#start(directory),
    );
    return current.next;
  }

  /**
   * Runs `change`, an operation that puts a name into `directory`, and makes it durable; the directory and its parents are created
   * when they are missing, also when a concurrent deletion removes them in between.
   */
  async changeIn(directory: string, change: () => Promise<void>): Promise<void> {
    const created: string[] = [];
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await change();
          break;
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT' || attempt === MAX_ATTEMPTS) throw error;
          await this.#create(directory, created);
        }
      }
      await Promise.all([directory, ...this.#unflushedAbove(directory)].map(each => this.flush(each)));
    } finally {
      for (const parent of created) {
        const writers = this.#unflushed.get(parent)! - 1;
        if (writers === 0) this.#unflushed.delete(parent);
        else this.#unflushed.set(parent, writers);
      }
    }
  }

  async #create(directory: string, created: string[]): Promise<void> {
    const make = mkdir(directory, { recursive: true });
    // A deletion that takes a parent away while we build below it is no error: the caller tries again.
    const first = await disk(
      make.catch(error => (errnoOf(error) === 'ENOENT' ? undefined : Promise.reject(error))),
      directory,
    );
    if (first === undefined) return;
    for (let each = directory; each.length >= first.length; each = dirname(each)) {
      const parent = dirname(each);
      created.push(parent);
      this.#unflushed.set(parent, (this.#unflushed.get(parent) ?? 0) + 1);
    }
  }

  #unflushedAbove(directory: string): string[] {
    if (this.#unflushed.size === 0) return [];
    const above: string[] = [];
    for (let each = dirname(directory); each !== dirname(each); each = dirname(each)) {
      if (this.#unflushed.has(each)) above.push(each);
    }
    return above;
  }

  #start(directory: string): Promise<void> {
    const flush: { running: Promise<void>; next?: Promise<void> } = { running: flushDirectory(directory) };
    this.#flushes.set(directory, flush);
    const settle = (): void => {
      if (this.#flushes.get(directory) === flush && !flush.next) this.#flushes.delete(directory);
    };
    flush.running.then(settle, settle);
    return flush.running;
  }
}

async function flushDirectory(directory: string): Promise<void> {
  try {
    await withFile(directory, 'r', flushEntries);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    await disk(Promise.reject(error), directory);
  }
}
