/**
 * Which Python environment runs the tasks. In this order:
 *
 * 1. `python.executable`, when configured;
 * 2. the active virtual environment (VIRTUAL_ENV), when it has the flyte package;
 * 3. an environment of our own in `<dataDir>/python`, made once. Its stamp is written last: one without (the making was
 *    interrupted), with another stamp, or whose base Python is gone, is made anew.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { StartError } from './start-error.ts';

const run = promisify(execFile);

/** The SDK that this server is built for and tested with. */
export const FLYTE_REQUIREMENT = 'flyte==2.12.*';
const LEAST_FLYTE = [2, 12] as const;
const LEAST_PYTHON = [3, 10] as const;
const CANDIDATES = ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python'];
const REMEDY_NO_PYTHON =
  'Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python), or name one with STARLING_PYTHON_EXECUTABLE.';

export interface PythonEnvironment {
  python: string;
  /** Where `a0` and the other commands of the SDK are. */
  binDir: string;
  flyteVersion: string;
  pythonVersion: string;
  origin: 'configured' | 'active' | 'own';
}

export interface PythonEnvironmentOptions {
  dataDir: string;
  /** Environment of this program: PATH, VIRTUAL_ENV, and what pip reads (indexes, proxies). */
  env: Readonly<Record<string, string | undefined>>;
  /** `python.executable`. */
  executable?: string | undefined;
  /** `python.packages`: requirements of our own environment beside flyte. */
  packages: readonly string[];
  /** Is told once when something slow begins; the returned function is called when it ended. */
  progress: (text: string) => () => void;
  /** Is told of choices that may surprise. */
  notice: (sentence: string) => void;
  /** Ends a pip under way. */
  signal?: AbortSignal;
}

/** No environment can run tasks: the message says why and what to do. */
export class PythonEnvironmentError extends StartError {
  override name = 'PythonEnvironmentError';
}

/**
 * Chooses the environment, making our own if need be.
 * @throws PythonEnvironmentError
 */
export async function pythonEnvironment(options: PythonEnvironmentOptions): Promise<PythonEnvironment> {
  const { env, executable, dataDir, notice } = options;
  if (!onPath('tar', env)) {
    throw new PythonEnvironmentError(
      'There is no tar on the PATH, and tasks unpack their code with it. Install it (Debian, Ubuntu: apt install tar).',
    );
  }
  if (executable) {
    const found = await inspect(executable, env);
    return usable(found, executable, 'configured', 'python.executable names an environment');
  }
  const active = env.VIRTUAL_ENV;
  if (active) {
    const python = path.join(active, 'bin', 'python');
    const found = await inspect(python, env);
    if ('flyte' in found && found.flyte)
      return usable(found, python, 'active', `the active virtual environment ${active} is one`);
    const why =
      'failure' in found
        ? `does not run (${found.failure})`
        : `has no flyte (to use it: pip install '${FLYTE_REQUIREMENT}')`;
    notice(`The active virtual environment ${active} ${why}. Tasks run in ${path.join(dataDir, 'python')} instead.`);
  }
  return ownEnvironment(options);
}

async function ownEnvironment(options: PythonEnvironmentOptions): Promise<PythonEnvironment> {
  const { dataDir, packages, progress } = options;
  const env = withoutPythonSettings(options.env);
  const directory = path.join(dataDir, 'python');
  const python = path.join(directory, 'bin', 'python');
  const stampFile = path.join(directory, 'starling.json');
  const stamp = JSON.stringify({ requirements: [FLYTE_REQUIREMENT, ...packages] });

  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) {
    const found = await inspect(python, env);
    if ('flyte' in found && found.flyte) return usable(found, python, 'own', `${directory} is one`);
  }
  const base = await findBase(env);
  const done = progress(`Making a Python environment with ${FLYTE_REQUIREMENT.replace('==', ' ')} (once)`);
  try {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(dataDir, { recursive: true });
    await step(base, ['-m', 'venv', directory], env, options.signal);
    const requirements = [FLYTE_REQUIREMENT, ...packages];
    const pip = ['-m', 'pip', 'install', '--quiet', '--no-input', '--disable-pip-version-check', '--prefer-binary'];
    await step(python, [...pip, ...requirements], env, options.signal);
    writeFileSync(stampFile, stamp);
  } finally {
    done();
  }
  return usable(await inspect(python, env), python, 'own', `${directory} was made`);
}

type Inspection = { version: string; flyte: string | null; scripts: string; venv: boolean } | { failure: string };

/** Asks an interpreter what it is. Imports nothing of flyte, so it takes some 50 ms. */
const QUESTION = `
import importlib.metadata as m, importlib.util as u, json, platform, sysconfig
try: flyte = m.version('flyte')
except m.PackageNotFoundError: flyte = None
print(json.dumps({'version': platform.python_version(), 'flyte': flyte, 'scripts': sysconfig.get_path('scripts'),
  'venv': bool(u.find_spec('venv') and u.find_spec('ensurepip'))}))`;

async function inspect(python: string, env: PythonEnvironmentOptions['env']): Promise<Inspection> {
  try {
    const { stdout } = await run(python, ['-c', QUESTION], { env: { ...withoutPythonSettings(env) }, timeout: 30_000 });
    return JSON.parse(stdout) as Inspection;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return { failure: (stderr?.trim() || message).split('\n').at(-1)! };
  }
}

