/**
 * The first real run of a new data directory: hello.py, submitted through the SDK by the Python that will run all tasks, followed
 * live. It proves the whole installation on the user's machine. Its failure is told and changes nothing; it then comes again at
 * the next start.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ActionPhase } from '../../proto/gen/flyteidl2/common/phase_pb.js';
import type { PythonEnvironment } from '../python-env.ts';
import type { Terminal } from '../terminal.ts';
import { followRun } from './follow.ts';

export interface DemoOptions {
  dataDir: string;
  /** What clients are given, like `localhost:8090`. */
  endpoint: string;
  baseUrl: string;
  project: string;
  domain: string;
  python: PythonEnvironment;
  env: Readonly<Record<string, string | undefined>>;
  terminal: Terminal;
  now: () => number;
  signal: AbortSignal;
}

/** Whether the demonstration is still due in this data directory. */
export function isDemoDue(dataDir: string): boolean {
  return !existsSync(doneFile(dataDir));
}

/** Runs the demonstration. Never throws: what went wrong is printed, with where to look. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { terminal, signal, dataDir } = options;
  terminal.print('A first run, to see that all works: deploy/demo/hello.py, on this machine\n');
  const end = new AbortController();
  const client = submit(options, AbortSignal.any([signal, end.signal]));
  try {
    const name = await client.run;
    const { project, domain, baseUrl, now } = options;
    const root = await followRun({ baseUrl, run: { project, domain, name }, terminal, now, signal });
    if (root.phase !== ActionPhase.SUCCEEDED)
      throw new Error(`the run ${name} did not succeed. See: flyte get logs ${name}`);
    const output = await client.output;
    writeFileSync(doneFile(dataDir), `${name}\n`);
    terminal.print(`\nThe run ${name} answers: pi is about ${output}.\n`);
  } catch (error) {
    end.abort();
    if (signal.aborted) return;
    const words = client.errors().trim().split('\n').slice(-12).join('\n');
    terminal.print(
      `\nThe first run failed: ${(error as Error).message}\n${words}\nThe server goes on; the first run comes again at the next start (--no-demo skips it).\n`,
    );
  }
}

function doneFile(dataDir: string): string {
  return path.join(dataDir, 'demo', 'done');
}

/** The client program: its first line tells the run's name, its second the output. */
function submit(options: DemoOptions, signal: AbortSignal) {
  const { python, endpoint, project, domain, dataDir, env } = options;
  // The SDK remembers in its home which code it has uploaded. Another data directory does not have that code.
  const home = path.join(dataDir, 'demo');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const child = spawn(python.python, [path.join(import.meta.dirname, 'submit.py'), endpoint, project, domain], {
    cwd: home,
    // Nothing else of the shell: a FLYTE_… or UCTL_CONFIG of it would send the run elsewhere (sdk.md §2.2).
    env: {
      PATH: env.PATH,
      LANG: env.LANG,
      TMPDIR: env.TMPDIR,
      HOME: home,
      FLYTE_DISABLE_TELEMETRY: '1',
      DO_NOT_TRACK: '1',
      PYTHONDONTWRITEBYTECODE: '1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  let errors = '';
  child.stderr.on('data', chunk => (errors += chunk));
  const told: { run?: string; output?: string | number } = {};
  const ended = new Promise<string>(resolve => {
    child.once('error', error => resolve(error.message));
    child.once('close', (code, by) => resolve(`the client ended ${by ? `by ${by}` : `with exit code ${code}`}`));
  });
  const lines = createInterface({ input: child.stdout });
  lines.on('line', line => line.startsWith('{') && Object.assign(told, JSON.parse(line)));
  const hear = (key: 'run' | 'output') => {
    const heard = new Promise<string>((resolve, reject) => {
      const look = () => told[key] !== undefined && resolve(String(told[key]));
      lines.on('line', look);
      void ended.then(why => look() || reject(new Error(why)));
    });
    // Whoever waits for it hears of it; when the run itself failed nobody does.
    heard.catch(() => undefined);
    return heard;
  };
  return { run: hear('run'), output: hear('output'), errors: () => errors };
}
