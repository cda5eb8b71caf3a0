/** Needs the Python of an environment with flyte: its path in STARLING_PYTHON_EXECUTABLE. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { V1Container } from '@kubernetes/client-node';
import { expect } from 'chai';
import { pino } from 'pino';
import { WarmPython } from '../../actors/executor/runtime/process/warm/warm-python.ts';
import { aPod, PodBench, until } from '../actors/executor/runtime/process/pod-bench.ts';
import { credentials, type Embedded, openEmbedded } from '../storage/embedded.ts';

const python = process.env.STARLING_PYTHON_EXECUTABLE ?? 'python3';
const maker = fileURLToPath(new URL('./warm_start_tasks.py', import.meta.url));

const cases: Record<string, { task: string; env?: Record<string, string>; pickled?: true }> = {
  succeeds: { task: 'well' },
  'is an ordinary function': { task: 'synchronous' },
  'was pickled': { task: '', pickled: true },
  raises: { task: 'fails' },
  'raises with debug output': { task: 'fails', env: { LOG_LEVEL: '10' } },
  'is not in its module': { task: 'missing' },
  exits: { task: 'exits' },
  'leaves by os._exit': { task: 'leaves' },
  crashes: { task: 'crashes' },
  'is terminated': { task: 'is_terminated' },
  'looks around': { task: 'sees', env: { FLYTE_DISABLE_SENTRY: '1', TZ: 'Asia/Tokyo' } },
  'stores and reads a file': { task: 'stores' },
  'starts processes': { task: 'starts_processes' },
  logs: { task: 'logs' },
  'logs at level 10': { task: 'logs', env: { LOG_LEVEL: '10' } },
  'logs at level info': { task: 'logs', env: { LOG_LEVEL: 'info', USER_LOG_LEVEL: 'debug' } },
  'logs at level 30': { task: 'logs', env: { LOG_LEVEL: '30', USER_LOG_LEVEL: '40' } },
  'logs as JSON': { task: 'logs', env: { LOG_LEVEL: '20', LOG_FORMAT: 'json' } },
  'logs with a root logger': { task: 'logs', env: { FLYTE_RESET_ROOT_LOGGER: '1', LOG_LEVEL: '20' } },
  'logs without colours': { task: 'logs', env: { DISABLE_RICH_LOGGING: '1' } },
};

describe('cold and warm starts of a Flyte task', () => {
  let dir: string;
  let objects: Embedded;
  let warmth: WarmPython;
  const benches = {} as Record<'cold' | 'warm', PodBench>;

  before(async function () {
    this.timeout(120_000);
    dir = await mkdtemp(path.join(os.tmpdir(), 'starling-warm-sdk-'));
    await promisify(execFile)(python, [maker, dir]);
    objects = await openEmbedded();
    for (const name of ['inputs.pb', 'code.tar.gz', 'code.pkl.gz']) {
      await objects.store.put(`s3://flyte/${name}`, await readFile(path.join(dir, name)));
    }
    const question = 'import sys, sysconfig; print(sys.executable); print(sysconfig.get_path("scripts"))';
    const { stdout } = await promisify(execFile)(python, ['-c', question]);
    const [executable, binDir] = stdout.trim().split('\n') as [string, string];
    const log = pino({ level: 'silent' });
    warmth = new WarmPython({ python: executable, binDir, baseEnv: process.env, dir, log });
    warmth.begin();
    benches.cold = await PodBench.open({ binDirs: [binDir] });
    benches.warm = await PodBench.open({ binDirs: [binDir], warm: warmth });
    await until('python is warm', () => warmth.pid !== undefined, 60_000);
  });
  after(async () => {
    for (const bench of Object.values(benches)) await bench.close();
    await warmth?.stop();
    await objects?.close();
    await rm(dir, { recursive: true, force: true });
  });

  const container = (base: string, { task, env = {}, pickled }: (typeof cases)[string]): V1Container => {
    const variables = {
      ACTION_NAME: 'a1',
      RUN_NAME: 'r1',
      _U_RUN_BASE: `${base}`,
      _U_ORG_NAME: 'org',
      _U_EP_OVERRIDE: '127.0.0.1:1',
      _U_INSECURE: '1',
      _U_USE_ACTIONS: '1',
      FLYTE_INTERNAL_EXECUTION_PROJECT: 'p',
      FLYTE_INTERNAL_EXECUTION_DOMAIN: 'd',
      FLYTE_AWS_ENDPOINT: objects.url,
      FLYTE_AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      FLYTE_AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_REGION: 'us-east-1',
      ...env,
    };
    const code = pickled
      ? ['--pkl', 's3://flyte/code.pkl.gz', '--dest', '.']
      : ['--tgz', 's3://flyte/code.tar.gz', '--dest', '.'];
    const resolver = 'flyte._internal.resolvers.default.DefaultTaskResolver';
    const args = [
      ...['a0', '--inputs', 's3://flyte/inputs.pb', '--outputs-path', `${base}/out`, '--version', 'v1'],
      ...['--raw-data-path', `${base}/raw`, '--checkpoint-path', `${base}/checkpoint`, '--prev-checkpoint', '""'],
      ...['--run-name', 'r1', '--name', 'a1', '--run-start-time', '2026-01-02T03:04:05Z', ...code],
      ...(pickled ? [] : ['--resolver', resolver, 'mod', 'warm_start_tasks', 'instance', task]),
    ];
    return {
      name: 'main',
      image: 'any',
      args,
      env: Object.entries(variables).map(([name, value]) => ({ name, value })),
    };
  };

  const outcome = async (way: 'cold' | 'warm', name: string, one: (typeof cases)[string]) => {
    const bench = benches[way];
    const base = `s3://flyte/${way}/${name}`;
    await bench.runtime.create(aPod(name, [container(base, one)]));
    await until(`${way} ${name} is over`, async () => /Suc|Fail/.test((await bench.phase(name)) ?? ''), 60_000);
    const pod = (await bench.runtime.get(name))!;
    const { exitCode, reason, signal } = pod.status!.containerStatuses![0]!.state!.terminated!;
    const known = (text: string) =>
      text
        .replaceAll(path.dirname(bench.dir), '<dir>')
        .replaceAll(pod.metadata!.uid!, '<uid>')
        .replaceAll(`/${way}/`, '/<way>/');
    const read = async (file: string) => {
      const object = await objects.store.read(`${base}/out/${file}`, { maxBytes: 1 << 20 }).catch(() => undefined);
      return object && known(Buffer.from(object).toString('latin1'));
    };
    // Threads take turns as they like; durations, addresses and names of drafts differ; and where the collector of garbage
    // finds a lost asyncio task is chance.
    const lines = await bench.lines(name);
    const lost = lines.indexOf('Task exception was never retrieved');
    const log = lines
      .slice(0, lost < 0 ? undefined : lost)
      .map(line => known(line).replace(/0x[0-9a-f]+|\.\w+\.part|\d+(\.\d+)?/g, '#'))
      .sort();
    return { exitCode, reason, signal, log, outputs: await read('outputs.pb'), error: await read('error.pb') };
  };

  for (const [title, one] of Object.entries(cases)) {
    it(`are alike for one that ${title}`, async () => {
      const before = warmth.starts.warm;
      const name = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
      const [cold, warm] = [await outcome('cold', name, one), await outcome('warm', name, one)];
      expect(warmth.starts.warm, 'it was started warm').to.equal(before + 1);
      expect(warm.log.join('\n')).to.equal(cold.log.join('\n'));
      expect(warm).to.deep.equal(cold);
    }).timeout(120_000);
  }
});
