import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { containerBaseEnv } from '../container-command.ts';
import type { Shim, ShimOptions } from '../shim.ts';
import { interpreterOf, sameInterpreter } from './console-script.ts';
import { ColdStartError, Zygote } from './zygote.ts';

export type WarmPythonOptions = {
  /** The interpreter of the environment that runs the tasks. */
  python: string;
  /** Where its console scripts are; the runtime's `binDirs` begin with it. */
  binDir: string;
  /** As the runtime's own: what containers get of it, the warm process gets, too. */
  baseEnv: Record<string, string | undefined>;
  /** For the output of the warm process. Created when it is not there. */
  dir: string;
  log: Logger;
  /** The console script whose starts are warm. Default: a0, the task runtime of the Flyte SDK. */
  script?: string;
  /** What is imported before forking; see flyte_runtime.py, the default. */
  profile?: string;
  /** First pause before a warm process that has died is started again; doubled up to 5 minutes. Default 1000. */
  pauseMs?: number;
};

const firstPauseMs = 1000;
const longestPauseMs = 300_000;
/** A warm process that lived this long did not die of being warmed up: the pauses begin small again. */
const soundLifeMs = 60_000;
/** Importing takes about half a second of CPU; a machine that is busy or has cold caches needs far longer. */
const warmUpTimeoutMs = 120_000;
const birthTimeoutMs = 10_000;

/**
 * Starts containers that run one console script by forking a Python process that has all imports behind it (zygote.py),
 * instead of by starting the script: about 0.1 s of CPU instead of 0.6 s for an empty Flyte task.
 *
 *   off        before start, after stop, and for ever where forking a warmed-up Python is not safe (macOS), or where the
 *              script does not belong to the interpreter
 *   warming    a zygote imports
 *   ready      a zygote forks. When what it has imported has changed on disk it is replaced, and stays until its containers
 *              have ended
 *   pausing    the zygote has died or is unfit; the next one is started after a pause
 *
 * Whatever the state and whatever goes wrong, {@link start} only ever says "not by me": the caller then starts cold. Invariant: a
 * shim that was handed out and not told to go runs nothing, so a start that is tried twice runs once.
 */
export class WarmPython {
  /** Starts since the beginning: by fork, and those that had to be cold although the script was the right one. */
  readonly starts = { warm: 0, cold: 0 };
  private readonly options: WarmPythonOptions;
  private readonly script: string;
  private readonly zygotes = new Set<Zygote>();
  private current: { zygote: Zygote; ready: boolean; begunAtMs: number } | undefined;
  private timer: NodeJS.Timeout | undefined;
  private warmUpTimer: NodeJS.Timeout | undefined;
  private pauseMs: number;
  private running = false;

  constructor(options: WarmPythonOptions) {
    this.options = options;
    this.script = path.join(options.binDir, options.script ?? 'a0');
    this.pauseMs = options.pauseMs ?? firstPauseMs;
  }

  /** Begins to warm up. Throws nothing: what is in the way is logged. */
  begin(): void {
    if (this.running || process.platform !== 'linux') return;
    this.running = true;
    this.warmUp();
  }

  /** The process that forks now; undefined while everything starts cold. */
  get pid(): number | undefined {
    return this.current?.ready ? this.current.zygote.pid : undefined;
  }

  /** Ends the warm processes. What they have started goes on, and its ends become untold. */
  async stop(): Promise<void> {
    this.running = false;
    clearTimeout(this.timer);
    clearTimeout(this.warmUpTimer);
    this.current = undefined;
    await Promise.all([...this.zygotes].map(zygote => zygote.close()));
  }

  /** A shim that waits for its `go`, or undefined when the start has to be cold. */
  async start(options: ShimOptions): Promise<Shim | undefined> {
    if (!this.running || options.command[0] !== this.script) return undefined;
    try {
      if (!this.current?.ready) throw new ColdStartError('no warm process is ready');
      const shim = await this.current.zygote.start(options, birthTimeoutMs);
      this.starts.warm += 1;
      return shim;
    } catch (error) {
      this.starts.cold += 1;
      this.options.log.debug({ runDir: options.runDir, reason: (error as Error).message }, 'a container starts cold');
      return undefined;
    }
  }

  private warmUp(): void {
    const { python, binDir, baseEnv, dir, profile } = this.options;
    const interpreter = interpreterOf(this.script);
    if (!interpreter || !sameInterpreter(interpreter, python)) {
      const found = interpreter ?? 'none that could be found out';
      this.again(`${this.script} is run by another interpreter than ${python}: ${found}`);
      return;
    }
    try {
      mkdirSync(dir, { recursive: true });
      const zygote = new Zygote({
        interpreter,
        script: this.script,
        profile: profile ?? path.join(import.meta.dirname, 'flyte_runtime.py'),
        env: containerBaseEnv(baseEnv, [binDir]),
        outputFile: path.join(dir, 'zygote.log'),
        onOver: why => this.onOver(zygote, why),
      });
      this.follow(zygote);
    } catch (error) {
      this.again((error as Error).message); // no room for its output, or for a process
    }
  }

  private follow(zygote: Zygote): void {
    const begunAtMs = Date.now();
    const current = { zygote, ready: false, begunAtMs };
    this.current = current;
    this.zygotes.add(zygote);
    void zygote.gone.then(() => this.zygotes.delete(zygote));
    this.warmUpTimer = setTimeout(() => zygote.kill(), warmUpTimeoutMs);
    void zygote.ready.then(() => {
      clearTimeout(this.warmUpTimer);
      current.ready = true;
      this.options.log.debug({ pid: zygote.pid, tookMs: Date.now() - begunAtMs }, 'python is warm');
    });
  }

  private onOver(zygote: Zygote, why: { stale: string } | { died: string }): void {
    const { current } = this;
    if (current?.zygote !== zygote) return;
    clearTimeout(this.warmUpTimer);
    this.current = undefined;
    if (!this.running) return;
    if (Date.now() - current.begunAtMs > soundLifeMs) this.pauseMs = this.options.pauseMs ?? firstPauseMs;
    if ('stale' in why) {
      this.options.log.debug({ path: why.stale }, 'the python environment has changed: it is warmed up anew');
      zygote.retire();
      this.warmUp();
    } else {
      this.again(why.died);
    }
  }

  private again(reason: string): void {
    this.options.log.debug({ reason, pauseMs: this.pauseMs }, 'python is not warm: tasks start cold');
    this.timer = setTimeout(() => this.warmUp(), this.pauseMs);
    this.timer.unref();
    this.pauseMs = Math.min(this.pauseMs * 2, longestPauseMs);
  }
}
