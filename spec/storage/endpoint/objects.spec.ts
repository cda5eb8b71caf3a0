import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import { md5 } from '../conformance.ts';
import { type Embedded, openEmbedded } from '../embedded.ts';
import { send, sendPlain } from './raw-client.ts';

/** Waits until nothing is left of drafts that failed. */
async function draftsGone({ root }: Embedded): Promise<void> {
  for (;;) {
    const scratch = await readdir(join(root, 'scratch'), { recursive: true, withFileTypes: true });
    if (scratch.every(entry => entry.isDirectory())) return;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

describe('objects at the S3 endpoint', () => {
  let embedded: Embedded;
  const body = randomBytes(700_000);
  before(async () => {
    embedded = await openEmbedded({ stallTimeoutMs: 200, maxObjectBytes: 2_000_000 });
    await embedded.store.put('s3://bucket/big', body, { metadata: { a: 'b' } });
    await embedded.store.put('s3://bucket/small', Buffer.from('0123456789'), { contentType: 'text/html' });
    await embedded.store.put('s3://bucket/empty', new Uint8Array());
  });
  after(() => embedded.close());

  const get = (key: string, headers = {}, method = 'GET') =>
    send(embedded, { method, path: `/bucket/${key}`, headers });

  it('answers GET and HEAD alike, HEAD without the body', async () => {
    const [whole, head] = [await get('small'), await get('small', {}, 'HEAD')];
    expect(whole).to.deep.include({ status: 200, body: '0123456789' });
    expect(head).to.deep.include({ status: 200, body: '' });
    for (const { headers } of [whole, head]) {
      expect(headers).to.deep.include({
        'content-length': '10',
        'content-type': 'text/html',
        etag: `"${md5('0123456789').toString('hex')}"`,
        'accept-ranges': 'bytes',
      });
      expect(Date.parse(headers['last-modified']!)).to.be.a('number').and.not.NaN;
    }
    expect((await get('empty')).headers['content-length']).to.equal('0');
    expect((await get('big', {}, 'HEAD')).headers).to.deep.include({ 'content-length': '700000', 'x-amz-meta-a': 'b' });
  });

  it('keeps a stored page from acting on the origin of the console', async () => {
    const { headers } = await get('small');
    expect(headers['content-security-policy']).to.contain('sandbox');
    expect(headers['x-content-type-options']).to.equal('nosniff');
  });

  it('answers ranges with 206 and Content-Range, clipped to the end', async () => {
    const ranges = [
      ['bytes=0-3', '0123', 'bytes 0-3/10'],
      ['bytes=8-100', '89', 'bytes 8-9/10'],
      ['bytes=7-', '789', 'bytes 7-9/10'],
      ['bytes=-4', '6789', 'bytes 6-9/10'],
    ] as const;
    for (const [range, content, contentRange] of ranges) {
      const answer = await get('small', { range });
      expect(answer).to.deep.include({ status: 206, body: content });
      expect(answer.headers).to.deep.include({
        'content-range': contentRange,
        'content-length': String(content.length),
      });
    }
  });

  it('answers 416 with the size when a range holds no byte, and ignores what is no single range', async () => {
    for (const [key, range, size] of [
      ['small', 'bytes=10-', 10],
      ['empty', 'bytes=0-0', 0],
      ['small', 'bytes=-0', 10],
    ] as const) {
      const answer = await get(key, { range });
      expect(answer).to.deep.include({ status: 416, code: 'InvalidRange' });
      expect(answer.headers['content-range']).to.equal(`bytes */${size}`);
    }
    for (const range of ['bytes=0-1,3-4', 'lines=0-1', 'bytes=5-2', 'bytes=-']) {
      expect(await get('small', { range })).to.deep.include({ status: 200, body: '0123456789' });
    }
  });

  it('honours conditions of readers', async () => {
    const etag = `"${md5('0123456789').toString('hex')}"`;
    const [past, future] = ['Thu, 01 Jan 2015 00:00:00 GMT', 'Thu, 01 Jan 2099 00:00:00 GMT'];
    expect((await get('small', { 'if-match': etag })).status).to.equal(200);
    expect((await get('small', { 'if-match': '"x"' })).status).to.equal(412);
    expect((await get('small', { 'if-none-match': etag })).status).to.equal(304);
    expect((await get('small', { 'if-none-match': '"x", "y"' })).status).to.equal(200);
    expect((await get('small', { 'if-modified-since': future })).status).to.equal(304);
    expect((await get('small', { 'if-modified-since': past })).status).to.equal(200);
    expect((await get('small', { 'if-unmodified-since': past })).status).to.equal(412);
  });

  it('creates or replaces conditionally', async () => {
    const put = (headers: Record<string, string>) =>
      send(embedded, { method: 'PUT', path: '/bucket/cond', body: 'x', headers });
    expect((await put({ 'if-match': '"x"' })).status).to.equal(404);
    const { headers, status } = await put({ 'if-none-match': '*' });
    expect(status).to.equal(200);
    expect(await put({ 'if-none-match': '*' })).to.deep.include({ status: 412, code: 'PreconditionFailed' });
    expect((await put({ 'if-match': '"x"' })).status).to.equal(412);
    expect((await put({ 'if-match': headers.etag! })).status).to.equal(200);
  });

  it('answers 404 for what is absent, and 204 when it is deleted all the same', async () => {
    expect(await get('absent')).to.deep.include({ status: 404, code: 'NoSuchKey' });
    expect(await get('absent', {}, 'HEAD')).to.deep.include({ status: 404, body: '' });
    expect((await get('absent', {}, 'DELETE')).status).to.equal(204);
  });

  it('refuses a body that is not the announced one, and keeps nothing of it', async () => {
    const put = (headers: Record<string, string>) =>
      send(embedded, { method: 'PUT', path: '/bucket/bad', body: 'x', headers });
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32('y'));
    expect(await put({ 'content-md5': md5('y').toString('base64') })).to.deep.include({
      status: 400,
      code: 'BadDigest',
    });
    expect(await put({ 'content-md5': 'short' })).to.deep.include({ status: 400, code: 'InvalidDigest' });
    expect(await put({ 'x-amz-checksum-crc32': crc.toString('base64') })).to.deep.include({
      status: 400,
      code: 'BadDigest',
    });
    expect(await put({ 'x-amz-checksum-crc64nvme': 'AAAA' })).to.deep.include({ status: 501, code: 'NotImplemented' });
    expect((await get('bad')).status).to.equal(404);
    await draftsGone(embedded);
  });

  it('refuses objects above the limit by their announced and by their real length', async () => {
    const tooLong = Buffer.alloc(2_000_001);
    expect(await send(embedded, { method: 'PUT', path: '/bucket/long', body: tooLong })).to.deep.include({
      status: 400,
      code: 'EntityTooLarge',
    });
    const { url } = await embedded.store.signUpload('s3://bucket/long', { expiresInMs: 60_000 });
    const unannounced = new Blob([tooLong]).stream();
    const answer = await fetch(url, { method: 'PUT', body: unannounced, duplex: 'half' });
    expect(answer.status).to.equal(400);
    expect(await answer.text()).to.contain('<Code>EntityTooLarge</Code>');
    expect((await get('long')).status).to.equal(404);
    await draftsGone(embedded);
  });

  it('keeps nothing of an upload whose client disconnects', async () => {
    const { url, headers } = await embedded.store.signUpload('s3://bucket/cut', {
      expiresInMs: 60_000,
      contentLength: 1_000_000,
    });
    const { port, pathname, search } = new URL(url);
    const req = request({ host: '127.0.0.1', port, method: 'PUT', path: pathname + search, headers });
    req.on('error', () => {});
    await new Promise(resolve => req.write(randomBytes(600_000), resolve));
    for (let drafts = 0; drafts === 0; )
      drafts = (await readdir(join(embedded.root, 'scratch'), { recursive: true })).length - 1;
    req.destroy();
    await draftsGone(embedded);
    expect((await get('cut')).status).to.equal(404);
  });

  it('gives up a body that stalls with the error clients retry, and closes the connection', async () => {
    const { url, headers } = await embedded.store.signUpload('s3://bucket/stalled', {
      expiresInMs: 60_000,
      contentLength: 1_000,
    });
    const { hostname, port, host, pathname, search } = new URL(url);
    const socket = connect(Number(port), hostname);
    const lines = [
      `PUT ${pathname}${search} HTTP/1.1`,
      `host: ${host}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\npart of it`);
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    expect(answer).to.match(/^HTTP\/1\.1 400 /);
    expect(answer).to.contain('<Code>RequestTimeout</Code>');
    await draftsGone(embedded);
  });

  it('survives a reader that leaves in the middle', async () => {
    for (let attempt = 0; attempt < 5; attempt++) {
      const { url } = await embedded.store.signDownload('s3://bucket/big', { expiresInMs: 60_000 });
      const response = await fetch(url);
      const reader = response.body!.getReader();
      await reader.read();
      await reader.cancel();
    }
    expect((await get('small')).status).to.equal(200);
  });

  it('cannot be led out of its directory by any spelling of a path', async () => {
    const base = new URL(embedded.url);
    for (const path of [
      '/bucket/../../../etc/passwd',
      '/../etc/passwd',
      '/./x',
      '/bucket/a/../b',
      '/bucket/./a',
      '/bucket//etc',
      '/bucket/a/',
    ]) {
      for (const method of ['GET', 'PUT', 'DELETE', 'HEAD']) {
        const answer = await send(embedded, { method, path });
        expect(answer.status, `${method} ${path}`).to.be.oneOf([400, 501]);
      }
    }
    const encoded = await send(embedded, {
      method: 'GET',
      path: '/bucket/x',
      tamper: wire => void (wire.path = '/s3/bucket/%2e%2e/x'),
    });
    expect(encoded.status).to.equal(403);
    for (const path of [
      '/s3/bucket/%',
      '/s3/bucket/%ff%fe',
      '/s3',
      '/s3x/bucket/a',
      '/',
      '*',
      'http://evil/s3/bucket/a',
    ]) {
      const answer = await sendPlain(base, 'GET', path);
      expect(answer.status, path).to.be.oneOf([400, 403, 404]);
      expect(answer.code, path).to.be.a('string');
    }
    expect(await send(embedded, { method: 'PUT', path: '/bucket/nul%00\u0000', body: 'x' })).to.deep.include({
      status: 400,
    });
    expect(await readdir(embedded.root)).to.have.members(['objects', 'uploads', 'scratch']);
  });

  it('copies with the headers of the source, or with new ones', async () => {
    const copy = (headers: Record<string, string>) => send(embedded, { method: 'PUT', path: '/bucket/copy', headers });
    const same = await copy({ 'x-amz-copy-source': '/bucket/small' });
    expect(same.body).to.contain('<CopyObjectResult').and.to.contain(md5('0123456789').toString('hex'));
    expect((await get('copy')).headers['content-type']).to.equal('text/html');
    await copy({
      'x-amz-copy-source': 'bucket/small',
      'x-amz-metadata-directive': 'REPLACE',
      'content-type': 'a/b',
      'x-amz-meta-c': 'd',
    });
    expect((await get('copy')).headers).to.deep.include({ 'content-type': 'a/b', 'x-amz-meta-c': 'd' });
    expect((await copy({ 'x-amz-copy-source': 'bucket/absent' })).status).to.equal(404);
    expect((await copy({ 'x-amz-copy-source': 'bucket/../x' })).status).to.equal(400);
  });

  it('names what it does not do', async () => {
    const unknown = [
      { method: 'GET', path: '/bucket/small', query: { acl: '' } },
      { method: 'PUT', path: '/bucket/small', query: { tagging: '' } },
      { method: 'PUT', path: '/bucket' },
      { method: 'GET', path: '/bucket', query: { location: '' } },
      { method: 'PUT', path: '/bucket/x', headers: { 'x-amz-server-side-encryption': 'aws:kms' } },
    ];
    for (const request of unknown)
      expect(await send(embedded, request)).to.deep.include({ status: 501, code: 'NotImplemented' });
    expect(await send(embedded, { method: 'PATCH', path: '/bucket/x' })).to.deep.include({
      status: 405,
      code: 'MethodNotAllowed',
    });
    expect((await get('small')).body).to.equal('0123456789');
  });
});
