/**
 * The program behind `npm start`. In order: configuration, checks, embedded stores, Python environment, the parts of this
 * node, the ready line, the demonstration. A stop request drains them in reverse.
 */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { helpText } from './config-doc.ts';
import { isLoopback, loadConfig, readFlags } from './config-load.ts';
import { type DataDir, openDataDir } from './data-dir.ts';
import { isDemoDue, runDemo } from './demo/demo.ts';
import { startStores } from './embedded/stores.ts';
import { rootLogger } from './log.ts';
import { Node } from './node.ts';
import { startParts } from './parts/node-parts.ts';
import { reservePort } from './port.ts';
import { pythonEnvironment } from './python-env.ts';
import { onStopRequest } from './signals.ts';
import { StartError } from './start-error.ts';
import { Terminal } from './terminal.ts';
import { nextSteps, readyBanner, type ServerFacts } from './words.ts';

/** Beyond drainSeconds: what the stores may take to close, after which this process just leaves. */
const STORES_STOP_MS = 45_000;

const startedAt = performance.now();
const terminal = new Terminal(process.stdout);
const { version } = JSON.parse(readFileSync(path.join(import.meta.dirname, '../package.json'), 'utf8')) as {
  version: string;
};

try {
  await main();
} catch (error) {
  terminal.draw([]);
  process.stderr.write(`${error instanceof StartError ? error.message : (error as Error).stack}\n`);
  process.exit(1);
}

async function main(): Promise<void> {
  const invocation = readFlags(process.argv.slice(2));
  if (invocation.help) return terminal.print(helpText(Math.min(terminal.width, 110)));
  if (invocation.version) return terminal.print(version);
  const { config, warnings } = loadConfig(invocation, {
    env: process.env,
    home: os.homedir(),
    // npm runs us in the directory of the package; paths are meant from where the user stands.
    cwd: process.env.INIT_CWD ?? process.cwd(),
    isRoot: process.getuid?.() === 0,
    processors: os.availableParallelism(),
    isTerminal: terminal.isLive,
  });
  const log = rootLogger(config.log, terminal, process.stdout);
  for (const warning of warnings) log.warn(warning);

  const node = new Node(log);
  const stopped = new AbortController();
  leaveOnRequest(config, node, stopped, log);
  try {
    await run(config, node, stopped.signal, log);
  } catch (error) {
    await node.stop();
    // Asked to stop in the middle of the start: what failed by that is no failure.
    if (!stopped.signal.aborted) throw error;
  }
}

/** From the checks to the end of the demonstration; the server then lives on its open handles. */
async function run(config: Config, node: Node, signal: AbortSignal, log: Logger): Promise<void> {
  const dataDir = await openDataDir(config.dataDir);
  await node.start(lockComponent(dataDir));
  signal.addEventListener('abort', () => dataDir.describe({ doing: 'stopping' }));
  for (const warning of dataDir.warnings) log.warn(warning);
  const { host } = config.gateway;
  const port = config.roles.includes('gateway') ? await reservePort(host, config.gateway.port) : config.gateway.port;
  const where = isLoopback(host) ? 'localhost' : host;
  const publicUrl = config.gateway.publicUrl ?? `http://${where}:${port}`;

  const stores = await startStores(node, config, { env: process.env, tmpDir: os.tmpdir() }, log);
  const python = await pythonEnvironment({
    dataDir: config.dataDir,
    env: process.env,
    executable: config.python.executable,
    packages: config.python.packages,
    progress: text => terminal.progress(text),
    notice: sentence => terminal.print(sentence),
    signal,
  });
  signal.throwIfAborted();
  const localHost = !isLoopback(host) || host === 'localhost' ? '127.0.0.1' : host;
  const localUrl = `http://${localHost.includes(':') ? `[${localHost}]` : localHost}:${port}`;
  await startParts(node, { config, stores, python, env: process.env, host, port, publicUrl, localUrl, log });

  const facts: ServerFacts = {
    version,
    endpoint: new URL(publicUrl).host,
    publicUrl,
    dataDir: config.dataDir,
    ...stores.description,
    roles: config.roles,
    python,
    startMs: performance.now() - startedAt,
    project: config.projects[0]!,
    domain: config.domains[0]!,
  };
  dataDir.describe({ doing: 'serving', endpoint: publicUrl });
  terminal.print(readyBanner(facts));
  if (config.demo && config.roles.length === 3 && isDemoDue(config.dataDir)) {
    const { endpoint, project, domain } = facts;
    const { dataDir: directory } = config;
    await runDemo({
      dataDir: directory,
      endpoint,
      baseUrl: localUrl,
      project,
      domain,
      python,
      env: process.env,
      terminal,
      now: Date.now,
      signal,
    });
  }
  if (!signal.aborted) terminal.print(nextSteps(facts));
}

/** The lock is taken first and given back last; whoever waits for it is told that we are leaving. */
function lockComponent(dataDir: DataDir) {
  return {
    name: 'data directory',
    start: async () => undefined,
    stop: async () => dataDir.release(),
  };
}

function leaveOnRequest(config: Config, node: Node, stopped: AbortController, log: Logger): void {
  const leave = (code: number) => process.exit(code);
  onStopRequest(
    process,
    () => performance.now(),
    why => {
      stopped.abort();
      terminal.print(`Stopping (${why}). Again to leave at once.`);
      setTimeout(
        () => {
          log.fatal('the node did not stop in time');
          leave(1);
        },
        config.drainSeconds * 1000 + STORES_STOP_MS,
      ).unref();
      void node.stop().then(() => leave(0));
    },
    () => leave(130),
  );
  // Listening for its end would keep this process alive by itself.
  process.channel?.unref();
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal({ err: error }, 'an error nobody caught; stopping');
      void node.stop().then(() => leave(1));
    });
  }
}
