import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import type { ShimOptions } from '../../../../../actors/executor/runtime/process/shim.ts';
import { Zygote } from '../../../../../actors/executor/runtime/process/warm/zygote.ts';
import { aPod, isAlive, PodBench, until } from './pod-bench.ts';
import type { ChildCommand } from './runtime-child.ts';
import { python as executable, task, WarmBench } from './warm-bench.ts';

describe('warm python', () => {
  if (process.platform !== 'linux') return;
  let python: WarmBench;
  let bench: PodBench | undefined;
  beforeEach(async () => {
    python = await WarmBench.open();
  });
  afterEach(async () => {
    await bench?.close();
    bench = undefined;
    await python.close();
  });

  const file = (name: string) => path.join(python.dir, name);
  const linesOf = (name: string) =>
    existsSync(file(name)) ? readFileSync(file(name), 'utf8').split('\n').filter(Boolean) : [];
  const append = (name: string, text: string) =>
    `f = os.open(${JSON.stringify(file(name))}, os.O_APPEND | os.O_CREAT | os.O_WRONLY); os.write(f, f"${text}\\n".encode()); os.close(f)`;
  /** Tells its pid, waits for the gate, then goes on. */
  const gated = (code: string) =>
    task(
      `import os, sys, time\n${append('pids', '{os.getpid()}')}\nwhile not os.path.exists(${JSON.stringify(file('gate'))}): time.sleep(0.02)\n${code}`,
    );
  const openRuntime = async () => {
    bench = await PodBench.open({ binDirs: [python.binDir], warm: python.warm });
    return bench;
  };
  const openWarm = async () => {
    python.warm.begin();
    await python.untilWarm();
    return openRuntime();
  };
  const exitCode = async (name: string) =>
    (await bench!.untilOver(name)).status!.containerStatuses![0]!.state!.terminated!.exitCode;
  const startCold = async (name: string, code = 'print(LEVEL)') => {
    const { warm } = python.warm.starts;
    await bench!.run(aPod(name, [task(code)]));
    expect(python.warm.starts.warm).to.equal(warm);
    return bench!.lines(name);
  };
  const startWarm = async (name: string, code = 'print(LEVEL)') => {
    const { warm } = python.warm.starts;
    await bench!.run(aPod(name, [task(code)]));
    expect(python.warm.starts.warm).to.equal(warm + 1);
    return bench!.lines(name);
  };

  describe('shims of the warm process', () => {
    const shimOptions = async (code: string, name = '0'): Promise<ShimOptions> => {
      await mkdir(file(name), { recursive: true });
      const command = [path.join(python.binDir, 'a0'), code];
      return { runDir: file(name), workDir: python.dir, command, env: { ...baseEnv }, label: 'spec' };
    };
    const baseEnv = { LANG: process.env.LANG ?? '', HOME: process.env.HOME ?? '', PATH: process.env.PATH ?? '' };
    beforeEach(async () => {
      if (process.env.LANG === undefined) delete (baseEnv as Partial<typeof baseEnv>).LANG;
      python.warm.begin();
      await python.untilWarm();
    });

    it('run nothing when their node dies before the go', async () => {
      const shim = (await python.warm.start(await shimOptions('print("ran")')))!;
      await python.warm.stop();
      expect(await shim.end).to.equal(undefined);
      await until('the shim is gone', async () => !(await isAlive(shim.pid)));
      expect(await readdir(file('0'))).to.deep.equal([]);
      expect(existsSync(file('log'))).to.equal(false);
    });

    it('run nothing when the warm process dies before the go', async () => {
      const shims = await Promise.all(
        [1, 2, 3].map(async () => (await python.warm.start(await shimOptions('print("ran")')))!),
      );
      process.kill(python.warm.pid!, 'SIGKILL');
      for (const shim of shims) {
        expect(await shim.end).to.equal(undefined);
        shim.go();
        await until('the shim is gone', async () => !(await isAlive(shim.pid)));
      }
      expect(await readdir(file('0'))).to.deep.equal([]);
    });

    it('run the payload once when two are told to go in one directory', async () => {
      const options = await shimOptions('print("ran")');
      const shims = [(await python.warm.start(options))!, (await python.warm.start(options))!];
      for (const shim of shims) shim.go();
      expect((await Promise.all(shims.map(({ end }) => end))).sort()).to.deep.equal([137, 75]);
      expect(await readFile(file('log'), 'utf8')).to.equal('ran\n');
      expect(await readFile(file('0/exit'), 'utf8')).to.equal('0\n');
    });

    it('cannot reach a later pod when their directory is gone', async () => {
      const shim = (await python.warm.start(await shimOptions('print("ran")')))!;
      await rm(file('0'), { recursive: true });
      await mkdir(file('0'));
      shim.go();
      expect(await shim.end).to.equal(75);
      expect(await readdir(file('0'))).to.deep.equal([]);
      expect(existsSync(file('log'))).to.equal(false);
    });

    it('hand the exit code to their parent when it cannot be written', async () => {
      const shim = (await python.warm.start(await shimOptions('import sys; sys.exit(9)')))!;
      await mkdir(file('0/exit'));
      shim.go();
      expect(await shim.end).to.equal(9);
    });

    it('share most of their memory with the warm process', async () => {
      const shim = (await python.warm.start(await shimOptions('import time; time.sleep(60)')))!;
      shim.go();
      await until('the payload runs', () => existsSync(file('0/started')));
      const rollup = await readFile(`/proc/${shim.pid}/smaps_rollup`, 'latin1');
      const kib = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)![1]);
      expect(kib('Private_Dirty')).to.be.lessThan(kib('Rss') / 3);
      process.kill(-shim.pid, 'SIGKILL');
      expect(await shim.end).to.equal(137);
    });
  });

  describe('when the warm process dies', () => {
    it('leaves what runs alone, knows how it ends, starts cold meanwhile, and becomes warm again', async () => {
      const { runtime } = await openWarm();
      const before = python.warm.pid!;
      await runtime.create(aPod('a', [gated('sys.exit(5)')]));
      await runtime.create(aPod('b', [gated('os.kill(os.getpid(), 9)')]));
      await until('the payloads run', () => linesOf('pids').length === 2);
      process.kill(before, 'SIGKILL');
      await until('it was noticed', () => python.warm.pid !== before);
      await writeFile(file('gate'), '');
      expect(await exitCode('a')).to.equal(5);
      expect(await exitCode('b')).to.equal(137);
      expect(linesOf('pids')).to.have.length(2);
      expect(await python.untilWarm()).to.not.equal(before);
      expect(await startWarm('c')).to.deep.equal(['none']);
    });

    it('runs every payload exactly once, at whatever moment it dies', async () => {
      const { runtime } = await openWarm();
      const names = Array.from({ length: 30 }, (_, index) => `p${index}`);
      for (const [index, name] of names.entries()) {
        await runtime.create(aPod(name, [task(`import os\n${append('runs', name)}`)]));
        if (index % 5 !== 4) continue;
        await new Promise(resolve => setTimeout(resolve, (index * 7) % 30));
        if (python.warm.pid) process.kill(python.warm.pid, 'SIGKILL');
        await python.untilWarm();
      }
      for (const name of names) expect((await bench!.untilOver(name)).status!.phase).to.equal('Succeeded');
      expect(linesOf('runs').sort()).to.deep.equal(names.toSorted());
      expect(python.warm.starts.warm).to.be.greaterThan(0);
    }).timeout(30_000);

    it('pauses longer and longer before it tries again', async () => {
      await writeFile(
        path.join(python.binDir, 'probe_runtime.py'),
        `open(${JSON.stringify(file('tries'))}, 'a').write('x\\n'); 1 / 0`,
      );
      const begun = Date.now();
      python.warm.begin();
      await until('it was tried four times', () => linesOf('tries').length === 4);
      expect(Date.now() - begun).to.be.greaterThan(20 + 40 + 80);
      expect(python.warm.pid).to.equal(undefined);
    });

    it('starts cold what a stopped warm process does not answer, and never runs it twice', async () => {
      python.warm.begin();
      await python.untilWarm();
      process.kill(python.warm.pid!, 'SIGSTOP');
      const zygote = [...(python.warm as unknown as { zygotes: Set<Zygote> }).zygotes][0]!;
      expect(zygote).to.be.instanceOf(Zygote);
      await mkdir(file('0'));
      const options = { runDir: file('0'), workDir: python.dir, command: ['a0', '1'], env: {}, label: 'spec' };
      const failure = await zygote.start(options, 50).catch(error => error);
      expect(failure.message).to.equal('no answer within 50 ms');
      await zygote.gone;
      expect(await readdir(file('0'))).to.deep.equal([]);
    });
  });

  describe('when the environment changes', () => {
    it('never runs old code after an edit', async () => {
      await openWarm();
      await appendFile(path.join(python.binDir, 'probe_runtime.py'), "\nLEVEL = 'new'\n");
      expect(await startCold('a')).to.deep.equal(['new']);
      await python.untilWarm();
      expect(await startWarm('b', 'import probe_runtime; print(probe_runtime.SIZE)')).to.deep.equal(['None']);
    });

    it('never misses what was installed', async () => {
      await openWarm();
      const code = `import importlib.util; print(importlib.util.find_spec('installed') is not None)`;
      expect(await startWarm('a', code)).to.deep.equal(['False']);
      await writeFile(path.join(python.binDir, 'installed.py'), '');
      expect(await startCold('b', code)).to.deep.equal(['True']);
      await python.untilWarm();
      expect(await startWarm('c', code)).to.deep.equal(['True']);
    });

    it('keeps the old process until its containers have ended, and hears how they end', async () => {
      const { runtime } = await openWarm();
      const before = python.warm.pid!;
      await runtime.create(aPod('a', [gated('sys.exit(6)')]));
      await until('the payload runs', () => linesOf('pids').length === 1);
      await writeFile(path.join(python.binDir, 'installed.py'), '');
      await startCold('b');
      await python.untilWarm();
      await startWarm('c');
      expect(await isAlive(before)).to.equal(true);
      await writeFile(file('gate'), '');
      expect(await exitCode('a')).to.equal(6);
      await until('the old process is gone', async () => !(await isAlive(before)));
    });
  });

  describe('is not used', () => {
    const staysCold = async (reason: RegExp) => {
      python.warm.begin();
      await openRuntime();
      await until('it has given up once', () => python.said.some(({ msg }) => msg.startsWith('python is not warm')));
      expect(python.said.find(({ msg }) => msg.startsWith('python is not warm'))!.reason).to.match(reason);
      expect(await startCold('a', 'print(7, flush=True); import os; os._exit(0)')).to.deep.equal(['7']);
      expect(python.warm.pid).to.equal(undefined);
    };
    const unfit: [string, string, RegExp][] = [
      [
        'an import starts a thread that cannot be held back',
        'import _thread, time; _thread.start_new_thread(time.sleep, (60,))',
        /started threads/,
      ],
      ['an import keeps a descriptor open', "kept = open('/dev/null')", /opened 1 descriptors/],
      ['an import ends the process', 'if sys.argv[1:] == []: os.abort()', /ended with SIGABRT/],
      ['an import fails', "if sys.argv[1:] == []: raise ValueError('no action')", /ValueError: no action/],
    ];
    for (const [title, code, reason] of unfit) {
      it(`when ${title}`, async () => {
        await appendFile(path.join(python.binDir, 'probe_runtime.py'), `\n${code}\n`);
        await staysCold(reason);
      });
    }

    it('when the interpreter of the script is looked up in PATH', async () => {
      await python.writeScript('#!/usr/bin/env python3\n');
      await staysCold(/another interpreter/);
    });

    it('when the script belongs to another environment', async () => {
      await symlink(executable, file('python3'));
      await python.writeScript(`#!${file('python3')}\n`);
      await staysCold(/another interpreter/);
    });
  });

  it('is used when the script comes to its interpreter through the shell, as pip writes it for long paths', async () => {
    await python.writeScript(`#!/bin/sh\n'''exec' "${executable}" "$0" "$@"\n' '''\n`);
    await openWarm();
    expect(await startWarm('a')).to.deep.equal(['none']);
  });

  describe('after the death of the server', () => {
    let child: ChildProcess | undefined;
    const podsDir = () => path.join(file('root'), 'pods');
    const startServer = async (): Promise<number> => {
      child = fork(path.join(import.meta.dirname, 'warm-child.ts'), [podsDir(), python.dir, '6']);
      const [{ zygote }] = await once(child, 'message');
      return zygote;
    };
    const create = async (command: ChildCommand): Promise<number> => {
      child!.send(command);
      const [{ warm }] = await once(child!, 'message');
      return warm;
    };
    const kill = async () => {
      const dying = child!;
      child = undefined;
      dying.kill('SIGKILL');
      await once(dying, 'exit');
    };
    const adopt = async () => {
      bench = new PodBench(podsDir(), { binDirs: [python.binDir], slots: 6 });
      await bench.runtime.start();
      return bench;
    };
    afterEach(async () => {
      if (child) await kill();
    });

    it('finds warm payloads again with log and exit code, and no warm process is left', async () => {
      const zygote = await startServer();
      await create({ create: aPod('a', [gated('print("after"); sys.exit(5)')]) });
      await until('the payload runs', () => linesOf('pids').length === 1);
      await kill();
      await until('the warm process is gone', async () => !(await isAlive(zygote)));
      expect(await isAlive(Number(linesOf('pids')[0]))).to.equal(true);
      await adopt();
      await writeFile(file('gate'), '');
      expect(await exitCode('a')).to.equal(5);
      expect(await bench!.lines('a')).to.deep.equal(['after']);
      expect(linesOf('pids')).to.have.length(1);
    });

    it('ends an adopted warm payload and its shim', async () => {
      await startServer();
      await create({ create: aPod('a', [gated('')]) });
      await until('the payload runs', () => linesOf('pids').length === 1);
      await kill();
      await adopt();
      await bench!.runtime.delete('a', { gracePeriodSeconds: 0 });
      await bench!.untilGone('a');
      expect(await isAlive(Number(linesOf('pids')[0]))).to.equal(false);
    });

    it('runs every payload exactly once, however often the server is killed and at whatever moment', async () => {
      const names = Array.from({ length: 30 }, (_, index) => `p${index}`);
      const pod = (name: string) => aPod(name, [task(`import os\n${append('runs', name)}`)]);
      let asked = 0;
      for (let round = 0; round < 5; round += 1) {
        await startServer();
        child!.on('message', () => {
          asked += 1;
        });
        for (const name of names.slice(asked, asked + 12)) {
          child!.send({ create: pod(name) } satisfies ChildCommand);
        }
        await new Promise(resolve => setTimeout(resolve, 10 + ((round * 37) % 60)));
        await kill();
      }
      await adopt();
      for (const name of names) await bench!.runtime.create(pod(name));
      for (const name of names) expect((await bench!.untilOver(name)).status!.phase).to.equal('Succeeded');
      expect(linesOf('runs').sort()).to.deep.equal(names.toSorted());
    }).timeout(60_000);
  });
});
