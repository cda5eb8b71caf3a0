import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { spawnShim } from '../../../../../actors/executor/runtime/process/shim.ts';

describe('shim', () => {
  let dir: string;
  let runDir: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'starling-shim-'));
    runDir = path.join(dir, '0');
    await mkdir(runDir);
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const spawn = (script: string) =>
    spawnShim({
      runDir,
      workDir: dir,
      command: ['/bin/sh', '-c', script],
      env: { PATH: process.env.PATH! },
      label: 'spec',
    });

  it('runs nothing when its node dies before the go', async () => {
    const shim = await spawn('echo ran');
    shim.process.stdin!.destroy();
    const [code] = await once(shim.process, 'exit');
    expect(code).to.equal(75);
    expect(await readdir(dir)).to.deep.equal(['0']);
    expect(await readdir(runDir)).to.deep.equal([]);
  });

  it('runs the payload once when two shims are told to go in one directory', async () => {
    const shims = await Promise.all([spawn('echo ran'), spawn('echo ran')]);
    const exits = shims.map(shim => once(shim.process, 'exit'));
    for (const shim of shims) shim.go();
    await Promise.all(exits);
    expect(await readFile(path.join(dir, 'log'), 'utf8')).to.equal('ran\n');
  });

  it('cannot reach a later pod when its directory is gone', async () => {
    const shim = await spawn('echo ran');
    await rm(runDir, { recursive: true });
    await mkdir(runDir);
    shim.go();
    await once(shim.process, 'exit');
    expect(await readdir(runDir)).to.deep.equal([]);
    expect(existsSync(path.join(dir, 'log'))).to.equal(false);
  });

  it('leaves the signal handling of the payload at its defaults', async () => {
    const shim = await spawn(
      `exec python3 -c "import signal; print([signal.getsignal(s).__class__.__name__ for s in (2, 15)])"`,
    );
    shim.go();
    await once(shim.process, 'exit');
    expect(await readFile(path.join(dir, 'log'), 'utf8')).to.equal("['builtin_function_or_method', 'Handlers']\n");
  });
});
