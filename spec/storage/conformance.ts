/** What every object store has to do alike. Each implementation runs this suite against the real thing. */
import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import {
  InvalidObjectArgument,
  InvalidObjectUri,
  ObjectDigestMismatch,
  ObjectNotFound,
  ObjectPreconditionFailed,
  ObjectRangeNotSatisfiable,
  ObjectTooLarge,
} from '../../storage/object-errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';

export const md5 = (bytes: Uint8Array | string): Buffer => createHash('md5').update(bytes).digest();
export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Awaits a promise that must reject, with an error of that class. */
export async function rejection<E extends Error>(
  promise: Promise<unknown>,
  type: abstract new (...args: never[]) => E,
): Promise<E> {
  const error = await promise.then(
    () => expect.fail(`resolved instead of rejecting with ${type.name}`),
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(type);
  return error as E;
}

async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

export function objectStoreConformance(
  name: string,
  open: () => Promise<{ store: ObjectStore; close(): Promise<void> }>,
): void {
  describe(`${name} as an object store`, () => {
    let store: ObjectStore;
    let close: () => Promise<void>;
    let folders = 0;
    /** A fresh folder per example. */
    let base: string;

    before(async () => ({ store, close } = await open()));
    beforeEach(() => {
      base = `s3://bucket/conformance/${++folders}`;
    });
    after(() => close());

    const keysOf = async (prefix: string, options = {}): Promise<string[]> =>
      (await collect(store.list(prefix, options))).map(({ uri }) => uri.slice(base.length + 1));

    it('returns what was put, with size, etag, content type and metadata', async () => {
      const body = Buffer.from('hello');
      const put = await store.put(`${base}/a.txt`, body, {
        contentType: 'text/plain',
        metadata: { flytecontentmd5: 'abc==' },
      });
      expect(put).to.deep.equal({ etag: md5(body).toString('hex'), size: 5 });
      expect(text(await store.read(`${base}/a.txt`, { maxBytes: 5 }))).to.equal('hello');
      const info = await store.head(`${base}/a.txt`);
      expect(info).to.deep.include({ uri: `${base}/a.txt`, size: 5, etag: put.etag, contentType: 'text/plain' });
      expect(info!.metadata).to.deep.equal({ flytecontentmd5: 'abc==' });
      expect(Math.abs(Date.now() - info!.lastModified.getTime())).to.be.below(60_000);
    });

    it('stores empty objects', async () => {
      await store.put(`${base}/empty`, new Uint8Array());
      expect((await store.head(`${base}/empty`))!.size).to.equal(0);
      expect(await store.read(`${base}/empty`, { maxBytes: 0 })).to.have.length(0);
    });

    it('stores streams of unknown length, small and large', async () => {
      for (const size of [0, 1, 300_000, 20 * 1024 * 1024 + 17]) {
        const bytes = randomBytes(size);
        const { size: stored } = await store.put(`${base}/stream-${size}`, inPieces(bytes, 100_003));
        expect(stored).to.equal(size);
        expect(Buffer.compare(await store.read(`${base}/stream-${size}`, { maxBytes: size }), bytes)).to.equal(0);
      }
    });

    it('replaces an object as a whole', async () => {
      await store.put(`${base}/a`, Buffer.from('a long first version'), {
        contentType: 'text/a',
        metadata: { a: '1' },
      });
      await store.put(`${base}/a`, Buffer.from('second'));
      expect(text(await store.read(`${base}/a`, { maxBytes: 100 }))).to.equal('second');
      expect((await store.head(`${base}/a`))!.metadata).to.deep.equal({});
    });

    it('stores nothing when the body breaks off or has another MD5', async () => {
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield randomBytes(9 * 1024 * 1024);
        yield randomBytes(9 * 1024 * 1024);
        throw new RangeError('the source broke');
      }
      await rejection(store.put(`${base}/broken`, broken()), RangeError);
      await rejection(store.put(`${base}/wrong`, Buffer.from('x'), { contentMd5: md5('y') }), ObjectDigestMismatch);
      await rejection(
        store.put(`${base}/wrong-stream`, inPieces(randomBytes(17 * 1024 * 1024), 1024 * 1024), {
          contentMd5: md5('y'),
        }),
        ObjectDigestMismatch,
      );
      expect(await keysOf(`${base}/`)).to.deep.equal([]);
      await store.put(`${base}/right`, Buffer.from('x'), { contentMd5: md5('x') });
      expect(await keysOf(`${base}/`)).to.deep.equal(['right']);
    });

    it('tells an absent object apart from everything else', async () => {
      expect(await store.head(`${base}/absent`)).to.equal(undefined);
      await rejection(store.read(`${base}/absent`, { maxBytes: 1 }), ObjectNotFound);
      await rejection(store.open(`${base}/absent`), ObjectNotFound);
      await rejection(store.copy(`${base}/absent`, `${base}/b`), ObjectNotFound);
      await store.delete(`${base}/absent`);
    });

    it('refuses to read more than the reader allows', async () => {
      await store.put(`${base}/a`, Buffer.from('12345'));
      await rejection(store.read(`${base}/a`, { maxBytes: 4 }), ObjectTooLarge);
    });

    it('opens ranges, clipped to the object', async () => {
      const bytes = randomBytes(1_000_000);
      await store.put(`${base}/r`, bytes);
      const ranges = [
        [{ start: 0, endInclusive: 0 }, 0, 1],
        [{ start: 10, endInclusive: 19 }, 10, 10],
        [{ start: 999_990 }, 999_990, 10],
        [{ start: 500_000, endInclusive: 5_000_000 }, 500_000, 500_000],
        [{ suffix: 3 }, 999_997, 3],
        [{ suffix: 5_000_000 }, 0, 1_000_000],
      ] as const;
      for (const [range, offset, length] of ranges) {
        const opened = await store.open(`${base}/r`, { range });
        expect(opened).to.deep.include({ offset, length });
        expect(opened.info.size).to.equal(bytes.length);
        expect(
          Buffer.compare(Buffer.concat(await collect(opened.body)), bytes.subarray(offset, offset + length)),
        ).to.equal(0);
      }
      const { sizeBytes } = await rejection(
        store.open(`${base}/r`, { range: { start: 1_000_000 } }),
        ObjectRangeNotSatisfiable,
      );
      expect(sizeBytes).to.equal(1_000_000);
    });

    it('keeps an open object readable while it is replaced and deleted', async () => {
      const bytes = randomBytes(3 * 1024 * 1024);
      await store.put(`${base}/a`, bytes);
      const opened = await store.open(`${base}/a`);
      await store.put(`${base}/a`, Buffer.from('new'));
      await store.delete(`${base}/a`);
      expect(Buffer.compare(Buffer.concat(await collect(opened.body)), bytes)).to.equal(0);
      const unread = store.open(`${base}/a`);
      await rejection(unread, ObjectNotFound);
    });

    it('releases an unread body', async () => {
      await store.put(`${base}/a`, randomBytes(3 * 1024 * 1024));
      const opened = await store.open(`${base}/a`);
      await opened.close();
      await opened.close();
    });

    it('takes keys literally, whatever characters they have', async () => {
      const keys = [
        'MD5=====/fast%2Fdownload.tar.gz',
        'a b/c+d?e#f&g=h;i',
        'é/e\u0301/🐦/中文',
        'quote"<>&\'/(x)!*~@^`|\\',
        '.hidden/...',
        'Case/case/CASE',
        'con~/x@/y!/%40',
      ];
      for (const key of keys) await store.put(`${base}/${key}`, Buffer.from(key));
      for (const key of keys) expect(text(await store.read(`${base}/${key}`, { maxBytes: 1000 }))).to.equal(key);
      const inOrder = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(await keysOf(`${base}/`)).to.deep.equal(inOrder);
    });

    it('keeps keys apart that differ in case or in Unicode form', async () => {
      const keys = ['Model', 'MODEL', 'model', '\u00e9', 'e\u0301'];
      for (const key of keys) await store.put(`${base}/${key}`, Buffer.from(key));
      for (const key of keys) expect(text(await store.read(`${base}/${key}`, { maxBytes: 100 }))).to.equal(key);
    });

    it('lets a key be an object and the folder of others', async () => {
      for (const key of ['a', 'a/b', 'a/b/c']) await store.put(`${base}/${key}`, Buffer.from(key));
      expect(await keysOf(base)).to.deep.equal(['a', 'a/b', 'a/b/c']);
      await store.delete(`${base}/a/b`);
      expect(await keysOf(base)).to.deep.equal(['a', 'a/b/c']);
    });

    it('stores long segments, in order with short ones', async () => {
      const keys = [300, 255, 81, 80, 79, 160].flatMap(length => [
        `${'x'.repeat(length)}`,
        `${'x'.repeat(length)}/y`,
        `${'x'.repeat(length)}-`,
      ]);
      for (const key of keys) await store.put(`${base}/${key}`, Buffer.from(key));
      expect(await keysOf(`${base}/`)).to.deep.equal([...keys].sort());
      expect(await keysOf(`${base}/${'x'.repeat(100)}`)).to.deep.equal(
        [...keys].sort().filter(key => key.startsWith('x'.repeat(100))),
      );
      for (const key of keys) expect(text(await store.read(`${base}/${key}`, { maxBytes: 1000 }))).to.equal(key);
    });

    it('refuses keys that climb, are empty somewhere, or carry control characters, in every operation', async () => {
      const bad = [
        '../x',
        'a/../b',
        './a',
        'a/.',
        'a//b',
        'a/',
        '',
        'a\u0000b',
        'a\nb',
        'a\u007f',
        '\ud800',
        'k'.repeat(1025),
      ];
      for (const key of bad) {
        const uri = `s3://bucket/${key}`;
        await rejection(store.put(uri, new Uint8Array()), InvalidObjectUri);
        await rejection(store.read(uri, { maxBytes: 1 }), InvalidObjectUri);
        await rejection(store.head(uri), InvalidObjectUri);
        await rejection(store.delete(uri), InvalidObjectUri);
        await rejection(store.copy(uri, `${base}/x`), InvalidObjectUri);
        await rejection(store.copy(`${base}/x`, uri), InvalidObjectUri);
        await rejection(store.signUpload(uri, { expiresInMs: 1000 }), InvalidObjectUri);
        await rejection(store.signDownload(uri, { expiresInMs: 1000 }), InvalidObjectUri);
      }
      for (const uri of ['file:///etc/passwd', 's3:///x', 's3://../x', 's3://a..b/x', 's3://Bucket/x', 'bucket/x']) {
        await rejection(store.head(uri), InvalidObjectUri);
      }
    });

    it('keeps as much metadata as S3 allows', async () => {
      const metadata = Object.fromEntries(
        Array.from({ length: 20 }, (_, index) => [`name-${index}`, '"\\'.repeat(45)]),
      );
      await store.put(`${base}/a`, Buffer.from('content'), { metadata });
      expect((await store.head(`${base}/a`))!.metadata).to.deep.equal(metadata);
      expect(text(await store.read(`${base}/a`, { maxBytes: 100 }))).to.equal('content');
      expect(await keysOf(base)).to.deep.equal(['a']);
    });

    it('refuses metadata that no header can carry', async () => {
      for (const metadata of [{ a: 'é' }, { a: 'x\r\ny: z' }, { 'A b': 'x' }, { a: 'x'.repeat(3000) }]) {
        await rejection(store.put(`${base}/a`, new Uint8Array(), { metadata }), InvalidObjectArgument);
      }
      await rejection(store.put(`${base}/a`, new Uint8Array(), { contentType: 'x\r\ny: z' }), InvalidObjectArgument);
    });

    it('lists by prefix, behind a key, up to a limit, in byte order', async () => {
      const keys = ['a', 'a-b', 'a/b', 'a/c', 'a0', 'ab', 'b/c/d'];
      for (const key of keys) await store.put(`${base}/${key}`, Buffer.from(key));
      const prefix = base.slice('s3://bucket/'.length);
      expect(await keysOf(`${base}/`)).to.deep.equal(keys);
      expect(await keysOf(`${base}/a`)).to.deep.equal(['a', 'a-b', 'a/b', 'a/c', 'a0', 'ab']);
      expect(await keysOf(`${base}/a/`)).to.deep.equal(['a/b', 'a/c']);
      expect(await keysOf(`${base}/`, { after: `${prefix}/a/b` })).to.deep.equal(['a/c', 'a0', 'ab', 'b/c/d']);
      expect(await keysOf(`${base}/`, { after: `${prefix}/a/b`, limit: 2 })).to.deep.equal(['a/c', 'a0']);
      expect(await keysOf(`${base}/none`)).to.deep.equal([]);
      expect(await collect(store.list('s3://no-such-bucket-yet/'))).to.deep.equal([]);
    });

    it('lists one level with the folders below it', async () => {
      for (const key of ['a', 'a/b', 'a/c/d', 'a0/x', 'b']) await store.put(`${base}/${key}`, Buffer.from(key));
      const level = async (prefix: string, options = {}): Promise<string[]> =>
        (await collect(store.listFolder(prefix, options))).map(entry =>
          ('object' in entry ? entry.object.uri : entry.folder).slice(base.length + 1),
        );
      expect(await level(`${base}/`)).to.deep.equal(['a', 'a/', 'a0/', 'b']);
      expect(await level(`${base}/a/`)).to.deep.equal(['a/b', 'a/c/']);
      expect(await level(`${base}/`, { limit: 2 })).to.deep.equal(['a', 'a/']);
      await store.delete(`${base}/a0/x`);
      expect(await level(`${base}/`)).to.deep.equal(['a', 'a/', 'b']);
    });

    it('lists more objects than a page holds', async () => {
      const keys = Array.from({ length: 1203 }, (_, index) => `many/${String(index).padStart(5, '0')}`);
      const pending = keys.values();
      const work = async (): Promise<void> => {
        for (const key of pending) await store.put(`${base}/${key}`, Buffer.from(key));
      };
      await Promise.all(Array.from({ length: 24 }, work));
      expect(await keysOf(`${base}/many/`)).to.deep.equal(keys);
      expect(await store.deletePrefix(`${base}/many`)).to.equal(keys.length);
      expect(await keysOf(base)).to.deep.equal([]);
    }).timeout(60_000);

    it('copies content, type and metadata', async () => {
      await store.put(`${base}/from`, Buffer.from('content'), { contentType: 'text/x', metadata: { a: 'b' } });
      const copied = await store.copy(`${base}/from`, `${base}/deep/to + %2F`);
      expect(copied).to.deep.equal({ etag: md5('content').toString('hex'), size: 7 });
      expect(await store.head(`${base}/deep/to + %2F`)).to.deep.include({
        contentType: 'text/x',
        metadata: { a: 'b' },
        size: 7,
      });
      expect(text(await store.read(`${base}/from`, { maxBytes: 100 }))).to.equal('content');
    });

    it('deletes a folder and nothing beside it', async () => {
      for (const key of ['r1', 'r1/a', 'r1/b/c', 'r10/a']) await store.put(`${base}/${key}`, Buffer.from(key));
      expect(await store.deletePrefix(`${base}/r1`)).to.equal(2);
      expect(await keysOf(base)).to.deep.equal(['r1', 'r10/a']);
      expect(await store.deletePrefix(`${base}/r1`)).to.equal(0);
      await rejection(store.deletePrefix('s3://bucket/'), InvalidObjectUri);
    });

    it('lets exactly one of many conditional creations win', async () => {
      const attempts = await Promise.allSettled(
        Array.from({ length: 12 }, (_, index) =>
          store.put(`${base}/once`, Buffer.from(String(index)), { onlyIf: 'absent' }),
        ),
      );
      const winners = attempts.flatMap((attempt, index) => (attempt.status === 'fulfilled' ? [index] : []));
      expect(winners).to.have.length(1);
      for (const attempt of attempts) {
        if (attempt.status === 'rejected') expect(attempt.reason).to.be.instanceOf(ObjectPreconditionFailed);
      }
      expect(text(await store.read(`${base}/once`, { maxBytes: 10 }))).to.equal(String(winners[0]));
    });

    it('loses no update among many conditional replacements', async () => {
      await store.put(`${base}/counter`, Buffer.from('0'));
      const increment = async (): Promise<void> => {
        for (;;) {
          const { info, body } = await store.open(`${base}/counter`);
          const next = Number(text(Buffer.concat(await collect(body)))) + 1;
          try {
            await store.put(`${base}/counter`, Buffer.from(String(next)), { onlyIf: { etag: info.etag } });
            return;
          } catch (error) {
            if (!(error instanceof ObjectPreconditionFailed)) throw error;
          }
        }
      };
      await Promise.all(Array.from({ length: 10 }, increment));
      expect(text(await store.read(`${base}/counter`, { maxBytes: 10 }))).to.equal('10');
      await rejection(store.put(`${base}/absent`, new Uint8Array(), { onlyIf: { etag: 'x' } }), ObjectNotFound);
    });

    it('signs uploads that store exactly the announced content, with the headers it names', async () => {
      const body = Buffer.from('uploaded');
      const { url, headers, expiresAt } = await store.signUpload(`${base}/up load+.bin`, {
        expiresInMs: 900_000,
        contentMd5: md5(body),
        contentLength: body.length,
        contentType: 'text/up',
        addMd5Metadata: true,
      });
      const digest = md5(body).toString('base64');
      expect(headers).to.deep.equal({
        'Content-MD5': digest,
        'Content-Length': '8',
        'Content-Type': 'text/up',
        'x-amz-meta-flyteContentMD5': digest,
      });
      expect(Math.abs(expiresAt.getTime() - Date.now() - 900_000)).to.be.below(5_000);
      const put = (content: Uint8Array, sent: Record<string, string>): Promise<Response> =>
        fetch(url, { method: 'PUT', body: Buffer.from(content), headers: sent });
      expect((await put(Buffer.from('UPLOADED'), headers)).status).to.equal(400);
      const { 'x-amz-meta-flyteContentMD5': _, ...withoutMetadata } = headers;
      expect((await put(body, withoutMetadata)).status).to.equal(403);
      expect(await store.head(`${base}/up load+.bin`)).to.equal(undefined);
      expect((await put(body, headers)).status).to.equal(200);
      expect(await store.head(`${base}/up load+.bin`)).to.deep.include({
        size: 8,
        contentType: 'text/up',
        metadata: { flytecontentmd5: digest },
      });
    });

    it('signs downloads', async () => {
      await store.put(`${base}/report é.html`, Buffer.from('<p>'), { contentType: 'text/html' });
      const { url } = await store.signDownload(`${base}/report é.html`, { expiresInMs: 60_000 });
      const response = await fetch(url);
      expect(response.status).to.equal(200);
      expect(response.headers.get('content-type')).to.equal('text/html');
      expect(await response.text()).to.equal('<p>');
      const typed = await store.signDownload(`${base}/report é.html`, {
        expiresInMs: 60_000,
        contentType: 'text/plain; charset=utf-8',
      });
      expect((await fetch(typed.url)).headers.get('content-type')).to.equal('text/plain; charset=utf-8');
      expect((await fetch(url, { method: 'PUT', body: 'x' })).status).to.equal(403);
    });

    it('signs for another address when clients reach the store under one', async () => {
      const { url } = await store.signDownload(`${base}/a`, {
        expiresInMs: 60_000,
        publicUrl: 'https://flyte.example.com/objects',
      });
      expect(url).to.match(/^https:\/\/flyte\.example\.com\/objects\/bucket\/conformance\//);
    });

    it('refuses signatures without a sensible lifetime', async () => {
      for (const expiresInMs of [0, -1, Number.NaN, 8 * 24 * 3600 * 1000]) {
        await rejection(store.signUpload(`${base}/a`, { expiresInMs }), InvalidObjectArgument);
        await rejection(store.signDownload(`${base}/a`, { expiresInMs }), InvalidObjectArgument);
      }
    });
  });
}
