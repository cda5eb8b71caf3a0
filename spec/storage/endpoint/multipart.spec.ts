import { randomBytes } from 'node:crypto';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { collect, md5 } from '../conformance.ts';
import { type Embedded, openEmbedded } from '../embedded.ts';
import { type RawAnswer, send } from './raw-client.ts';

describe('multipart uploads at the S3 endpoint', () => {
  let embedded: Embedded;
  let objects = 0;
  let path: string;
  before(async () => {
    embedded = await openEmbedded({ maxObjectBytes: 30_000_000 });
  });
  beforeEach(() => {
    path = `/bucket/multi/${++objects}`;
  });
  after(() => embedded.close());

  const begin = async (headers = {}): Promise<string> => {
    const { body } = await send(embedded, { method: 'POST', path, query: { uploads: '' }, headers });
    return /<UploadId>(.*)<\/UploadId>/.exec(body)![1]!;
  };
  const part = (
    uploadId: string,
    partNumber: number | string,
    body: Uint8Array | string,
    headers = {},
  ): Promise<RawAnswer> =>
    send(embedded, { method: 'PUT', path, query: { partNumber: String(partNumber), uploadId }, body, headers });
  const complete = (uploadId: string, parts: Array<[number, string]>, headers = {}): Promise<RawAnswer> => {
    const items = parts.map(([number, etag]) => `<Part><ETag>${etag}</ETag><PartNumber>${number}</PartNumber></Part>`);
    const body = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${items.join('')}</CompleteMultipartUpload>`;
    return send(embedded, { method: 'POST', path, query: { uploadId }, body, headers });
  };
  const stored = async (): Promise<Buffer> =>
    Buffer.from(await embedded.store.read(`s3:/${path}`, { maxBytes: 30_000_000 }));

  it('joins parts that arrived side by side and in any order, under one etag', async () => {
    const pieces = Array.from({ length: 13 }, (_, index) => randomBytes(index === 12 ? 5 : 300_000));
    const uploadId = await begin({ 'content-type': 'text/parts', 'x-amz-meta-a': 'b' });
    const answers = await Promise.all(pieces.map((_, index) => part(uploadId, 13 - index, pieces[12 - index]!)));
    expect(await embedded.store.head(`s3:/${path}`)).to.equal(undefined);
    const etags = answers.map(({ headers }) => headers.etag!).reverse();
    const { status, body } = await complete(
      uploadId,
      etags.map((etag, index) => [index + 1, etag]),
    );
    expect(status).to.equal(200);
    const etag = `${md5(Buffer.concat(pieces.map(md5))).toString('hex')}-13`;
    expect(body).to.contain(`<ETag>&quot;${etag}&quot;</ETag>`);
    expect(Buffer.compare(await stored(), Buffer.concat(pieces))).to.equal(0);
    expect(await embedded.store.head(`s3:/${path}`)).to.deep.include({
      etag,
      contentType: 'text/parts',
      metadata: { a: 'b' },
    });
    expect(await readdir(join(embedded.root, 'uploads'))).to.not.include(uploadId);
  });

  it('takes the last of several bodies for one part, leaves out parts not listed, and allows gaps in the numbers', async () => {
    const uploadId = await begin();
    await part(uploadId, 2, 'old');
    const two = await part(uploadId, 2, 'new');
    await part(uploadId, 3, 'unlisted');
    const last = await part(uploadId, 10_000, '!');
    expect(
      (
        await complete(uploadId, [
          [2, two.headers.etag!],
          [10_000, last.headers.etag!],
        ])
      ).status,
    ).to.equal(200);
    expect((await stored()).toString()).to.equal('new!');
  });

  it('answers a repeated completion as it did the first one', async () => {
    const uploadId = await begin();
    const { headers } = await part(uploadId, 1, 'x');
    const twice = await Promise.all([
      complete(uploadId, [[1, headers.etag!]]),
      complete(uploadId, [[1, headers.etag!]]),
    ]);
    expect(twice.map(({ status }) => status)).to.deep.equal([200, 200]);
    expect(twice[0]!.body).to.equal(twice[1]!.body);
    await embedded.store.put(`s3:/${path}`, Buffer.from('other'));
    expect(await complete(uploadId, [[1, headers.etag!]])).to.deep.include({ status: 404, code: 'NoSuchUpload' });
  });

  it('refuses completions that do not match the parts', async () => {
    const uploadId = await begin();
    const etag = (await part(uploadId, 1, 'x')).headers.etag!;
    await part(uploadId, 2, 'x');
    expect(await complete(uploadId, [[1, '"wrong"']])).to.deep.include({ status: 400, code: 'InvalidPart' });
    expect(
      await complete(uploadId, [
        [1, etag],
        [3, etag],
      ]),
    ).to.deep.include({ status: 400, code: 'InvalidPart' });
    expect(
      await complete(uploadId, [
        [2, etag],
        [1, etag],
      ]),
    ).to.deep.include({ status: 400, code: 'InvalidPartOrder' });
    expect(
      await complete(uploadId, [
        [1, etag],
        [1, etag],
      ]),
    ).to.deep.include({ status: 400, code: 'InvalidPartOrder' });
    expect(await complete(uploadId, [])).to.deep.include({ status: 400, code: 'MalformedXML' });
    expect(
      (
        await complete(uploadId, [
          [1, etag],
          [2, etag],
        ])
      ).status,
    ).to.equal(200);
  });

  it('completes conditionally', async () => {
    await embedded.store.put(`s3:/${path}`, Buffer.from('first'));
    const uploadId = await begin();
    const etag = (await part(uploadId, 1, 'x')).headers.etag!;
    expect((await complete(uploadId, [[1, etag]], { 'if-none-match': '*' })).status).to.equal(412);
    expect((await complete(uploadId, [[1, etag]], { 'if-match': md5('first').toString('hex') })).status).to.equal(200);
  });

  it('refuses parts that are damaged, misnumbered, or belong nowhere', async () => {
    const uploadId = await begin();
    for (const number of [0, 10_001, 1.5, 'x', '']) expect((await part(uploadId, number, 'x')).status).to.equal(400);
    expect(await part(uploadId, 1, 'x', { 'content-md5': md5('y').toString('base64') })).to.deep.include({
      code: 'BadDigest',
    });
    for (const id of ['0'.repeat(32), '../../objects', '', uploadId.toUpperCase()]) {
      expect(await part(id, 1, 'x'), id).to.deep.include({ status: 404, code: 'NoSuchUpload' });
    }
    path = '/bucket/another-key';
    expect(await part(uploadId, 1, 'x')).to.deep.include({ status: 404, code: 'NoSuchUpload' });
    expect(await complete(uploadId, [[1, 'x']])).to.deep.include({ status: 404, code: 'NoSuchUpload' });
  });

  it('refuses a whole that is larger than an object may be', async () => {
    const uploadId = await begin();
    const parts: Array<[number, string]> = [];
    const piece = Buffer.alloc(8_000_000);
    for (const number of [1, 2, 3, 4]) parts.push([number, (await part(uploadId, number, piece)).headers.etag!]);
    expect(await complete(uploadId, parts)).to.deep.include({ status: 400, code: 'EntityTooLarge' });
  });

  it('forgets an aborted upload', async () => {
    const uploadId = await begin();
    await part(uploadId, 1, 'x');
    const abort = () => send(embedded, { method: 'DELETE', path, query: { uploadId } });
    expect((await abort()).status).to.equal(204);
    expect((await abort()).status).to.equal(404);
    expect((await part(uploadId, 2, 'x')).status).to.equal(404);
    expect(await readdir(join(embedded.root, 'uploads'))).to.not.include(uploadId);
  });

  it('survives a restart of the server, but not a week of silence', async () => {
    const uploadId = await begin();
    const abandoned = await begin();
    const etag = (await part(uploadId, 1, 'kept')).headers.etag!;
    const longAgo = new Date(Date.now() - 8 * 24 * 3600 * 1000);
    await utimes(join(embedded.root, 'uploads', abandoned), longAgo, longAgo);
    const restarted = await openEmbedded({ root: embedded.root });
    try {
      expect(await readdir(join(embedded.root, 'uploads')))
        .to.include(uploadId)
        .and.not.include(abandoned);
      await restarted.store.uploads.complete(uploadId, `s3:/${path}`, [{ number: 1, etag: etag.slice(1, -1) }]);
      expect((await stored()).toString()).to.equal('kept');
    } finally {
      await restarted.close();
    }
  });

  it('takes a thousand parts, numbered up to ten thousand', async () => {
    const uploadId = await begin();
    const parts: Array<[number, string]> = [];
    const etag = `"${md5('.').toString('hex')}"`;
    const pending = Array.from({ length: 1_000 }, (_, index) => (index + 1) * 10).values();
    const work = async (): Promise<void> => {
      for (const number of pending) {
        await embedded.store.uploads.putPart(uploadId, `s3:/${path}`, number, Buffer.from('.'));
        parts.push([number, etag]);
      }
    };
    await Promise.all(Array.from({ length: 12 }, work));
    expect(
      (
        await complete(
          uploadId,
          parts.sort(([a], [b]) => a - b),
        )
      ).status,
    ).to.equal(200);
    expect((await collect(embedded.store.list(`s3:/${path}`)))[0]?.size).to.equal(1_000);
  });
});
