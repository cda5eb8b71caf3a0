import type { Logger } from 'pino';
import { childrenOf, type UpdateRow, updatesOf } from '../../db/action-updates.ts';
import type { Sql } from '../../db/sql.ts';
import type { ChangeFeed } from './change-feed.ts';
import { Doorbell } from './doorbell.ts';
import { patiently } from './patience.ts';

const SNAPSHOT_PAGE = 1_000;
const READ_AT_ONCE = 2_000;
const RETRY_MS = 250;

/**
 * All watches of parents over their children on this node. What the change log names is read once for all of them: while
 * one read is under way the next names gather, so the reads get larger, not more, when much happens.
 *
 * A watch is first in its snapshot, then live. Reads are numbered and one at a time, so later numbers show newer rows; a watch takes
 * only rows of reads that began after its snapshot ended, and asks again for the others. So no child ever goes back in
 * time (I7). A reader that is slow keeps one row per changed child, the newest: it loses only states in between.
 */
export class ChildWatches {
  readonly #db: Sql;
  readonly #changes: ChangeFeed;
  readonly #log: Logger;
  readonly #runs = new Map<number, WatchedRunChildren>();
  readonly #rescans = new Set<number>();
  readonly #wanted = new Map<number, Set<string>>();
  #reading = false;
  #reads = 0;

  constructor(collaborators: { readonly db: Sql; readonly changes: ChangeFeed; readonly log: Logger }) {
    this.#db = collaborators.db;
    this.#changes = collaborators.changes;
    this.#log = collaborators.log;
  }

  /** How many runs have watches now. */
  get size(): number {
    return this.#runs.size;
  }

