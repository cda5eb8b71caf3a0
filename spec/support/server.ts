import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isAlive } from '../../deploy/embedded/processes.ts';
import { eventually } from './eventually.ts';
import { flytePython } from './flyte.ts';
import { killAll, processesOf } from './process-tree.ts';

export interface ServerOptions {
  /** A temporary directory by default, deleted by `stop`; one that is given stays. */
  readonly dataDir?: string;
  /** A free one by default. It stays the same over restarts. */
  readonly port?: number;
  /** Settings (docs/configuration.md) and whatever else, over a clean environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Flags beside --no-demo, --port and --data-dir. */
  readonly args?: readonly string[];
  /** How long it may take to answer /readyz; 60 s by default. A node without a gateway is not asked. */
  readonly readyWithinMs?: number;
}

/** The whole program as a child process, as `npm start` runs it but for the launcher and the demonstration. */
export interface Server {
  /** `localhost:<port>` */
  readonly endpoint: string;
  readonly port: number;
  readonly dataDir: string;
  /** A directory for what clients of this server write, which goes with it: the SDK remembers uploads in its HOME. */
  readonly home: string;
  /** Of the node process; of the last one when it is down. */
  readonly pid: number;
  /** From spawn to the first good answer of /readyz, of the last start. */
  readonly readyMs: number;
  /** Everything all its processes have printed so far. */
  log(): Promise<string>;
  /** Sends a signal to the node process only, and waits for its end when the signal is SIGKILL. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Kills the node and everything it ever started, at one moment, as a power cut would. */
  crash(): Promise<void>;
  /** Waits for the end of the node process: its exit code, or the signal that ended it. */
  ended(): Promise<number | NodeJS.Signals>;
  /** Starts it again on the same data and port; kills it first when it runs. Resolves when it is ready. */
  restart(): Promise<void>;
  /** Pids of all processes of this server, those included that outlived an earlier node. */
  processes(): number[];
  /** URL of the embedded Postgres, to look at the tables. */
  databaseUrl(): Promise<string>;
  /** SIGTERM, then the end of everything that is left; deletes the data. Throws when the node has to be killed. */
  stop(): Promise<void>;
}

const main = path.resolve(import.meta.dirname, '../../deploy/main.ts');
/** Longer than drainSeconds below plus what a busy machine takes to stop Postgres. */
const STOP_WITHIN_MS = 60_000;

/**
 * Starts a server and waits until it is ready. Linux only: it finds its processes in /proc.
 * @throws Error with the end of its log when it ends or does not become ready in time
 */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const home = await mkdtemp(path.join(tmpdir(), 'starling-server-'));
  // The server of Postgres is another user than root, and must get through.
  await chmod(home, 0o755);
  const dataDir = options.dataDir ?? path.join(home, 'data');
  const logFile = path.join(home, 'server.log');
  const port = options.port ?? (await freePort());
  let child: ChildProcess;
  let readyMs = 0;

  const log = () => readFile(logFile, 'utf8');
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const ended = async () => {
    if (isRunning()) await once(child, 'exit');
    return child.exitCode ?? child.signalCode!;
  };

  async function start(): Promise<void> {
    const startedAt = performance.now();
    const output = await open(logFile, 'a');
    child = spawn(
      process.execPath,
      [main, '--no-demo', '--port', String(port), '--data-dir', dataDir, ...(options.args ?? [])],
      { env: { ...cleanEnvironment(options.env), ...options.env }, stdio: ['ignore', output.fd, output.fd] },
    );
    await output.close();
    await eventually(async () => {
      if (!isRunning()) return 'it ended';
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
      return answer.ok && 'ready';
    }, options.readyWithinMs ?? 60_000).catch(async error => {
      child.kill('SIGKILL');
      throw new Error(`the server is not ready in time:\n${lastLines(await log())}`, { cause: error });
    });
    if (!isRunning()) throw new Error(`the server ended with ${await ended()}:\n${lastLines(await log())}`);
    readyMs = performance.now() - startedAt;
  }

  async function kill(signal: NodeJS.Signals): Promise<void> {
    child.kill(signal);
    if (signal === 'SIGKILL') await ended();
  }

  const server: Server = {
    ...{ endpoint: `localhost:${port}`, port, dataDir, home, log, kill, ended },
    get pid() {
      return child.pid!;
    },
    get readyMs() {
      return readyMs;
    },
    processes: () => processesOf(dataDir, child.pid!),
    async crash() {
      const gone = ended();
      const killed = killAll(dataDir, child.pid!);
      await gone;
      await eventually(() => !killed.some(isAlive));
    },
    async restart() {
      if (isRunning()) await kill('SIGKILL');
      await start();
    },
    async databaseUrl() {
      const [, , , postgresPort, sockets] = (
        await readFile(path.join(dataDir, 'postgres/postmaster.pid'), 'utf8')
      ).split('\n');
      return `postgres://starling@${encodeURIComponent(sockets!)}:${postgresPort}/starling`;
    },
    async stop() {
      let late = false;
      if (isRunning()) {
        child.kill('SIGTERM');
        const timer = setTimeout(() => {
          late = true;
          child.kill('SIGKILL');
        }, STOP_WITHIN_MS);
        await ended();
        clearTimeout(timer);
      }
      killAll(dataDir, child.pid!);
      servers.delete(server);
      const words = lastLines(await log());
      await rm(home, { recursive: true, force: true, maxRetries: 10 });
      if (late) throw new Error(`the server did not stop within ${STOP_WITHIN_MS / 1000} s of SIGTERM:\n${words}`);
    },
  };
  try {
    await start();
  } catch (error) {
    killAll(dataDir, child!.pid!);
    await rm(home, { recursive: true, force: true, maxRetries: 10 });
    throw error;
  }
  servers.add(server);
  return server;
}

/** Servers that were not stopped, because a spec or the runner broke, must not outlive this process. */
const servers = new Set<Server>();
process.once('exit', () => {
  for (const { dataDir, pid } of servers) killAll(dataDir, pid);
});

/** What a program needs to run, and the Python of this machine; nothing of the shell that would change a server. */
function cleanEnvironment(given: ServerOptions['env'] = {}): Record<string, string> {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'USER'];
  return {
    ...Object.fromEntries(kept.flatMap(name => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
    STARLING_PYTHON_EXECUTABLE: given.STARLING_PYTHON_EXECUTABLE ?? flytePython(),
    STARLING_DRAIN_SECONDS: '10',
  };
}

/** A port nobody listens on just now. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>(resolve => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise(resolve => probe.close(resolve));
  return port;
}

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-30).join('\n');
}
