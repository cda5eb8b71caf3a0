/**
 * `npm run bench -- [--endpoint host:port --pid PID] [--store auto|redis|postgres] [--runs 3] [workload[:size] …]`
 *
 * Workloads: fan-out, chain, runs, enqueue-open, leaf, seen, viewers, swarm, held (spec/bench/*.ts say what each does).
 *
 * Drives a server through its public port from this separate process and prints, per workload: actions per second, latency
 * percentiles, and CPU per action by part. Without --endpoint it starts a fresh server on a temporary data directory.
 * Figures are compared with the targets of docs/design.md by whoever reads them; nothing here passes or fails by time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { BenchClient } from './connect-client.ts';
import { enqueueOpen, leaf } from './open-loop.ts';
import { type Part, type Usage, usageOf } from './processes.ts';
import { held, swarm } from './sleepers.ts';
import { seen, viewers } from './viewers.ts';
import { chain, fanOut, percentile, type Result, singleRuns } from './workloads.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    endpoint: { type: 'string' },
    pid: { type: 'string' },
    store: { type: 'string', default: 'auto' },
    runs: { type: 'string', default: '3' },
  },
});

const workloads: Record<string, { size: number; run: (client: BenchClient, size: number) => Promise<Result> }> = {
  'fan-out': { size: 1_000, run: (client, size) => fanOut(client, size) },
  chain: { size: 100, run: (client, size) => chain(client, size) },
  runs: { size: 500, run: (client, size) => singleRuns(client, size) },
  'enqueue-open': { size: 2_000, run: (client, size) => enqueueOpen(client, size) },
  leaf: { size: 100, run: (client, size) => leaf(client, size) },
  seen: { size: 200, run: (client, size) => seen(client, size) },
  viewers: { size: 6_000, run: (client, size) => viewers(client, size) },
  swarm: { size: 20_000, run: (client, size) => swarm(client, size) },
  held: { size: 40_000, run: (client, size) => held(client, size) },
};

interface Server {
  readonly endpoint: string;
  readonly pid: number | null;
  stop(): Promise<void>;
}

async function startServer(store: string): Promise<Server> {
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'starling-bench-'));
  const port = await freePort();
  const args = ['deploy/main.ts', '--no-demo', '--port', String(port), '--data-dir', dataDir];
  const env = { ...process.env, STARLING_QUEUES_STORE: store, STARLING_LOG_LEVEL: 'warn' };
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'], env });
  const endpoint = `127.0.0.1:${port}`;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode} before it was ready`);
    const ready = await fetch(`http://${endpoint}/readyz`).then(
      answer => answer.ok,
      () => false,
    );
    if (ready) break;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  return {
    endpoint,
    pid: child.pid!,
    async stop() {
      const gone = new Promise(resolve => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

function report(
  name: string,
  size: number,
  { seconds, latenciesMs, extra }: Result,
  before: Usage | null,
  after: Usage | null,
): void {
  const round = (value: number) => Math.round(value * 100) / 100;
  const line: Record<string, unknown> = {
    workload: name,
    size,
    perSecond: Math.round(size / seconds),
    p50Ms: round(percentile(latenciesMs, 0.5)),
    p99Ms: round(percentile(latenciesMs, 0.99)),
    ...Object.fromEntries(Object.entries(extra ?? {}).map(([key, value]) => [key, round(value)])),
  };
  if (before !== null && after !== null) {
    const parts: Part[] = ['node', 'postgres', 'redis'];
    const cpu = Object.fromEntries(parts.map(part => [part, round((after.cpuMs[part] - before.cpuMs[part]) / size)]));
    line.cpuMsPerAction = {
      ...cpu,
      all: round(parts.reduce((sum, part) => sum + after.cpuMs[part] - before.cpuMs[part], 0) / size),
    };
    line.residentMb = Object.fromEntries(parts.map(part => [part, Math.round(after.residentMb[part])]));
  }
  console.log(JSON.stringify(line));
}

const server: Server =
  values.endpoint === undefined
    ? await startServer(values.store)
    : { endpoint: values.endpoint, pid: values.pid === undefined ? null : Number(values.pid), stop: async () => {} };
const client = new BenchClient(server.endpoint);
try {
  for (const wanted of positionals.length > 0 ? positionals : ['fan-out', 'chain', 'runs']) {
    const [name, size] = wanted.split(':') as [string, string | undefined];
    const workload = workloads[name];
    if (workload === undefined)
      throw new Error(`unknown workload '${name}': one of ${Object.keys(workloads).join(', ')}`);
    const count = size === undefined ? workload.size : Number(size);
    for (let run = 0; run < Number(values.runs); run++) {
      const before = server.pid === null ? null : usageOf(server.pid);
      const result = await workload.run(client, count);
      report(name, count, result, before, server.pid === null ? null : usageOf(server.pid));
    }
  }
} finally {
  client.close();
  await server.stop();
}
