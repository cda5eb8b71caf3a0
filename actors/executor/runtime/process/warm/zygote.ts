import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import path from 'node:path';
import { POD_UID_VARIABLE } from '../../pod-runtime.ts';
import type { Shim, ShimOptions } from '../shim.ts';

const program = path.join(import.meta.dirname, 'zygote.py');

/** Room that the zygote needs in its own environment and command line to write those of a container over them. */
const uidRoomBytes = 256;
const commandRoomBytes = 4096;

export type ZygoteOptions = {
  /** The interpreter, as the script names it. */
  interpreter: string;
  /** The console script whose starts are to be warm. */
  script: string;
  /** What to import, and what to know about it (flyte_runtime.py). */
  profile: string;
  /** What every container's environment begins with. */
  env: Record<string, string>;
  /** Where its output goes; written anew. */
  outputFile: string;
  /** It is over for this one: `stale` when what it has imported has changed, else its last words. */
  onOver: (why: { stale: string } | { died: string }) => void;
};

/** What was asked for cannot be done warm; the message is the reason. */
export class ColdStartError extends Error {
  override readonly name = 'ColdStartError';
}

type Said = {
  ready?: true;
  unfit?: string;
  born?: number;
  cold?: number;
  reason?: string;
  stale?: string;
  gone?: number;
  pid?: number;
  code?: number;
};

type Birth = { resolve(pid: number): void; reject(error: ColdStartError): void };

/**
 * One process of zygote.py, whose head describes its life and the messages.
 * If this node dies, the zygote leaves, and the payloads go on; if the zygote dies, the payloads go on, too, and the ends of
 * their shims become untold ({@link Shim}.end): whoever watches them has to look.
 */
export class Zygote {
  private readonly process: ChildProcess;
  private readonly channel: Socket | undefined;
  private readonly births = new Map<number, Birth>();
  private readonly shims = new Map<number, (exitCode: number | undefined) => void>();
  private readonly options: ZygoteOptions;
  private unfit: string | undefined;
  private nextId = 1;
  private over = false;
  /** Settles when it can fork. */
  readonly ready: Promise<void>;
  /** Settles when the process is gone. */
  readonly gone: Promise<void>;

  constructor(options: ZygoteOptions) {
    this.options = options;
    const { interpreter, script, profile, env, outputFile } = options;
    const output = openSync(outputFile, 'w', 0o600);
    const room = ' '.repeat(commandRoomBytes);
    try {
      this.process = spawn(interpreter, [program, JSON.stringify({ script, profile }), room], {
        cwd: '/',
        env: { ...env, [POD_UID_VARIABLE]: '-'.repeat(uidRoomBytes) },
        detached: true,
        stdio: ['ignore', output, output, 'pipe'],
      });
    } finally {
      closeSync(output);
    }
    this.channel = this.process.stdio?.[3] as Socket | undefined;
    this.channel?.on('error', () => {}); // it died; its end says so
    this.channel?.unref();
    this.process.unref();
    let isReady: () => void = () => {};
    this.ready = new Promise(resolve => {
      isReady = resolve;
    });
    this.gone = new Promise(resolve => {
      const end = (died: string) => {
        resolve();
        this.end({ died });
        for (const untold of this.shims.values()) untold(undefined);
        this.shims.clear();
      };
      this.process.once('error', error => end(error.message));
      this.process.once('close', (code, signal) =>
        end(this.unfit ?? `ended with ${signal ?? `code ${code}`}: ${this.lastWords()}`),
      );
    });
    let pending = '';
    this.channel?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (pending + text).split('\n');
      pending = lines.pop()!;
      for (const line of lines) {
        const said = JSON.parse(line) as Said;
        if (said.ready) isReady();
        else this.hear(said);
      }
    });
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  private lastWords(): string {
    try {
      return readFileSync(this.options.outputFile, 'utf8').trim().split('\n').at(-1) || 'it said nothing';
    } catch {
      return 'what it said cannot be read';
    }
  }

  private end(why: { stale: string } | { died: string }): void {
    for (const { reject } of this.births.values()) reject(new ColdStartError('the warm process is gone'));
    this.births.clear();
    if (this.over) return;
    this.over = true;
    this.options.onOver(why);
  }

  private say(message: object): void {
    this.channel?.write(`${JSON.stringify(message)}\n`);
  }

  private hear(said: Said): void {
    if (said.unfit !== undefined) this.unfit = `it is not fit to be forked: ${said.unfit}`;
    else if (said.born !== undefined) {
      const birth = this.births.get(said.born);
      this.births.delete(said.born);
      if (birth) birth.resolve(said.pid!);
      else this.say({ drop: said.born });
    } else if (said.cold !== undefined) {
      this.births.get(said.cold)?.reject(new ColdStartError(said.reason));
      this.births.delete(said.cold);
      if (said.stale !== undefined) this.end({ stale: said.stale });
    } else if (said.gone !== undefined) {
      this.shims.get(said.gone)?.(said.code);
      this.shims.delete(said.gone);
    }
  }

  /**
   * Forks a shim that waits for its `go`, as {@link spawnShim} does. Rejects with {@link ColdStartError} when it cannot, or
   * when it has not within `timeoutMs`: what is born later is dropped.
   */
  async start(options: ShimOptions, timeoutMs: number): Promise<Shim> {
    const id = this.nextId++;
    let timer: NodeJS.Timeout | undefined;
    const pid = await new Promise<number>((resolve, reject) => {
      this.births.set(id, { resolve, reject });
      timer = setTimeout(() => {
        this.births.delete(id);
        reject(new ColdStartError(`no answer within ${timeoutMs} ms`));
        this.kill();
      }, timeoutMs);
      this.say({ start: id, ...options });
    }).finally(() => clearTimeout(timer));
    const end = new Promise<number | undefined>(resolve => this.shims.set(pid, resolve));
    return { pid, end, go: () => this.say({ go: id }) };
  }

  /** Nothing more will be asked of it: it stays until all it has forked has ended, to tell how. */
  retire(): void {
    this.over = true;
    this.say({ retire: true });
  }

  /** Ends it now. */
  kill(): void {
    this.process.kill('SIGKILL');
  }

  /** Ends it as the death of this node would. */
  async close(): Promise<void> {
    this.over = true;
    this.channel?.destroy();
    const late = setTimeout(() => this.kill(), 2000);
    await this.gone;
    clearTimeout(late);
  }
}
