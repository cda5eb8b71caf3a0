/** What a crash, a full disk and a damaged file do to a directory store. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { diskError } from '../../../storage/directory/disk-errors.ts';
import { objectPath } from '../../../storage/directory/key-path.ts';
import { DirectoryStore } from '../../../storage/directory.ts';
import { ObjectStoreFull, ObjectStoreUnavailable } from '../../../storage/object-errors.ts';
import { collect, rejection } from '../conformance.ts';
import { credentials } from '../embedded.ts';

describe('the directory store and its disk', () => {
  let root: string;
  const open = (): Promise<DirectoryStore> =>
    DirectoryStore.open({ root, credentials, publicUrl: 'http://localhost:1/s3' });
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starling-crash-'));
  });
  afterEach(() => rm(root, { recursive: true }));

  it('removes the drafts of processes that are gone, and only theirs', async () => {
    const neighbour = await open();
    await mkdir(join(root, 'scratch/999999999-dead'), { recursive: true });
    await mkdir(join(root, `scratch/${process.pid}-predecessor`), { recursive: true });
    await mkdir(join(root, 'scratch/1-alive'), { recursive: true });
    await writeFile(join(root, 'scratch/999999999-dead/1'), 'half an object');
    const store = await open();
    const left = await readdir(join(root, 'scratch'));
    expect(left).to.have.length(3).and.to.include('1-alive');
    await neighbour.put('s3://bucket/a', Buffer.from('still works'));
    await Promise.all([store.close(), neighbour.close()]);
  });

  it('finds everything again after a restart', async () => {
    const first = await open();
    await first.put('s3://bucket/a/b', Buffer.from('x'), { contentType: 'text/x', metadata: { a: 'b' } });
    const before = await first.head('s3://bucket/a/b');
    await first.close();
    const second = await open();
    expect(await second.head('s3://bucket/a/b')).to.deep.equal(before);
    await second.close();
  });

  it('leaves no empty directories behind deletions', async () => {
    const store = await open();
    await store.put('s3://bucket/a/b/c/d', Buffer.from('x'));
    await store.put('s3://bucket/a/e', Buffer.from('x'));
    await store.delete('s3://bucket/a/b/c/d');
    expect(await readdir(join(root, 'objects/bucket/a'))).to.deep.equal(['e@']);
    await store.deletePrefix('s3://bucket/a');
    expect(await readdir(join(root, 'objects'))).to.deep.equal([]);
    await store.close();
  });

  it('loses no object to a deletion that empties its directory at the same time', async () => {
    const store = await open();
    const writer = async (name: string): Promise<void> => {
      for (let round = 0; round < 40; round++) {
        await store.put(`s3://bucket/shared/deep/${name}`, Buffer.from(name));
        expect(await store.head(`s3://bucket/shared/deep/${name}`)).to.not.equal(undefined);
        await store.delete(`s3://bucket/shared/deep/${name}`);
      }
    };
    await Promise.all(['a', 'b', 'c', 'd'].map(writer));
    expect(await collect(store.list('s3://bucket'))).to.deep.equal([]);
    await store.close();
  });

  it('reports a damaged file instead of returning part of it', async () => {
    const store = await open();
    await store.put('s3://bucket/cut', randomBytes(1_000_000));
    const path = join(root, 'objects/bucket', objectPath('cut'));
    await truncate(path, 500_000);
    await rejection(store.read('s3://bucket/cut', { maxBytes: 1_000_000 }), ObjectStoreUnavailable);
    await truncate(path, 10);
    await rejection(store.head('s3://bucket/cut'), ObjectStoreUnavailable);
    await store.close();
  });

  it('says so when the disk is full', () => {
    const noSpace = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' });
    const error = diskError(noSpace, '/data');
    expect(error).to.be.instanceOf(ObjectStoreFull);
    expect((error as Error).message).to.equal('no space left in /data: free disk space or raise the quota, then retry');
    expect(diskError(Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'read' }), '/data')).to.be.instanceOf(
      ObjectStoreUnavailable,
    );
  });

  it('refuses a root it cannot use', async () => {
    await writeFile(join(root, 'file'), '');
    const impossible = DirectoryStore.open({
      root: join(root, 'file'),
      credentials,
      publicUrl: 'http://localhost:1/s3',
    });
    await rejection(impossible, ObjectStoreUnavailable);
  });
});
