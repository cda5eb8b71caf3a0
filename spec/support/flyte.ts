import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * The Python with the Flyte SDK that runs clients and tasks of the larger suites.
 * @throws Error when the environment does not name one: these suites prove nothing without it
 */
export function flytePython(): string {
  const executable = process.env.STARLING_PYTHON_EXECUTABLE;
  if (executable) return executable;
  throw new Error(
    'STARLING_PYTHON_EXECUTABLE is not set: make a virtual environment with `pip install "flyte==2.12.*" pandas pyarrow` and name its bin/python',
  );
}

/** A client program that runs. */
export interface Program {
  readonly child: ChildProcess;
  /** What it has printed so far, both streams. */
  output(): string;
  /** Waits until it printed a line that begins with `word`; answers the rest of that line. Throws when it ends without. */
  said(word: string): Promise<string>;
  /** Waits for its end; answers its output. Throws with it unless the exit code is 0. */
  done(): Promise<string>;
}

/**
 * Runs a Python program against a server (support/server.ts), given to it as FLYTE_ENDPOINT.
 * @param server.home the HOME of the client: the SDK keeps there what it has uploaded, which another server does not have
 */
export function runProgram(
  file: string,
  args: readonly string[],
  server: { readonly endpoint: string; readonly home: string },
  env: Readonly<Record<string, string>> = {},
): Program {
  const child = spawn(flytePython(), ['-u', file, ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: server.home,
      LANG: 'C.UTF-8',
      FLYTE_DISABLE_SENTRY: '1',
      FLYTE_ENDPOINT: server.endpoint,
      PYTHONDONTWRITEBYTECODE: '1',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let text = '';
  const listeners = new Set<() => void>();
  const add = (chunk: Buffer) => {
    text += chunk;
    for (const listener of listeners) listener();
  };
  child.stdout!.on('data', add);
  child.stderr!.on('data', add);
  const closed = once(child, 'close').then(() => {
    running.delete(child);
    for (const listener of listeners) listener();
  });
  return {
    child,
    output: () => text,
    async said(word) {
      const find = () =>
        text
          .split('\n')
          .slice(0, -1)
          .find(line => line.startsWith(word));
      for (;;) {
        const line = find();
        if (line !== undefined) return line.slice(word.length).trim();
        if (!running.has(child)) throw new Error(`${file} ended without saying "${word}":\n${text}`);
        await new Promise<void>(resolve => {
          const listener = () => {
            listeners.delete(listener);
            resolve();
          };
          listeners.add(listener);
        });
      }
    },
    async done() {
      await closed;
      if (child.exitCode === 0) return text;
      throw new Error(`${file} ${args.join(' ')} ended with ${child.exitCode ?? child.signalCode}:\n${text}`);
    },
  };
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
