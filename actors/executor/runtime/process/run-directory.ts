import { readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Outcome, Refusal } from './container-state.ts';

/** Whom to watch and to signal: the shim, and what tells it from a later process of the same pid. */
export type ShimProcess = { pid: number; identity: string; startedAtMs: number };

async function readJson<T>(file: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch {
    return undefined; // not there, or cut off by the death of the node: then what it announces has not happened either
  }
}

/**
 * The evidence of one run of a container:
 *
 *   pid            by the node, before it says `go`: without it the payload never ran
 *   started        by the shim: from now on this run is never started again
 *   exit           by the shim: the exit code; its time is the end
 *   oom.json       by the node, before it kills for memory: the kill that follows is an OOM, whoever sees it
 *   outcome.json   by the node: the last word
 */
export class RunDirectory {
  readonly path: string;

  constructor(dir: string) {
    this.path = dir;
  }

  private file(name: string): string {
    return path.join(this.path, name);
  }

  private exists(name: string): boolean {
    return statSync(this.file(name), { throwIfNoEntry: false }) !== undefined;
  }

  /** Makes it ready for a launch: also after one that came to nothing. */
  async prepare(): Promise<void> {
    await mkdir(this.path, { recursive: true });
    await rm(this.file('pid'), { force: true });
  }

  writeShim(shim: ShimProcess): Promise<void> {
    const { pid, identity, startedAtMs } = shim;
    return writeFile(this.file('pid'), JSON.stringify({ pid, identity, startedAtMs }));
  }

  readShim(): Promise<ShimProcess | undefined> {
    return readJson(this.file('pid'));
  }

  get started(): boolean {
    return this.exists('started');
  }

  get outOfMemory(): boolean {
    return this.exists('oom.json');
  }

  /** A full disk must not save a container from its limit; the kill is then told as one from outside. */
  async writeOutOfMemory(usedBytes: number): Promise<void> {
    await writeFile(this.file('oom.json'), JSON.stringify({ usedBytes })).catch(() => {});
  }

  readOutOfMemory(): Promise<{ usedBytes: number } | undefined> {
    return readJson(this.file('oom.json'));
  }

  /** The payload's exit code and when it ended; undefined while there is none. */
  readExit(): { code: number; atMs: number } | undefined {
    try {
      const text = readFileSync(this.file('exit'), 'latin1');
      if (!/^\d+\n$/.test(text)) return undefined; // the disk was full: the shim hands the code to its parent instead
      return { code: Number(text), atMs: Math.round(statSync(this.file('exit')).mtimeMs) };
    } catch {
      return undefined;
    }
  }

  /** Without room on the disk the last word is kept in memory only; a later node concludes from the other evidence. */
  async conclude(said: Outcome | Refusal): Promise<void> {
    const draft = this.file('outcome.new');
    await writeFile(draft, JSON.stringify(said))
      .then(() => rename(draft, this.file('outcome.json')))
      .catch(() => {});
  }

  readConclusion(): Promise<Outcome | Refusal | undefined> {
    return readJson(this.file('outcome.json'));
  }
}
