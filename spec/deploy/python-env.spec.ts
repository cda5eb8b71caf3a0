import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { PythonEnvironmentError, pythonEnvironment } from '../../deploy/python-env.ts';

describe('python environment', () => {
  let dir: string;
  let bin: string;
  let notices: string[];
  let steps: string[];
  beforeEach(() => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'starling-python-'));
    bin = path.join(dir, 'bin');
    mkdirSync(bin);
    writeFileSync(path.join(bin, 'tar'), '');
    notices = [];
    steps = [];
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  /**
   * An interpreter that answers the question of python-env.ts, makes environments like itself, "installs" by the script
   * `pip`, and writes down what it was asked to do.
   */
  function fakePython(
    file: string,
    answer: { version?: string; flyte?: string | null; venv?: boolean },
    pip = 'exit 0',
  ) {
    const scripts = path.dirname(file);
    mkdirSync(scripts, { recursive: true });
    const { version = '3.12.1', flyte = null, venv = true } = answer;
    const says = (at: string, has: string | null) => JSON.stringify({ version, flyte: has, scripts: at, venv });
    const log = path.join(dir, 'calls');
    const template = path.join(dir, 'template');
    writeFileSync(
      template,
      `#!/bin/sh
case "$1$2" in
  -c*) echo '${says('SCRIPTS', '2.12.3')}' ;;
  -mpip) echo "$@" >> ${log}; ${pip} ;;
esac
`,
    );
    writeFileSync(
      file,
      `#!/bin/sh
PATH=/usr/bin:/bin
case "$1$2" in
  -c*) echo '${says(scripts, flyte)}' ;;
  -mvenv)
    echo venv >> ${log}
    mkdir -p "$3/bin"; : > "$3/bin/a0"
    sed "s|SCRIPTS|$3/bin|" ${template} > "$3/bin/python"
    chmod +x "$3/bin/python" ;;
esac
`,
      { mode: 0o755 },
    );
    if (flyte) writeFileSync(path.join(scripts, 'a0'), '');
    return file;
  }
  const calls = () =>
    existsSync(path.join(dir, 'calls')) ? readFileSync(path.join(dir, 'calls'), 'utf8').trim().split('\n') : [];

  const choose = (more: { env?: Record<string, string>; executable?: string; packages?: string[] } = {}) =>
    pythonEnvironment({
      dataDir: path.join(dir, 'data'),
      env: { PATH: bin, ...more.env },
      executable: more.executable,
      packages: more.packages ?? ['pandas'],
      progress: text => {
        steps.push(text);
        return () => undefined;
      },
      notice: sentence => notices.push(sentence),
    });
  const refusal = async (...args: Parameters<typeof choose>): Promise<string> => {
    const error = await choose(...args).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(PythonEnvironmentError);
    return (error as Error).message;
  };

  it('uses an active virtual environment that has flyte as it is', async () => {
    const venv = path.join(dir, 'venv');
    fakePython(path.join(venv, 'bin', 'python'), { flyte: '2.12.1' });
    const found = await choose({ env: { VIRTUAL_ENV: venv } });
    expect(found).to.deep.equal({
      python: path.join(venv, 'bin', 'python'),
      binDir: path.join(venv, 'bin'),
      flyteVersion: '2.12.1',
      pythonVersion: '3.12.1',
      origin: 'active',
    });
    expect(steps).to.be.empty;
  });

  it('refuses an active environment whose flyte is too old, and says what to run', async () => {
    const venv = path.join(dir, 'venv');
    const python = fakePython(path.join(venv, 'bin', 'python'), { flyte: '2.6.5' });
    expect(await refusal({ env: { VIRTUAL_ENV: venv } }))
      .to.include('2.6.5, older than 2.12')
      .and.include(`${python} -m pip install --upgrade 'flyte==2.12.*'`);
  });

  it('goes past an active environment without flyte to our own, and says so', async () => {
    const venv = path.join(dir, 'venv');
    fakePython(path.join(venv, 'bin', 'python'), {});
    fakePython(path.join(bin, 'python3'), {});
    expect((await choose({ env: { VIRTUAL_ENV: venv } })).origin).to.equal('own');
    expect(notices[0]).to.include(venv).and.include('pip install');
  });

  it('lets the configured interpreter win over the active environment', async () => {
    const venv = path.join(dir, 'venv');
    fakePython(path.join(venv, 'bin', 'python'), { flyte: '2.12.1' });
    const executable = fakePython(path.join(dir, 'other', 'python'), { flyte: '2.13.0' });
    expect(await choose({ executable, env: { VIRTUAL_ENV: venv } })).to.include({
      origin: 'configured',
      flyteVersion: '2.13.0',
    });
  });

  it('refuses a configured interpreter that is missing, too old, or without flyte', async () => {
    expect(await refusal({ executable: '/nowhere/python' })).to.include('/nowhere/python does not run');
    const old = fakePython(path.join(dir, 'old', 'python'), { version: '3.9.1', flyte: '2.12.1' });
    expect(await refusal({ executable: old })).to.include('3.9.1, older than 3.10');
    const bare = fakePython(path.join(dir, 'bare', 'python'), {});
    expect(await refusal({ executable: bare })).to.include('flyte is not installed there');
  });

  it('makes our own environment once, with the pinned flyte and the configured packages', async () => {
    fakePython(path.join(bin, 'python3'), {});
    const found = await choose();
    expect(found).to.include({
      origin: 'own',
      flyteVersion: '2.12.3',
      binDir: path.join(dir, 'data', 'python', 'bin'),
    });
    expect(calls()).to.have.length(2);
    expect(calls()[1]).to.match(/flyte==2\.12\.\* pandas$/);
    expect(steps).to.have.length(1);
    await choose();
    expect(calls()).to.have.length(2);
  });

  it('makes it anew when it was interrupted or other packages are wanted', async () => {
    fakePython(path.join(bin, 'python3'), {});
    mkdirSync(path.join(dir, 'data', 'python', 'bin'), { recursive: true });
    writeFileSync(path.join(dir, 'data', 'python', 'half'), '');
    await choose();
    expect(existsSync(path.join(dir, 'data', 'python', 'half'))).to.equal(false);
    await choose({ packages: ['polars'] });
    expect(calls().at(-1)).to.include('polars');
  });

  it('says what to do without Python, with an old one, without venv, without tar, without an index', async () => {
    expect(await refusal())
      .to.include('Python 3.10 or newer, and there is none')
      .and.include('apt install python3');
    fakePython(path.join(bin, 'python3'), { version: '3.8.2' });
    expect(await refusal()).to.include('found only python3 3.8.2');
    fakePython(path.join(bin, 'python3.11'), { version: '3.11.2', venv: false });
    expect(await refusal()).to.include('apt install python3.11-venv');
    fakePython(path.join(bin, 'python3.12'), {}, 'echo "Failed to establish a new connection" >&2; exit 1');
    expect(await refusal())
      .to.include('cannot be reached')
      .and.include('Failed to establish');
    rmSync(path.join(bin, 'tar'));
    expect(await refusal()).to.include('no tar on the PATH');
  });
});
