import { LRUCache } from 'lru-cache';
import type { RunPath } from '../actors/run/commands.ts';
import type { Database } from '../db/pool.ts';
import { projectExists } from '../db/projects.ts';
import { type RunRow, type RunWithRoot, runOf, runsAt, runsWithRoot } from '../db/run-reads.ts';
import { notFound } from './errors.ts';
import { GatheredReads } from './gathered-reads.ts';
import { nameOfRun } from './identifiers.ts';

const RUNS_KEPT = 5_000;
const BYTES_KEPT = 32 * 1024 * 1024;
const PROJECTS_KEPT = 1_000;

/**
 * Runs by path and the existence of projects, remembered: what a run was asked to be never changes, and projects are archived but
 * never deleted. Only what exists is remembered, so whatever is made is found at once.
 */
export class RunDirectory {
  readonly #db: Pick<Database, 'sql' | 'slonik'>;
  readonly #byPath: GatheredReads<RunPath, RunRow>;
  readonly #withRoots: GatheredReads<number, RunWithRoot>;
  readonly #runs = new LRUCache<string, RunRow>({
    max: RUNS_KEPT,
    maxSize: BYTES_KEPT,
    sizeCalculation: run => 500 + run.runSpec.length,
  });
  readonly #projects = new LRUCache<string, true>({ max: PROJECTS_KEPT });

  constructor(db: Pick<Database, 'sql' | 'slonik'>) {
    this.#db = db;
    this.#byPath = new GatheredReads(nameOfRun, async paths => {
      const runs = await runsAt(db.sql, paths);
      return new Map(runs.map(run => [nameOfRun(run), run]));
    });
    this.#withRoots = new GatheredReads(String, async ids => {
      const runs = await runsWithRoot(db.sql, ids);
      return new Map(runs.map(run => [String(run.id), run]));
    });
  }

  async find(path: RunPath): Promise<RunRow | null> {
    const known = this.#runs.get(nameOfRun(path));
    if (known !== undefined) return known;
    const run = await this.#byPath.read(path);
    if (run !== null) this.#runs.set(nameOfRun(path), run);
    return run;
  }

  /** @throws StarlingError not_found */
  async get(path: RunPath): Promise<RunRow> {
    const run = await this.find(path);
    if (run === null) throw notFound('run', nameOfRun(path));
    return run;
  }

  /** A run with its root action as it is now. Whoever made it asks for it next: it is remembered. */
  async withRoot(id: number): Promise<RunWithRoot | null> {
    const run = await this.#withRoots.read(id);
    if (run !== null) this.#runs.set(nameOfRun(run), runOf(run));
    return run;
  }

  /** @throws StarlingError not_found */
  async requireProject(id: string): Promise<void> {
    if (this.#projects.has(id)) return;
    if (!(await projectExists(this.#db.slonik, id))) throw notFound('project', id);
    this.#projects.set(id, true);
  }
}
