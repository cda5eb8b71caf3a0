import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { isAlive } from '../../deploy/embedded/processes.ts';
import { reservePort } from '../../deploy/port.ts';

/** The whole program as `npm start` runs it, but for the demonstration. The Python environment is one that only looks right. */
describe('the program', () => {
  let dir: string;
  let port: number;
  const running = new Set<ChildProcess>();
  before(async () => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'starling-main-'));
    port = await reservePort('127.0.0.1', 0);
    const bin = path.join(dir, 'venv', 'bin');
    mkdirSync(bin, { recursive: true });
    const answer = JSON.stringify({ version: '3.12.1', flyte: '2.12.1', scripts: bin, venv: true });
    writeFileSync(path.join(bin, 'python'), `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
    writeFileSync(path.join(bin, 'a0'), '');
  });
  after(async () => {
    for (const child of running) child.kill('SIGTERM');
    await Promise.all([...running].map(child => once(child, 'exit')));
    rmSync(dir, { recursive: true });
  });

  const start = (...flags: string[]) => {
    const main = path.resolve(import.meta.dirname, '../../deploy/main.ts');
    const child = spawn(
      process.execPath,
      [main, '--no-demo', '--port', String(port), '--data-dir', path.join(dir, 'data'), ...flags],
      {
        env: { PATH: process.env.PATH, HOME: dir, VIRTUAL_ENV: path.join(dir, 'venv') },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    running.add(child);
    child.once('exit', () => running.delete(child));
    let output = '';
    child.stdout.on('data', chunk => (output += chunk));
    child.stderr.on('data', chunk => (output += chunk));
    return {
      child,
      ready: async () => {
        while (!output.includes('Ctrl-C stops the server')) {
          if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${output}`);
          await sleep(20);
        }
        return output;
      },
      end: async () => {
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
        return { code: child.exitCode, output };
      },
    };
  };
  const servers = () =>
    ['postgres.pid', 'redis.pid']
      .map(name => path.join(dir, 'data', 'run', name))
      .filter(file => existsSync(file))
      .map(file => Number(readFileSync(file, 'utf8')));

  it('becomes ready, refuses a second one on its data, and leaves nothing behind when it is stopped', async () => {
    const first = start();
    expect(await first.ready())
      .to.include(`ready at http://localhost:${port}`)
      .and.include('flyte 2.12.1 (active environment');
    const pids = servers();
    expect(pids.every(isAlive)).to.equal(true);
    const second = await start().end();
    expect(second.code).to.equal(1);
    expect(second.output).to.include(`already serving at http://localhost:${port}`);
    first.child.kill('SIGTERM');
    expect((await first.end()).code).to.equal(0);
    expect(pids.some(isAlive)).to.equal(false);
    expect(existsSync(path.join(dir, 'data', 'lock'))).to.equal(false);
  });

  it('starts again over what a kill left behind', async () => {
    const first = start();
    await first.ready();
    const orphans = servers();
    first.child.kill('SIGKILL');
    await first.end();
    expect(orphans.every(isAlive)).to.equal(true);
    const second = start();
    await second.ready();
    expect(orphans.some(isAlive)).to.equal(false);
    second.child.kill('SIGINT');
    expect((await second.end()).code).to.equal(0);
  });

  it('names the remedy and nothing else when it cannot start', async () => {
    const other = createServer();
    await new Promise<void>(resolve => other.listen(port, '127.0.0.1', resolve));
    const { code, output } = await start().end();
    await new Promise(resolve => other.close(resolve));
    expect(code).to.equal(1);
    expect(output).to.equal(
      `Port ${port} on 127.0.0.1 is taken by another program. Choose another with --port or STARLING_GATEWAY_PORT, or stop that program.\n`,
    );
    expect(existsSync(path.join(dir, 'data', 'lock'))).to.equal(false);
  });

  it('explains itself', async () => {
    const { code, output } = await start('--help').end();
    expect(code).to.equal(0);
    expect(output).to.include('STARLING_GATEWAY_PORT');
  });
});
