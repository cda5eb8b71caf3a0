import { LRUCache } from 'lru-cache';
import type { DatabasePool } from 'slonik';
import type { RunPath } from '../actors/run/commands.ts';
import { projectExists } from '../db/projects.ts';
import { findRun, type RunRow } from '../db/run-reads.ts';
import { notFound } from './errors.ts';
import { nameOfRun } from './identifiers.ts';

const RUNS_KEPT = 5_000;
const BYTES_KEPT = 32 * 1024 * 1024;
const PROJECTS_KEPT = 1_000;

/**
 * Runs by path and the existence of projects, remembered: what a run was asked to be never changes, and projects are archived but
 * never deleted. Only what exists is remembered, so whatever is made is found at once.
 */
export class RunDirectory {
  readonly #db: DatabasePool;
  readonly #runs = new LRUCache<string, RunRow>({
    max: RUNS_KEPT,
    maxSize: BYTES_KEPT,
    sizeCalculation: run => 500 + run.runSpec.length,
  });
  readonly #projects = new LRUCache<string, true>({ max: PROJECTS_KEPT });

  constructor(db: DatabasePool) {
    this.#db = db;
  }

  async find(path: RunPath): Promise<RunRow | null> {
    const known = this.#runs.get(nameOfRun(path));
    if (known !== undefined) return known;
    const run = await findRun(this.#db, path);
    if (run !== null) this.#runs.set(nameOfRun(path), run);
    return run;
  }

  /** @throws StarlingError not_found */
  async get(path: RunPath): Promise<RunRow> {
    const run = await this.find(path);
    if (run === null) throw notFound('run', nameOfRun(path));
    return run;
  }

  /** @throws StarlingError not_found */
  async requireProject(id: string): Promise<void> {
    if (this.#projects.has(id)) return;
    if (!(await projectExists(this.#db, id))) throw notFound('project', id);
    this.#projects.set(id, true);
  }
}
