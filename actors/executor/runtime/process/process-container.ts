import { mkdir, readdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { V1Container } from '@kubernetes/client-node';
import { quantityOf } from '../../quantity.ts';
import { CommandNotFoundError, ContainerConfigError, findCommand } from './container-command.ts';
import type { ContainerKind, ContainerState, ContainerView, Outcome, Refusal } from './container-state.ts';
import { LogFile, logTail } from './log-file.ts';
import { identityOf, listProcesses, sendSignal } from './process-table.ts';
import { RunDirectory, type ShimProcess } from './run-directory.ts';
import { type Shim, type ShimOptions, spawnShim } from './shim.ts';

/** The running process of one run; `told` only while this node is told of its end, by then with the exit code. */
type Live = ShimProcess & { told?: { exitCode?: number } };

export type Launch = {
  command: string[];
  env: Record<string, string>;
  workDir: string;
  /** Scheduling priority as of nice(1): the node stays quick while the payloads fill the machine. */
  niceness: number;
};

/** A shim that leaves without having started anything is tried again this often; then something is wrong (disk full?). */
const mostFruitless = 3;

/** We did not kill it for memory, nor because it should end. */
const killedFromOutside =
  'killed by SIGKILL from outside: by the kernel, when the machine ran out of memory, or by somebody';

/** A courtesy to the node and the machine: when it is refused (the node itself runs lower), the payload runs all the same. */
function lowerPriority(pid: number, niceness: number): void {
  try {
    if (niceness > os.getPriority(pid)) os.setPriority(pid, niceness);
  } catch {}
}

/**
 * One container of a pod and its runs, each with a directory `<dir>/<n>/` of its own (n counts the restarts of a sidecar);
 * all runs write one log. {@link refresh} turns the evidence of the current run into a {@link ContainerState}; if the node
 * dies, the next one reads the same evidence.
 * Invariant: the state is `ended` only when nothing of the run's process group is alive.
 */
export class ProcessContainer {
  readonly name: string;
  readonly kind: ContainerKind;
  readonly spec: V1Container;
  readonly log: LogFile;
  /** Limit on the memory of all processes of the container; undefined: none. */
  readonly memoryLimitBytes: number | undefined;
  private readonly dir: string;
  private readonly onExit: () => void;
  private readonly startShim: (options: ShimOptions) => Promise<Shim>;
  private restarts = 0;
  private run: RunDirectory;
  private state: ContainerState = { is: 'waiting' };
  private lastOutcome: Outcome | undefined;
  private signalled: 'SIGTERM' | 'SIGKILL' | undefined;
  private live: Live | undefined;
  /** Launches of this run that came to nothing. */
  private fruitless = 0;

  /**
   * @param onExit called when the end of a process was told: time to look again
   * @param startShim how shims are forked
   */
  constructor(
    spec: V1Container,
    kind: ContainerKind,
    dir: string,
    onExit: () => void,
    startShim: (options: ShimOptions) => Promise<Shim> = spawnShim,
  ) {
    this.name = spec.name;
    this.kind = kind;
    this.spec = spec;
    this.dir = dir;
    this.run = this.runDirectory(0);
    this.onExit = onExit;
    this.startShim = startShim;
    this.log = new LogFile(path.join(dir, 'log'));
    const limit = quantityOf(spec.resources?.limits?.memory ?? '');
    this.memoryLimitBytes = limit ? limit : undefined;
  }

  private runDirectory(run: number): RunDirectory {
    return new RunDirectory(path.join(this.dir, String(run)));
  }

  /** Reads what an earlier node has left. */
  async load(): Promise<void> {
    const entries = await readdir(this.dir).catch(() => [] as string[]);
    this.restarts = Math.max(0, ...entries.filter(entry => /^\d+$/.test(entry)).map(Number));
    this.run = this.runDirectory(this.restarts);
    if (this.restarts > 0) {
      this.lastOutcome = (await this.runDirectory(this.restarts - 1).readConclusion()) as Outcome | undefined;
    }
    const said = await this.run.readConclusion();
    if (said) {
      this.state =
        said.reason === 'CreateContainerConfigError'
          ? { is: 'refused', refusal: said }
          : { is: 'ended', outcome: said as Outcome };
      return;
    }
    const shim = await this.run.readShim();
    if (!shim) return;
    this.live = shim;
    this.state = { is: 'running', startedAtMs: shim.startedAtMs };
  }

  view(): ContainerView {
    return {
      name: this.name,
      kind: this.kind,
      image: this.spec.image ?? '',
      state: this.state,
      restarts: this.restarts,
      ...(this.lastOutcome && { lastOutcome: this.lastOutcome }),
      ...(this.signalled && { signalled: this.signalled }),
    };
  }

  get running(): boolean {
    return this.state.is === 'running';
  }

  /** It runs under a shim whose end nobody tells, as one that an earlier node has forked: the end must be looked for. */
  get adopted(): boolean {
    return this.running && this.live !== undefined && !this.live.told;
  }

  /** Session (and process group) of the running payload. */
  get session(): number | undefined {
    return this.live?.pid;
  }

  /**
   * Starts the payload; the state is `running` afterwards, or `ended` or `refused` when it cannot be started.
   * `prepare` builds command and environment; what it throws decides which.
   */
  async launch(prepare: () => Promise<Launch>): Promise<void> {
    let shim: Shim | undefined;
    const startedAtMs = Date.now();
    try {
      await this.run.prepare();
      await this.log.create();
      const { command, env, workDir, niceness } = await prepare();
      await mkdir(workDir, { recursive: true });
      const [program, ...args] = command;
      const found = await findCommand(program!, env, workDir);
      const label = `starling/${this.name}`;
      shim = await this.startShim({ runDir: this.run.path, workDir, command: [found, ...args], env, label });
      const live: Live = { pid: shim.pid, identity: (await identityOf(shim.pid)) ?? '', startedAtMs, told: {} };
      void shim.end.then(exitCode => {
        if (exitCode === undefined) delete live.told;
        else live.told = { exitCode };
        this.onExit();
      });
      lowerPriority(shim.pid, niceness);
      await this.run.writeShim(live);
      this.live = live;
      this.signalled = undefined;
      this.state = { is: 'running', startedAtMs };
      shim.go();
    } catch (error) {
      if (shim) sendSignal(-shim.pid, 'SIGKILL'); // it has not been told to go, so nothing of the payload has run
      const { message } = error as Error;
      if (error instanceof ContainerConfigError) {
        const refusal: Refusal = { reason: 'CreateContainerConfigError', message, refusedAtMs: Date.now() };
        this.state = { is: 'refused', refusal };
        await this.run.conclude(refusal);
      } else if (error instanceof CommandNotFoundError) {
        await this.end({ exitCode: 127, reason: 'ContainerCannotRun', message });
      } else {
        await this.end({ exitCode: 128, reason: 'StartError', message: `cannot start in ${this.dir}: ${message}` });
      }
    }
  }

  /** Makes room for the next run of a sidecar that has ended. */
  restart(): void {
    if (this.state.is !== 'ended') return;
    this.lastOutcome = this.state.outcome;
    this.restarts += 1;
    this.run = this.runDirectory(this.restarts);
    this.fruitless = 0;
    this.signalled = undefined;
    this.state = { is: 'waiting' };
  }

  /**
   * Looks at the evidence of a running container and concludes it when it has ended. Idempotent, and cheap while it runs.
   * True when it is about to end: look again soon.
   */
  async refresh(): Promise<boolean> {
    const live = this.live;
    if (this.state.is !== 'running' || !live) return false;
    let exit = this.run.readExit();
    const exitCode = live.told?.exitCode;
    if (!exit) {
      const alive = live.told ? exitCode === undefined : (await identityOf(live.pid)) === live.identity;
      if (alive) {
        // An earlier node may have died between writing oom.json and the kill.
        if (!live.told && this.run.outOfMemory) await this.signal('SIGKILL');
        return false;
      }
      exit = this.run.readExit(); // it may have been written between the two looks
    }
    // Also when the shim was killed and the payload lives on without it.
    if (await this.killLeftovers(live)) return true;
    if (exit) {
      await this.end({ exitCode: exit.code, finishedAtMs: exit.atMs });
    } else if (!this.run.started && !this.run.outOfMemory) {
      // The shim left before it had created `started`: nobody told it to go, or it could not. The payload never ran.
      await this.startAgain();
    } else if (exitCode !== undefined) {
      await this.end({ exitCode });
    } else {
      await this.end({
        exitCode: 137,
        reason: 'ContainerStatusUnknown',
        message: 'gone without an exit code: killed while the server was down, or the machine was restarted',
      });
    }
    return false;
  }

  private async startAgain(): Promise<void> {
    this.fruitless += 1;
    if (this.fruitless > mostFruitless) {
      const message = `the shim cannot start in ${this.run.path}: is the disk full?`;
      await this.end({ exitCode: 128, reason: 'StartError', message });
      return;
    }
    this.live = undefined;
    this.state = { is: 'waiting' };
  }

  /**
   * SIGTERM goes to the payload's main process, as a kubelet sends it to process 1, so that it can end its own children in
   * its own way; what it leaves behind is killed after it (shim.ts). SIGKILL goes to every process group of the session.
   * False when there was no main process: it has not been forked yet, or has just ended.
   */
  async signal(signal: 'SIGTERM' | 'SIGKILL'): Promise<boolean> {
    const live = this.live;
    if (!live || !this.running) return true;
    if (signal === 'SIGKILL') {
      for (const group of await this.groups(live)) sendSignal(-group, signal);
    } else {
      const rows = await listProcesses();
      if (rows.find(({ pid }) => pid === live.pid)?.identity !== live.identity) return false;
      const main = rows.find(({ parent }) => parent === live.pid);
      if (!main || !sendSignal(main.pid, signal)) return false;
    }
    this.signalled = signal;
    return true;
  }

  /** Ends the container because its processes hold more memory than its limit. */
  async killForMemory(usedBytes: number): Promise<void> {
    if (!this.live || !this.running || this.signalled === 'SIGKILL') return;
    await this.run.writeOutOfMemory(usedBytes);
    await this.signal('SIGKILL');
  }

  /**
   * The process groups of a run: its own and those its processes have made within the session. Empty when the pid belongs
   * to somebody else by now (a group's number is not given out again while the group has members).
   */
  private async groups(live: Live): Promise<Set<number>> {
    const identity = await identityOf(live.pid);
    if (identity !== undefined && identity !== live.identity) return new Set();
    const rows = await listProcesses();
    return new Set(rows.filter(({ session }) => session === live.pid).map(({ group }) => group));
  }

  /** Kills what is left of a run; false when nothing is. */
  private async killLeftovers(live: Live): Promise<boolean> {
    if (!sendSignal(-live.pid, 0)) return false; // the usual case, for one system call
    const groups = await this.groups(live);
    for (const group of groups) sendSignal(-group, 'SIGKILL');
    return groups.size > 0;
  }

  private async end(said: Omit<Partial<Outcome>, 'exitCode'> & { exitCode: number }): Promise<void> {
    const oom = await this.run.readOutOfMemory();
    const { exitCode } = said;
    this.log.noteGrowth();
    const tail =
      exitCode !== 0 && this.spec.terminationMessagePolicy === 'FallbackToLogsOnError'
        ? await logTail(this.log)
        : undefined;
    const strange = exitCode === 137 && !this.signalled && said.reason === undefined;
    const message = oom
      ? `the processes held ${oom.usedBytes} bytes of memory, the limit is ${this.spec.resources?.limits?.memory}`
      : [strange && killedFromOutside, said.message, tail].filter(Boolean).join('\n');
    const outcome: Outcome = {
      exitCode: oom ? 137 : exitCode,
      reason: oom ? 'OOMKilled' : (said.reason ?? (exitCode === 0 ? 'Completed' : 'Error')),
      ...(exitCode > 128 && exitCode <= 192 && said.reason === undefined && { signal: exitCode - 128 }),
      ...(message && { message }),
      ...(this.state.is === 'running' && { startedAtMs: this.state.startedAtMs }),
      finishedAtMs: said.finishedAtMs ?? Date.now(),
    };
    this.live = undefined;
    this.state = { is: 'ended', outcome };
    await this.run.conclude(outcome);
  }
}
