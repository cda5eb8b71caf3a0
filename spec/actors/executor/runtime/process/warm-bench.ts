import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { V1Container } from '@kubernetes/client-node';
import { pino } from 'pino';
import { WarmPython } from '../../../../../actors/executor/runtime/process/warm/warm-python.ts';
import { until } from './pod-bench.ts';

/** Stands for the task runtime of an SDK: importing it makes an event loop, a thread, and reads settings; it runs what it is given. */
const module = `
import asyncio, os, random, sys, threading, multiprocessing.process
LEVEL = os.environ.get('PROBE_LEVEL', 'none')
SIZE = os.environ.get('PROBE_SIZE')
class Background:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True, name='background')
        self.thread.start()
    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(5)
background = Background()
def main():
    exec(compile(sys.argv[1], 'task.py', 'exec'), {'background': background, 'LEVEL': LEVEL})
`;

const profile = `
import sys, os
REQUIRED = ('probe_runtime',)
WELCOME = ('json', 'no_such_module')
REAPPLIED = {'PROBE_LEVEL'}
def watched(): return []
def prepare(): pass
def irrelevant(reader, name): return False
def reason_against(env, warm): return 'PROBE_UNUSUAL is set' if 'PROBE_UNUSUAL' in env else None
def reapply(): sys.modules['probe_runtime'].LEVEL = os.environ.get('PROBE_LEVEL', 'none')
`;

export const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();

/** A Python environment with a small task runtime, kept warm. */
export class WarmBench {
  readonly dir: string;
  readonly binDir: string;
  readonly warm: WarmPython;
  /** What it logged, latest last. */
  readonly said: { msg: string; reason?: string }[] = [];

  constructor(dir: string) {
    this.dir = dir;
    this.binDir = path.join(dir, 'bin');
    this.warm = new WarmPython({
      python,
      binDir: this.binDir,
      baseEnv: process.env,
      dir: path.join(dir, 'warm'),
      log: pino({ level: 'debug' }, { write: line => this.said.push(JSON.parse(line)) }),
      profile: path.join(dir, 'profile.py'),
      pauseMs: 20,
    });
  }

  static async open(): Promise<WarmBench> {
    const bench = new WarmBench(await mkdtemp(path.join(os.tmpdir(), 'starling-warm-')));
    await mkdir(bench.binDir);
    await bench.writeScript(`#!${python}\n`);
    await writeFile(path.join(bench.binDir, 'probe_runtime.py'), module);
    await writeFile(path.join(bench.dir, 'profile.py'), profile);
    return bench;
  }

  async writeScript(head: string): Promise<void> {
    const body = "import sys\nfrom probe_runtime import main\nif __name__ == '__main__':\n    sys.exit(main())\n";
    await writeFile(path.join(this.binDir, 'a0'), head + body, { mode: 0o755 });
  }

  async untilWarm(): Promise<number> {
    await until('python is warm', () => this.warm.pid !== undefined);
    return this.warm.pid!;
  }

  async close(): Promise<void> {
    await this.warm.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A container that runs Python code through the console script. */
export const task = (code: string, more: Partial<V1Container> = {}): V1Container => ({
  name: 'main',
  image: 'any',
  args: ['a0', code, '--flag', 'é'],
  ...more,
});