  /** Begins to gather changes of the children of an action. Whoever opens a watch closes it. */
  open(runId: number, parent: string): ChildWatch {
    const run = this.#run(runId);
    const watch = new ChildWatch({
      snapshot: after => childrenOf(this.#db, runId, parent, after, SNAPSHOT_PAGE),
      nextRead: () => this.#reads + 1,
      want: names => this.#want(runId, names),
      close: () => this.#close(runId, parent, watch),
    });
    const siblings = run.byParent.get(parent);
    if (siblings === undefined) run.byParent.set(parent, new Set([watch]));
    else siblings.add(watch);
    return watch;
  }

  #run(runId: number): WatchedRunChildren {
    const known = this.#runs.get(runId);
    if (known !== undefined) return known;
    const unsubscribe = this.#changes.subscribe(String(runId), changes => {
      if (changes.length === 0) this.#rescan(runId);
      else
        this.#want(
          runId,
          changes.map(({ subject }) => subject),
        );
    });
    const run = { byParent: new Map<string, Set<ChildWatch>>(), unsubscribe };
    this.#runs.set(runId, run);
    return run;
  }

  #close(runId: number, parent: string, watch: ChildWatch): void {
    const run = this.#runs.get(runId);
    const siblings = run?.byParent.get(parent);
    if (run === undefined || !siblings?.delete(watch) || siblings.size > 0) return;
    run.byParent.delete(parent);
    if (run.byParent.size > 0) return;
    run.unsubscribe();
    this.#runs.delete(runId);
    this.#wanted.delete(runId);
  }

  #want(runId: number, names: Iterable<string>): void {
    const wanted = this.#wanted.get(runId);
    if (wanted === undefined) this.#wanted.set(runId, new Set(names));
    else for (const name of names) wanted.add(name);
    this.#readSoon();
  }

  /** Changes may have been missed: what is watched of the run is read again. */
  #rescan(runId: number): void {
    this.#rescans.add(runId);
    this.#readSoon();
  }

  #readSoon(): void {
    if (this.#reading) return;
    this.#reading = true;
    // The log tells of everything that one of its reads found in the same turn: wait for the end of it.
    setImmediate(() => void this.#readAll());
  }

  async #readAll(): Promise<void> {
    while (this.#wanted.size > 0 || this.#rescans.size > 0) {
      const { runIds, names } = this.#take();
      const rescans = [...this.#rescans];
      this.#rescans.clear();
      try {
        for (const runId of rescans) await this.#readRun(runId);
        if (names.length === 0) continue;
        const read = ++this.#reads;
        for (const row of await updatesOf(this.#db, runIds, names)) this.#deliver(row, read);
      } catch (error) {
        this.#log.warn({ err: error }, 'changed actions could not be read for their watches; trying again');
        await new Promise(resolve => setTimeout(resolve, RETRY_MS));
        for (const runId of rescans) if (this.#runs.has(runId)) this.#rescan(runId);
        runIds.forEach((runId, index) => {
          if (this.#runs.has(runId)) this.#want(runId, [names[index]!]);
        });
      }
    }
    this.#reading = false;
  }

  async #readRun(runId: number): Promise<void> {
    for (const parent of [...(this.#runs.get(runId)?.byParent.keys() ?? [])]) {
      for (let after = 0, size = SNAPSHOT_PAGE; size === SNAPSHOT_PAGE; ) {
        const read = ++this.#reads;
        const rows = await childrenOf(this.#db, runId, parent, after, SNAPSHOT_PAGE);
        for (const row of rows) this.#deliver(row, read);
        size = rows.length;
        after = rows.at(-1)?.seq ?? after;
      }
    }
  }

  /** At most {@link READ_AT_ONCE} of what is wanted; the rest stays for the next read. */
  #take(): { runIds: number[]; names: string[] } {
    const runIds: number[] = [];
    const names: string[] = [];
    for (const [runId, wanted] of this.#wanted) {
      for (const name of wanted) {
        if (names.length === READ_AT_ONCE) return { runIds, names };
        runIds.push(runId);
        names.push(name);
        wanted.delete(name);
      }
      this.#wanted.delete(runId);
    }
    return { runIds, names };
  }

  #deliver(row: UpdateRow, read: number): void {
    if (row.parent === null) return;
    for (const watch of this.#runs.get(row.run_id)?.byParent.get(row.parent) ?? []) watch.offer(row, read);
  }
}

interface WatchedRunChildren {
  readonly byParent: Map<string, Set<ChildWatch>>;
  readonly unsubscribe: () => void;
}

interface WatchSource {
  snapshot(afterSeq: number): Promise<UpdateRow[]>;
  /** Number of the first read that begins from now on. */
  nextRead(): number;
  want(names: Iterable<string>): void;
  close(): void;
}

/** One parent's view of its children: read {@link snapshot} to its end, then {@link next} for ever. */
export class ChildWatch {
  readonly #source: WatchSource;
  readonly #doorbell = new Doorbell();
  #pending = new Map<string, UpdateRow>();
  #missed = new Set<string>();
  /** Rows of earlier reads may be older than the snapshot. */
  #liveFrom = Number.POSITIVE_INFINITY;

  constructor(source: WatchSource) {
    this.#source = source;
  }

  /** All children that exist, page by page, in the order they were made. */
  async *snapshot(signal: AbortSignal): AsyncGenerator<UpdateRow[]> {
    for (let after = 0; ; ) {
      const from = after;
      const page = await patiently(() => this.#source.snapshot(from), signal);
      if (page.length > 0) yield page;
      if (page.length < SNAPSHOT_PAGE) break;
      after = page.at(-1)!.seq;
    }
    this.#liveFrom = this.#source.nextRead();
    if (this.#missed.size > 0) this.#source.want(this.#missed);
    this.#missed = new Set();
  }

  /** What changed since the last call, newest states only; empty once the signal fired. */
  async next(signal: AbortSignal): Promise<Iterable<UpdateRow>> {
    if (this.#pending.size === 0) await this.#doorbell.wait(signal);
    if (signal.aborted) return [];
    const rows = this.#pending;
    this.#pending = new Map();
    return rows.values();
  }

  /** A row that a read found. */
  offer(row: UpdateRow, read: number): void {
    if (this.#liveFrom === Number.POSITIVE_INFINITY) {
      this.#missed.add(row.name);
    } else if (read < this.#liveFrom) {
      this.#source.want([row.name]);
    } else {
      this.#pending.set(row.name, row);
      this.#doorbell.ring();
    }
  }

  close(): void {
    this.#source.close();
  }
}
