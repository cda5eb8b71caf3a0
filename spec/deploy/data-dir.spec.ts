import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { DataDirError, openDataDir } from '../../deploy/data-dir.ts';
import { startMoment } from '../../deploy/embedded/processes.ts';
import { dataDirKeys } from '../../deploy/keys.ts';

describe('data directory', () => {
  let parent: string;
  let dir: string;
  beforeEach(() => {
    parent = mkdtempSync(path.join(os.tmpdir(), 'starling-data-'));
    dir = path.join(parent, 'data');
  });
  afterEach(() => rmSync(parent, { recursive: true }));
  const refusal = async (act: Promise<unknown>): Promise<string> => {
    const error = await act.catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(DataDirError);
    return (error as Error).message;
  };

  it('is made for this user alone, and is new only once', async () => {
    const first = await openDataDir(dir);
    expect(first.isNew).to.equal(true);
    expect(statSync(dir).mode & 0o777).to.equal(0o700);
    expect(statSync(path.join(dir, 'objects')).mode & 0o777).to.equal(0o700);
    first.release();
    const second = await openDataDir(dir);
    expect(second.isNew).to.equal(false);
    second.release();
  });

  it('belongs to one server at a time, and names the other', async () => {
    const first = await openDataDir(dir);
    first.describe({ doing: 'serving', endpoint: 'http://localhost:1' });
    expect(await refusal(openDataDir(dir)))
      .to.include(`pid ${process.pid}`)
      .and.include('already serving at http://localhost:1')
      .and.include('--data-dir');
    first.release();
  });

  it('waits for one that is stopping', async () => {
    const first = await openDataDir(dir);
    first.describe({ doing: 'stopping' });
    const second = openDataDir(dir);
    setImmediate(() => first.release());
    (await second).release();
  });

  it('takes over the lock of a killed server, and of a pid that belongs to somebody else by now', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const since = startMoment(child.pid!);
    (await openDataDir(dir)).release();
    writeFileSync(
      path.join(dir, 'lock'),
      JSON.stringify({ pid: child.pid, since: 'another moment', doing: 'serving' }),
    );
    (await openDataDir(dir)).release();
    child.kill('SIGKILL');
    await once(child, 'exit');
    writeFileSync(path.join(dir, 'lock'), JSON.stringify({ pid: child.pid, since, doing: 'serving' }));
    (await openDataDir(dir)).release();
  });

  it('refuses the data of a newer version', async () => {
    (await openDataDir(dir)).release();
    writeFileSync(path.join(dir, 'version.json'), '{"layout": 99}');
    expect(await refusal(openDataDir(dir))).to.include('newer Starling (layout 99');
  });

  it('refuses a path that cannot be a directory', async () => {
    writeFileSync(path.join(parent, 'file'), '');
    expect(await refusal(openDataDir(path.join(parent, 'file', 'data'))))
      .to.include('not a directory')
      .and.include('STARLING_DATA_DIR');
  });

  it('keeps its secrets, readable by this user only', async () => {
    (await openDataDir(dir)).release();
    const keys = dataDirKeys(dir);
    expect(keys.signingKey).to.match(/^[0-9a-f]{64}$/);
    expect(dataDirKeys(dir)).to.deep.equal(keys);
    expect(statSync(path.join(dir, 'keys.json')).mode & 0o777).to.equal(0o600);
    expect(readFileSync(path.join(dir, 'keys.json'), 'utf8')).to.include(keys.secretAccessKey);
  });
});
