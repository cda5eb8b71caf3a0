import type { Logger } from 'pino';
import { actionsBehind, actionsByName } from '../../db/action-reads.ts';
import { isDatabaseUnavailable } from '../../db/pool.ts';
import type { RunRow } from '../../db/run-reads.ts';
import type { Sql } from '../../db/sql.ts';
import type { ChangeFeed } from './change-feed.ts';
import { RunTree } from './run-tree.ts';
import type { TreeFilter } from './tree-filter.ts';
import { TreeViewer } from './tree-viewer.ts';

const PAGE = 1_000;
const RETRY_MS = 250;
/** While much happens, what changes is gathered for so long: people see no difference, and each viewer is written to less often. */
const READ_EVERY_MS = 10;

interface Watched {
  readonly tree: RunTree;
  readonly viewers: Set<TreeViewer>;
  readonly changed: Set<string>;
  /** Read the whole run: at first, and when changes may have been missed. */
  again: boolean;
  readonly unsubscribe: () => void;
  /** True once the whole run has been read. */
  loaded: boolean;
  /** Reads what changed; called when there is something and nobody reads. */
  wake: () => void;
}

/**
 * The trees of the runs that somebody looks at: made with the first viewer, fed by one reader each, dropped with the last.
 * A tree subscribes to the change log before it reads the run, and reads one thing after the other, so its rows only get newer.
 */
export class RunTrees {
  readonly #db: Sql;
  readonly #changes: ChangeFeed;
  readonly #log: Logger;
  readonly #watched = new Map<number, Watched>();

  constructor(collaborators: { readonly db: Sql; readonly changes: ChangeFeed; readonly log: Logger }) {
    this.#db = collaborators.db;
    this.#changes = collaborators.changes;
    this.#log = collaborators.log;
  }

  /** How many runs are watched now. */
  get size(): number {
    return this.#watched.size;
  }

  /** A view of the run, from its first action on. Whoever opens it closes it. */
  open(run: RunRow, filter: TreeFilter | null): { readonly viewer: TreeViewer; close(): void } {
    const watched = this.#watched.get(run.id) ?? this.#begin(run);
    const viewer = new TreeViewer(watched.tree, filter);
    watched.viewers.add(viewer);
    if (watched.loaded) viewer.begin();
    return {
      viewer,
      close: () => {
        viewer.close();
        watched.viewers.delete(viewer);
        if (watched.viewers.size === 0) this.#end(run.id, watched);
      },
    };
  }

  #begin(run: RunRow): Watched {
    const changed = new Set<string>();
    const watched: Watched = {
      tree: new RunTree(run),
      viewers: new Set(),
      changed,
      again: true,
      loaded: false,
      unsubscribe: this.#changes.subscribe(String(run.id), list => {
        if (list.length === 0) watched.again = true;
        for (const { subject } of list) changed.add(subject);
        watched.wake();
      }),
      wake: () => undefined,
    };
    this.#watched.set(run.id, watched);
    void this.#feed(run.id, watched);
    return watched;
  }

  #end(runId: number, watched: Watched): void {
    watched.unsubscribe();
    if (this.#watched.get(runId) === watched) this.#watched.delete(runId);
    watched.wake();
  }

  /** Loads the run, then follows it until its last viewer left. While the database is away, the tree stays as it is. */
  async #feed(runId: number, watched: Watched): Promise<void> {
    const over = () => this.#watched.get(runId) !== watched;
    let readAt = Number.NEGATIVE_INFINITY;
    while (!over()) {
      if (watched.changed.size === 0 && !watched.again) {
        await new Promise<void>(resolve => {
          watched.wake = resolve;
        });
        watched.wake = () => undefined;
        continue;
      }
      const early = readAt + READ_EVERY_MS - performance.now();
      if (early > 0) {
        await new Promise(resolve => setTimeout(resolve, early));
        continue;
      }
      readAt = performance.now();
      const again = watched.again;
      const names = [...watched.changed].slice(0, PAGE);
      watched.again = false;
      for (const name of names) watched.changed.delete(name);
      try {
        if (again) await this.#load(runId, watched, over);
        else watched.tree.take(await actionsByName(this.#db, runId, names));
      } catch (error) {
        if (!isDatabaseUnavailable(error)) {
          this.#end(runId, watched);
          for (const viewer of watched.viewers) viewer.fail(error);
          return;
        }
        this.#log.warn({ err: error, runId }, 'the database is away: a tree waits for it');
        watched.again ||= again;
        for (const name of names) watched.changed.add(name);
        await new Promise(resolve => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #load(runId: number, watched: Watched, over: () => boolean): Promise<void> {
    for (let after = ''; !over(); ) {
      const rows = await actionsBehind(this.#db, runId, after, PAGE);
      watched.tree.take(rows);
      if (rows.length < PAGE) break;
      after = rows.at(-1)!.name;
    }
    watched.loaded = true;
    for (const viewer of watched.viewers) viewer.begin();
  }
}
