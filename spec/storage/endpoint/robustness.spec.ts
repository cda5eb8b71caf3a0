/** The endpoint has no request it breaks on (E1): correctly signed nonsense gets an answer, and the store stays as it was. */
import { connect } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { text } from '../conformance.ts';
import { type Embedded, openEmbedded } from '../embedded.ts';
import { type RawRequest, send } from './raw-client.ts';

describe('the S3 endpoint under nonsense', () => {
  let embedded: Embedded;
  before(async () => {
    embedded = await openEmbedded({ stallTimeoutMs: 500 });
    await embedded.store.put('s3://bucket/a', Buffer.from('content'));
  });
  after(() => embedded.close());
  afterEach(async () => {
    expect(text(await embedded.store.read('s3://bucket/a', { maxBytes: 100 }))).to.equal('content');
  });

  const name = fc.constantFrom(
    'list-type',
    'prefix',
    'delimiter',
    'continuation-token',
    'start-after',
    'max-keys',
    'encoding-type',
    'uploads',
    'uploadId',
    'partNumber',
    'delete',
    'versionId',
    'x-id',
    'response-content-type',
    'response-content-disposition',
    'X-Amz-Expires',
    '',
  );
  const word = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.constantFrom('2', '/', '0', '-1', '1e9', '../..'),
  );
  const header = fc.constantFrom(
    'range',
    'if-match',
    'if-none-match',
    'if-modified-since',
    'content-md5',
    'content-type',
    'content-encoding',
    'x-amz-copy-source',
    'x-amz-meta-x',
    'x-amz-checksum-crc32',
    'x-amz-checksum-sha256',
    'x-amz-trailer',
    'x-amz-decoded-content-length',
  );
  const headerText = fc.oneof(
    fc.stringMatching(/^[!-~]{0,12}$/),
    fc.constantFrom('*', 'bytes=0-', 'bytes=9-1', 'bucket/a', 'bytes=99999999999999999999-'),
  );
  const request: fc.Arbitrary<RawRequest> = fc.record({
    method: fc.constantFrom('GET', 'PUT', 'POST', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH'),
    path: fc.oneof(
      fc.constantFrom('/bucket', '/bucket/', '/bucket/fuzz', '/x/y', '/'),
      word.map(each => `/bucket/f/${each}`),
    ),
    query: fc.dictionary(name, word, { maxKeys: 4 }),
    headers: fc.dictionary(header, headerText, { maxKeys: 3 }),
    body: fc.oneof(
      fc.string({ maxLength: 30 }),
      fc.constantFrom('<Delete><Object><Key>f</Key></Object></Delete>', '<a>&b;</a>', '5\r\nhello\r\n0\r\n\r\n'),
    ),
  });

  it('answers every signed request, and never with an internal error', async () => {
    await fc.assert(
      fc.asyncProperty(request, async each => {
        const answer = await send(embedded, {
          ...each,
          ...(each.headers?.['x-amz-trailer'] && { payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' }),
        });
        expect(answer.status).to.be.at.least(200).and.not.equal(500);
        if (answer.status >= 400 && each.method !== 'HEAD') expect(answer.code).to.be.a('string');
      }),
      { numRuns: 400 },
    );
  });

  it('lives on when connections carry garbage or end anywhere', async () => {
    const { port, pathname } = new URL(embedded.url);
    const pieces = [
      '',
      'garbage\r\n\r\n',
      `PUT ${pathname}/bucket/b HTTP/1.1\r\n`,
      `PUT ${pathname}/bucket/b HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab`,
    ];
    for (const piece of pieces) {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => {});
      await new Promise<void>(resolve => socket.write(piece, () => resolve()));
      socket.destroy();
    }
    expect((await send(embedded, { method: 'GET', path: '/bucket/a' })).body).to.equal('content');
  });
});