function usable(
  found: Inspection,
  python: string,
  origin: PythonEnvironment['origin'],
  why: string,
): PythonEnvironment {
  const context = `Tasks need a Python environment with flyte, and ${why}`;
  if ('failure' in found) {
    throw new PythonEnvironmentError(
      `${context}, but ${python} does not run: ${found.failure}. Correct its path, or leave it out.`,
    );
  }
  if (older(found.version, LEAST_PYTHON)) {
    throw new PythonEnvironmentError(
      `${context}, but its Python is ${found.version}, older than ${LEAST_PYTHON.join('.')}. ${REMEDY_NO_PYTHON}`,
    );
  }
  const remedy = `Run: ${python} -m pip install --upgrade '${FLYTE_REQUIREMENT}'`;
  if (!found.flyte) throw new PythonEnvironmentError(`${context}, but flyte is not installed there. ${remedy}`);
  if (older(found.flyte, LEAST_FLYTE)) {
    throw new PythonEnvironmentError(
      `${context}, but its flyte is ${found.flyte}, older than ${LEAST_FLYTE.join('.')}. ${remedy}`,
    );
  }
  if (!existsSync(path.join(found.scripts, 'a0'))) {
    throw new PythonEnvironmentError(
      `${context}, but the command a0 of flyte is missing in ${found.scripts}. ${remedy} --force-reinstall`,
    );
  }
  return { python, binDir: found.scripts, flyteVersion: found.flyte, pythonVersion: found.version, origin };
}

/** An interpreter to make an environment from. */
async function findBase(env: PythonEnvironmentOptions['env']): Promise<string> {
  const tooOld: string[] = [];
  let withoutVenv: string | undefined;
  for (const name of CANDIDATES) {
    const python = onPath(name, env);
    if (!python) continue;
    const found = await inspect(python, env);
    if ('failure' in found) continue;
    if (older(found.version, LEAST_PYTHON)) tooOld.push(`${name} ${found.version}`);
    else if (found.venv) return python;
    else withoutVenv ??= found.version;
  }
  if (withoutVenv) {
    const minor = withoutVenv.split('.').slice(0, 2).join('.');
    throw new PythonEnvironmentError(
      `Python ${withoutVenv} is here, but without its venv module, so no environment for tasks can be made. Install it (Debian, Ubuntu: apt install python${minor}-venv), or activate an environment with flyte.`,
    );
  }
  const seen = tooOld.length > 0 ? ` (found only ${tooOld.join(', ')})` : '';
  throw new PythonEnvironmentError(
    `Tasks need Python ${LEAST_PYTHON.join('.')} or newer, and there is none on the PATH${seen}. ${REMEDY_NO_PYTHON}`,
  );
}

async function step(
  python: string,
  args: string[],
  env: PythonEnvironmentOptions['env'],
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await run(python, args, { env: { ...env }, maxBuffer: 64 * 1024 * 1024, ...(signal ? { signal } : {}) });
  } catch (error) {
    signal?.throwIfAborted();
    const { stderr = '', stdout = '', message } = error as Error & { stderr?: string; stdout?: string };
    const output = `${stdout}\n${stderr}`.trim() || message;
    throw new PythonEnvironmentError(
      `Making the Python environment failed at: ${python} ${args.join(' ')}\n\n${output.split('\n').slice(-15).join('\n')}\n\n${remedyFor(output)}`,
    );
  }
}

function remedyFor(output: string): string {
  if (/No space left/i.test(output)) return 'The disk is full: free about 1 GB and start again.';
  if (/ensurepip|python3[\d.]*-venv/.test(output))
    return "Python's venv module is incomplete (Debian, Ubuntu: apt install python3-venv).";
  if (/No matching distribution|from versions: none/i.test(output)) {
    return 'The package index has no fitting version: check the index that pip uses (pip config list), or activate an environment with flyte.';
  }
  if (/connection|resolve|timed out|network|proxy|SSL/i.test(output)) {
    return 'The package index cannot be reached: check the network and the index that pip uses (pip config list), or activate an environment with flyte.';
  }
  return 'Start again once it is mended, or activate an environment with flyte.';
}

function onPath(name: string, env: PythonEnvironmentOptions['env']): string | undefined {
  const directories = (env.PATH ?? '').split(path.delimiter).filter(Boolean);
  return directories.map(directory => path.join(directory, name)).find(file => existsSync(file));
}

/** A PYTHONPATH or PYTHONHOME of the shell would be seen by every interpreter, whatever environment it belongs to. */
function withoutPythonSettings(env: PythonEnvironmentOptions['env']): Record<string, string | undefined> {
  const { PYTHONPATH: _path, PYTHONHOME: _home, VIRTUAL_ENV: _active, __PYVENV_LAUNCHER__: _launcher, ...rest } = env;
  return rest;
}

function older(version: string, [major, minor]: readonly [number, number]): boolean {
  const [foundMajor = 0, foundMinor = 0] = version.split('.').map(Number);
  return foundMajor < major || (foundMajor === major && foundMinor < minor);
}
