import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import pg from 'pg';
import pino from 'pino';
import { type EmbeddedPostgres, embeddedPostgres } from '../../../deploy/embedded/postgres.ts';
import { isAlive } from '../../../deploy/embedded/processes.ts';
import { type EmbeddedRedis, embeddedRedis, findRedisServer } from '../../../deploy/embedded/redis.ts';
import { socketDirectory } from '../../../deploy/embedded/socket-directory.ts';

const log = pino({ level: 'silent' });
const env = { PATH: process.env.PATH };
const tmpDir = os.tmpdir();

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(20);
}

const query = async (url: string, text: string) => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
};

/** Starts a server in a Node process of its own and kills that process the hard way; answers the server's pid. */
async function startAndDie(script: string): Promise<number> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    cwd: path.resolve(import.meta.dirname, '../../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output, [, signal]] = await Promise.all([child.stdout.toArray(), once(child, 'exit')]);
  expect(signal).to.equal('SIGKILL');
  return Number(Buffer.concat(output).toString());
}

describe('embedded servers', () => {
  let dataDir: string;
  let postgres: EmbeddedPostgres | undefined;
  let redis: EmbeddedRedis | undefined;
  // One directory for all: making a database cluster is what takes long here.
  before(() => {
    dataDir = mkdtempSync(path.join(tmpDir, 'starling-servers-'));
  });
  afterEach(async () => {
    await postgres?.stop();
    await redis?.stop();
    postgres = redis = undefined;
  });
  after(() => rmSync(dataDir, { recursive: true }));

  describe('postgres', () => {
    it('keeps its data over a clean stop, and answers in its own database', async () => {
      postgres = await embeddedPostgres({ dataDir, tmpDir, env, log });
      await postgres.start();
      expect(await postgres.health()).to.equal(undefined);
      await query(postgres.url, 'create table kept as select 7 as n');
      await postgres.stop();
      expect(await postgres.health()).to.include('does not answer');
      await postgres.start();
      expect(await query(postgres.url, 'select n from kept')).to.deep.equal([{ n: 7 }]);
      const [settings] = await query(
        postgres.url,
        `select current_setting('fsync') as fsync, current_setting('jit') as jit`,
      );
      expect(settings).to.deep.equal({ fsync: 'on', jit: 'off' });
    });

    it('comes back by itself when it is killed', async () => {
      postgres = await embeddedPostgres({ dataDir, tmpDir, env, log });
      await postgres.start();
      const first = postgres.pid!;
      process.kill(first, 'SIGKILL');
      await until(async () => postgres!.pid !== first && (await postgres!.health()) === undefined);
    });

    it('ends the server of a killed parent and loses nothing that was committed', async () => {
      const orphan = await startAndDie(`
        import { embeddedPostgres } from './deploy/embedded/postgres.ts';
        import pg from 'pg';
        import pino from 'pino';
        const server = await embeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, tmpDir: ${JSON.stringify(tmpDir)},
          env: { PATH: process.env.PATH }, log: pino({ level: 'silent' }) });
        await server.start();
        const client = new pg.Client({ connectionString: server.url });
        await client.connect();
        await client.query('create table t (n int); insert into t values (7)');
        await client.query('begin; lock table t in access exclusive mode');
        console.log(server.pid);
        process.kill(process.pid, 'SIGKILL');
      `);
      expect(isAlive(orphan)).to.equal(true);
      postgres = await embeddedPostgres({ dataDir, tmpDir, env, log });
      await postgres.start();
      expect(isAlive(orphan)).to.equal(false);
      expect(await query(postgres.url, 'select n from t')).to.deep.equal([{ n: 7 }]);
    });

    it('is not kept from starting by a stale pid that now belongs to somebody else, and leaves that one alone', async () => {
      postgres = await embeddedPostgres({ dataDir, tmpDir, env, log });
      await postgres.start();
      const lock = path.join(dataDir, 'postgres', 'postmaster.pid');
      const socketLock = path.join(new URL(postgres.url).hostname.replaceAll('%2F', '/'), '.s.PGSQL.5432.lock');
      const left = [lock, socketLock].map(file => ({ file, lines: readFileSync(file, 'utf8') }));
      await postgres.stop();
      // As after a power cut: pids begin anew at every boot, and small ones are soon taken.
      for (const { file, lines } of left) writeFileSync(file, lines.replace(/^\d+/, String(process.pid)));
      writeFileSync(path.join(dataDir, 'run', 'postgres.pid'), String(process.pid));
      await postgres.start();
      expect(await postgres.health()).to.equal(undefined);
    });

    it('refuses data of another version and data that lost its head, and touches neither', async () => {
      postgres = await embeddedPostgres({ dataDir, tmpDir, env, log });
      await postgres.start();
      await postgres.stop();
      const versionFile = path.join(dataDir, 'postgres', 'PG_VERSION');
      writeFileSync(versionFile, '14\n');
      await refused(postgres.start(), 'belongs to PostgreSQL 14');
      rmSync(versionFile);
      await refused(postgres.start(), 'PG_VERSION is missing');
      expect(existsSync(path.join(dataDir, 'postgres', 'base'))).to.equal(true);
    });
  });

  describe('redis', () => {
    const open = async () => {
      const found = await findRedisServer(process.env.PATH!);
      if ('reason' in found) throw new Error(`these specs need redis-server: ${found.reason}`);
      return embeddedRedis({ dataDir, tmpDir, env, log, executable: found.executable });
    };

    it('keeps its data over a clean stop and never evicts', async () => {
      redis = await open();
      await redis.start();
      let client = new Redis({ path: redis.socketPath });
      await client.set('bell', 'rings');
      expect(await client.config('GET', 'maxmemory-policy')).to.deep.equal(['maxmemory-policy', 'noeviction']);
      client.disconnect();
      await redis.stop();
      await redis.start();
      client = new Redis({ path: redis.socketPath });
      expect(await client.get('bell')).to.equal('rings');
      client.disconnect();
    });

    it('comes back by itself when it is killed', async () => {
      redis = await open();
      await redis.start();
      const first = redis.pid!;
      process.kill(first, 'SIGKILL');
      await until(async () => redis!.pid !== first && (await redis!.health()) === undefined);
    });

    it('stays down when it is stopped in the middle of coming back', async () => {
      redis = await open();
      await redis.start();
      const first = redis.pid!;
      process.kill(first, 'SIGKILL');
      await until(() => redis!.pid !== first);
      const second = redis.pid!;
      await redis.stop();
      expect(isAlive(second)).to.equal(false);
      expect(await redis.health()).to.include('(stopped)');
    });

    it('ends the server of a killed parent', async () => {
      const orphan = await startAndDie(`
        import { embeddedRedis, findRedisServer } from './deploy/embedded/redis.ts';
        import pino from 'pino';
        const { executable } = await findRedisServer(process.env.PATH);
        const server = embeddedRedis({ dataDir: ${JSON.stringify(dataDir)}, tmpDir: ${JSON.stringify(tmpDir)},
          env: { PATH: process.env.PATH }, log: pino({ level: 'silent' }), executable });
        await server.start();
        console.log(server.pid);
        process.kill(process.pid, 'SIGKILL');
      `);
      expect(isAlive(orphan)).to.equal(true);
      redis = await open();
      await redis.start();
      expect(isAlive(orphan)).to.equal(false);
      expect(await redis.health()).to.equal(undefined);
    });

    it('moves a file it cannot read away and starts empty', async () => {
      redis = await open();
      await redis.start();
      await redis.stop();
      writeFileSync(path.join(dataDir, 'redis', 'appendonlydir', 'appendonly.aof.manifest'), 'rubbish\n');
      await redis.start();
      expect(await redis.health()).to.equal(undefined);
      expect(readdirSync(dataDir).some(name => name.startsWith('redis.broken-'))).to.equal(true);
    });

    it('says why a redis-server will not do', async () => {
      expect(await findRedisServer(dataDir)).to.deep.equal({ reason: 'no redis-server on the PATH' });
      writeFileSync(path.join(dataDir, 'redis-server'), '#!/bin/sh\necho "Redis server v=5.0.14 sha=0"\n', {
        mode: 0o755,
      });
      expect(await findRedisServer(dataDir))
        .to.have.property('reason')
        .that.includes('5.0, older than 6.2');
    });
  });

  describe('socket paths', () => {
    it('stay open to the user of another server beside them', () => {
      const uid = process.getuid!();
      const pgDir = socketDirectory({ dataDir, tmpDir, uid }, 'pg', { uid, gid: process.getgid!() });
      socketDirectory({ dataDir, tmpDir, uid }, 'redis');
      expect(statSync(path.dirname(pgDir)).mode & 0o777).to.equal(0o711);
    });

    it('stay short enough for the kernel, in the data directory or else under the temporary one', () => {
      const uid = process.getuid!();
      expect(socketDirectory({ dataDir, tmpDir, uid }, 'pg')).to.equal(path.join(dataDir, 'run', 'pg'));
      const long = path.join(dataDir, 'd'.repeat(100));
      const short = socketDirectory({ dataDir: long, tmpDir: dataDir, uid }, 'pg');
      expect(Buffer.byteLength(short)).to.be.below(82);
      expect(socketDirectory({ dataDir: long, tmpDir: dataDir, uid }, 'pg')).to.equal(short);
    });
  });
});

async function refused(act: Promise<unknown>, words: string): Promise<void> {
  const error = await act.then(
    () => undefined,
    (reason: Error) => reason,
  );
  expect(error?.message).to.include(words);
}
