/**
 * A server that Starling brings along (Postgres, Redis) and looks after as its own process.
 *
 * It runs in a session of its own, so that Ctrl-C in the terminal does not stop it before the work on it has drained, and
 * so it outlives a killed Starling. Life:
 *
 *   stopped → starting → ready ⇄ waiting (it died; started again after a back-off) → stopping → stopped
 *
 * Entering `starting` first ends an orphan that a killed Starling left behind: it may hold locks of sessions whose owners are
 * dead, and runs with the settings of another day. Never two at once on one directory: the pid file is written before
 * anything else happens, and a pid counts only while its command line is that of our server.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { StartError } from '../start-error.ts';
import { commandLineOf, isAlive } from './processes.ts';

export interface ServerSpec {
  /** For people, like `PostgreSQL`. */
  name: string;
  command: string;
  args: readonly string[];
  uid?: number | undefined;
  gid?: number | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** Receives what the server prints; moved to `<file>.1` when larger than 20 MB at a start. */
  logFile: string;
  /** Written by us when it starts. */
  pidFile: string;
  /** Written by the server itself, which refuses to start while their first line is the pid of any process. */
  ownPidFiles?: readonly string[];
  /** A text that the command line of this server, and of no other, contains. */
  marker: string;
  /** Whether it answers requests now; must not throw. */
  probe: () => Promise<boolean>;
  readyTimeoutMs: number;
  /** From gentle to hard: each is sent after the one before had its time. */
  stopSignals: readonly { signal: NodeJS.Signals; waitMs: number }[];
  log: Logger;
}

/** The server did not come up: what it printed last is in the message. */
export class ServerStartError extends StartError {
  override name = 'ServerStartError';
}

const LOG_FILE_LIMIT_BYTES = 20_000_000;
const FIRST_BACKOFF_MS = 250;
const LAST_BACKOFF_MS = 10_000;
/** A server that was up this long is trusted again: its next restart is quick. */
const HEALTHY_AFTER_MS = 60_000;
const PROBE_EVERY_MS = 25;

export class ServerProcess {
  readonly #spec: ServerSpec;
  #state: 'stopped' | 'starting' | 'ready' | 'waiting' | 'stopping' = 'stopped';
  #child: ChildProcess | undefined;
  #readyAt = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #restart: AbortController | undefined;
  #launching: Promise<void> | undefined;

  constructor(spec: ServerSpec) {
    this.#spec = spec;
  }

