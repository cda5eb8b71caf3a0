import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { aPod, isAlive, PodBench, shell, until } from './pod-bench.ts';
import type { ChildCommand } from './runtime-child.ts';

describe('pods after the death of the server', () => {
  let root: string;
  let dir: string;
  let child: ChildProcess | undefined;
  let bench: PodBench | undefined;

  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'starling-adoption-'));
    dir = path.join(root, 'pods');
  });
  afterEach(async () => {
    await kill();
    await bench?.close();
    bench = undefined;
    await rm(root, { recursive: true, force: true });
  });

  const startServer = async (slots = 8) => {
    child = fork(path.join(import.meta.dirname, 'runtime-child.ts'), [dir, String(slots)]);
    await once(child, 'message');
  };
  const ask = async (command: ChildCommand) => {
    child!.send(command);
    await once(child!, 'message');
  };
  const kill = async () => {
    const dying = child;
    child = undefined;
    if (!dying || dying.exitCode !== null || dying.signalCode !== null) return;
    dying.kill('SIGKILL');
    await once(dying, 'exit');
  };
  const adopt = async (slots = 8) => {
    bench = new PodBench(dir, { slots });
    await bench.runtime.start();
    return bench;
  };
  const file = (name: string) => path.join(root, name);
  const linesOf = (name: string) =>
    existsSync(file(name)) ? readFileSync(file(name), 'utf8').split('\n').filter(Boolean) : [];
  const gated = (script: string) =>
    shell(`echo $$$$ >> ${file('pids')}; while ! [ -e ${file('gate')} ]; do sleep 0.02; done; ${script}`);

  it('finds a running pod again, follows its log on, and reports its exit code', async () => {
    await startServer();
    await ask({ create: aPod('a', [gated('echo after; exit 5')]) });
    await until('the payload runs', () => linesOf('pids').length === 1);
    await kill();
    expect(await isAlive(Number(linesOf('pids')[0]))).to.equal(true);

    const { runtime, events } = await adopt();
    expect(events.map(({ type, pod }) => [type, pod.status!.phase])).to.deep.equal([['added', 'Running']]);
    const reading = bench!.lines('a', 'main', true);
    await writeFile(file('gate'), '');
    const pod = await bench!.untilOver('a');
    expect(pod.status!.containerStatuses![0]!.state!.terminated).to.include({ exitCode: 5, reason: 'Error' });
    expect(await reading).to.deep.equal(['after']);
    expect(linesOf('pids')).to.have.length(1);
    expect(await runtime.create(aPod('a', [shell('true')]))).to.equal('exists');
  });

  it('reports what ended while no server ran, with its exit code and the time it ended', async () => {
    await startServer();
    await ask({ create: aPod('a', [gated('exit 7')]) });
    await until('the payload runs', () => linesOf('pids').length === 1);
    await kill();
    await writeFile(file('gate'), '');
    await until('the exit code is written', () => existsSync(path.join(dir, 'a/containers/main/0/exit')));
    const ended = Date.now();
    const { terminated } = (await (await adopt()).untilOver('a')).status!.containerStatuses![0]!.state!;
    expect(terminated!.exitCode).to.equal(7);
    expect(terminated!.finishedAt!.getTime()).to.be.within(ended - 500, ended);
  });

  it('goes on with the main container when the server died during an init container', async () => {
    await startServer();
    const pod = aPod('a', [shell('echo main')], { initContainers: [{ ...gated('echo init'), name: 'init' }] });
    await ask({ create: pod });
    await until('the init container runs', () => linesOf('pids').length === 1);
    await kill();
    await adopt();
    await writeFile(file('gate'), '');
    expect((await bench!.untilOver('a')).status!.phase).to.equal('Succeeded');
    expect(await bench!.lines('a')).to.deep.equal(['main']);
    expect(linesOf('pids')).to.have.length(1);
  });

  it('carries out a deletion that was asked for before', async () => {
    await startServer();
    await ask({
      create: aPod('a', [shell(`trap '' TERM; echo $$$$ > ${file('pids')}; while :; do sleep 0.02; done`)]),
    });
    await until('the payload runs', () => linesOf('pids').length === 1);
    await ask({ remove: 'a', gracePeriodSeconds: 0.5 });
    await kill();
    await adopt();
    await bench!.untilGone('a');
    expect(await isAlive(Number(linesOf('pids')[0]))).to.equal(false);
    expect(await readdir(dir)).to.not.include('a');
  });

  it('says that it does not know the exit code when shim and payload were killed meanwhile', async () => {
    await startServer();
    await ask({ create: aPod('a', [gated('true')]) });
    await until('the payload runs', () => linesOf('pids').length === 1);
    await kill();
    const { pid } = JSON.parse(readFileSync(path.join(dir, 'a/containers/main/0/pid'), 'utf8'));
    process.kill(-pid, 'SIGKILL');
    const pod = await (await adopt()).untilOver('a');
    expect(pod.status!.containerStatuses![0]!.state!.terminated).to.include({
      exitCode: 137,
      reason: 'ContainerStatusUnknown',
    });
  });

  it('ends a payload whose shim was killed, before it calls the container ended', async () => {
    await startServer();
    await ask({ create: aPod('a', [gated('true')]) });
    await until('the payload runs', () => linesOf('pids').length === 1);
    await kill();
    const { pid } = JSON.parse(readFileSync(path.join(dir, 'a/containers/main/0/pid'), 'utf8'));
    process.kill(pid, 'SIGKILL');
    await (await adopt()).untilOver('a');
    expect(await isAlive(Number(linesOf('pids')[0]))).to.equal(false);
  });

  it('leaves a stranger alone that has got the pid since', async () => {
    const stranger = spawn('sleep', ['30'], { detached: true, stdio: 'ignore' });
    await startServer();
    await ask({ create: aPod('a', [gated('true')]) });
    await until('the payload runs', () => linesOf('pids').length === 1);
    await kill();
    const pidFile = path.join(dir, 'a/containers/main/0/pid');
    const old = JSON.parse(readFileSync(pidFile, 'utf8'));
    process.kill(-old.pid, 'SIGKILL');
    await writeFile(pidFile, JSON.stringify({ ...old, pid: stranger.pid }));
    const pod = await (await adopt()).untilOver('a');
    expect(pod.status!.containerStatuses![0]!.state!.terminated!.reason).to.equal('ContainerStatusUnknown');
    await bench!.runtime.delete('a', { gracePeriodSeconds: 0 });
    await bench!.untilGone('a');
    expect(await isAlive(stranger.pid!)).to.equal(true);
    stranger.kill('SIGKILL');
    await once(stranger, 'exit');
  });

  it('keeps the order of the queue', async () => {
    await startServer(1);
    await ask({ create: aPod('z', [gated('true')]) });
    await until('the payload runs', () => linesOf('pids').length === 1);
    for (const name of ['q3', 'q1', 'q2']) {
      await ask({ create: aPod(name, [shell(`echo ${name} >> ${file('order')}`)]) });
    }
    await kill();
    await adopt(1);
    expect((await bench!.runtime.get('q2'))!.status!.phase).to.equal('Pending');
    await writeFile(file('gate'), '');
    await bench!.untilOver('q2');
    expect(linesOf('order')).to.deep.equal(['q3', 'q1', 'q2']);
  });

  it('sweeps half-created directories, and is not stopped by one it cannot read', async () => {
    await mkdir(path.join(dir, '.new-x'), { recursive: true });
    await mkdir(path.join(dir, 'broken'));
    await writeFile(path.join(dir, 'broken/pod.json'), '{');
    await adopt();
    expect(await readdir(dir)).to.deep.equal(['broken']);
    expect((await bench!.run(aPod('a', [shell('true')]))).status!.phase).to.equal('Succeeded');
  });

  it('goes on after a stop as after a death', async () => {
    bench = new PodBench(dir);
    await bench.runtime.start();
    await bench.runtime.create(aPod('a', [gated('exit 3')]));
    await until('the payload runs', () => linesOf('pids').length === 1);
    await bench.runtime.stop();
    await adopt();
    await writeFile(file('gate'), '');
    expect((await bench.untilOver('a')).status!.containerStatuses![0]!.state!.terminated!.exitCode).to.equal(3);
  });

  it('runs every payload exactly once, however often the server is killed and at whatever moment', async function () {
    this.timeout(60_000);
    const names = Array.from({ length: 36 }, (_, index) => `p${index}`);
    const init = (name: string) => shell(`echo i-${name} >> ${file('runs')}`, { name: 'init' });
    let asked = 0;
    for (let round = 0; round < 6; round += 1) {
      await startServer(6);
      child!.on('message', () => {
        asked += 1;
      });
      for (const name of names.slice(asked, asked + 12)) {
        const main = shell(`echo ${name} >> ${file('runs')}; sleep 0.02`);
        child!.send({ create: aPod(name, [main], { initContainers: [init(name)] }) } satisfies ChildCommand);
      }
      await new Promise(resolve => setTimeout(resolve, (round * 37) % 60));
      await kill();
    }
    await adopt(6);
    for (const name of names) {
      await bench!.runtime.create(
        aPod(name, [shell(`echo ${name} >> ${file('runs')}`)], { initContainers: [init(name)] }),
      );
    }
    for (const name of names) expect((await bench!.untilOver(name)).status!.phase).to.equal('Succeeded');
    expect(linesOf('runs').sort()).to.deep.equal([...names, ...names.map(name => `i-${name}`)].sort());
  });
});