  get state() {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Ends an orphan, starts the server and waits until it answers.
   * @throws ServerStartError when it exits or does not answer in time; nothing is left running then
   */
  async start(): Promise<void> {
    this.#state = 'starting';
    try {
      await this.endOrphan();
      if (this.#state !== 'starting') throw new ServerStartError(`${this.#spec.name} was stopped while it started.`);
      await this.#launch();
    } catch (error) {
      this.#state = 'stopped';
      throw error;
    }
  }

  /** Stops it, gently first; returns when it is gone. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopping';
    this.#restart?.abort();
    const pid = this.#child?.pid;
    if (pid !== undefined) await this.#end(pid);
    // A launch that was under way sees that we are stopping and ends its own child.
    await this.#launching?.catch(() => undefined);
    rmSync(this.#spec.pidFile, { force: true });
    this.#state = 'stopped';
  }

  /** Stops the server of this directory that an earlier Starling started, if one still runs. */
  async endOrphan(): Promise<void> {
    const { pidFile, ownPidFiles = [], marker, name, log } = this.#spec;
    for (const file of [pidFile, ...ownPidFiles]) {
      const pid = readPid(file);
      if (pid === undefined) continue;
      if (commandLineOf(pid)?.includes(marker)) {
        log.warn({ server: name, pid }, 'stopping a server left over from a killed Starling');
        await this.#end(pid);
      }
      // A stale file may name a pid that now belongs to somebody else, which would keep the server from starting.
      rmSync(file, { force: true });
    }
  }

  #launch(): Promise<void> {
    this.#launching = this.#launchNow();
    return this.#launching;
  }

  async #launchNow(): Promise<void> {
    const { name, command, args, uid, gid, env, logFile, pidFile, probe, readyTimeoutMs } = this.#spec;
    mkdirSync(path.dirname(logFile), { recursive: true, mode: 0o700 });
    const logStart = rotate(logFile);
    const output = openSync(logFile, 'a');
    const child = spawn(command, args, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...env },
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    closeSync(output);
    let ended: string | undefined;
    child.once('error', error => (ended = error.message));
    child.once('exit', (code, signal) => (ended = signal ? `ended by ${signal}` : `ended with exit code ${code}`));
    this.#child = child;
    if (child.pid !== undefined) writeFileSync(pidFile, `${child.pid}\n`);

    const deadline = Date.now() + readyTimeoutMs;
    while (!(await probe())) {
      if (ended === undefined && Date.now() < deadline && this.#state !== 'stopping') {
        await sleep(PROBE_EVERY_MS);
        continue;
      }
      if (ended === undefined && child.pid !== undefined) await this.#end(child.pid);
      const reason = ended ?? `did not answer within ${readyTimeoutMs / 1000} s`;
      throw new ServerStartError(
        `${name} did not start: it ${reason}.\n${lastLines(logFile, logStart)}\nIts log is ${logFile}.`,
      );
    }
    if (this.#state === 'stopping' && child.pid !== undefined) {
      await this.#end(child.pid);
      throw new ServerStartError(`${name} was stopped while it started.`);
    }
    if (ended !== undefined) throw new ServerStartError(`${name} ${ended}. Its log is ${logFile}.`);
    this.#readyAt = Date.now();
    this.#state = 'ready';
    child.once('exit', () => void (this.#child === child && this.#revive()));
  }

  /** The server died on its own: bring it back, waiting longer each time it does not stay. */
  async #revive(): Promise<void> {
    const { name, log, logFile } = this.#spec;
    const stay = new AbortController();
    this.#restart = stay;
    if (Date.now() - this.#readyAt > HEALTHY_AFTER_MS) this.#backoffMs = FIRST_BACKOFF_MS;
    while (this.#state === 'ready' || this.#state === 'waiting') {
      this.#state = 'waiting';
      log.error(
        { server: name, logFile, backoffMs: this.#backoffMs },
        'an embedded server ended unexpectedly and is started again',
      );
      await sleep(this.#backoffMs, undefined, { signal: stay.signal }).catch(() => undefined);
      this.#backoffMs = Math.min(this.#backoffMs * 2, LAST_BACKOFF_MS);
      if (stay.signal.aborted) return;
      try {
        await this.#launch();
        log.info({ server: name, pid: this.pid }, 'the embedded server is back');
        return;
      } catch (error) {
        log.error({ server: name, err: error }, 'the embedded server did not come back yet');
      }
    }
  }

  async #end(pid: number): Promise<void> {
    for (const { signal, waitMs } of this.#spec.stopSignals) {
      try {
        process.kill(pid, signal);
      } catch {
        return;
      }
      const deadline = Date.now() + waitMs;
      while (Date.now() < deadline) {
        if (!isAlive(pid)) return;
        await sleep(PROBE_EVERY_MS);
      }
    }
    if (isAlive(pid)) throw new ServerStartError(`${this.#spec.name} (pid ${pid}) cannot be stopped: end it by hand.`);
  }
}

/** Moves a large log away; answers where the next line will be written. */
function rotate(file: string): number {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= LOG_FILE_LIMIT_BYTES) return size;
  renameSync(file, `${file}.1`);
  return 0;
}

function lastLines(file: string, from: number): string {
  const text = readFileSync(file).subarray(from).toString('utf8').trim();
  return text.split('\n').slice(-15).join('\n');
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
