/** Bodies as the AWS SDK and other clients code them when they stream: checksums in trailers, signed chunks. */
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { GetObjectCommand, PutObjectCommand, S3Client, UploadPartCopyCommand } from '@aws-sdk/client-s3';
import { expect } from 'chai';
import { EMPTY_SHA256, scopeText, sha256Hex, signingKey, signText } from '../../../storage/sigv4.ts';
import { text } from '../conformance.ts';
import { credentials, type Embedded, openEmbedded } from '../embedded.ts';
import { type RawAnswer, send } from './raw-client.ts';

describe('aws-chunked bodies at the S3 endpoint', () => {
  let embedded: Embedded;
  before(async () => {
    embedded = await openEmbedded();
  });
  after(() => embedded.close());

  it('serves the AWS SDK with its default checksums, for buffers and for streams', async () => {
    const client = new S3Client({
      endpoint: embedded.url,
      region: 'us-east-1',
      credentials,
      forcePathStyle: true,
      maxAttempts: 1,
    });
    try {
      const body = randomBytes(300_000);
      for (const Body of [body, Readable.from([body.subarray(0, 100_000), body.subarray(100_000)])]) {
        for (const ChecksumAlgorithm of [undefined, 'SHA256', 'SHA1'] as const) {
          if (Body instanceof Readable && ChecksumAlgorithm) continue;
          const input = { Bucket: 'bucket', Key: 'sdk', Body, ContentLength: body.length };
          await client.send(new PutObjectCommand({ ...input, ...(ChecksumAlgorithm && { ChecksumAlgorithm }) }));
          const { Body: read } = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'sdk' }));
          expect(Buffer.compare(Buffer.from(await read!.transformToByteArray()), body)).to.equal(0);
        }
      }
      const copyPart = { Bucket: 'bucket', Key: 'x', UploadId: 'x', PartNumber: 1, CopySource: 'bucket/sdk' };
      const error = await client.send(new UploadPartCopyCommand(copyPart)).catch(reason => reason);
      expect(error.name).to.equal('NotImplemented');
    } finally {
      client.destroy();
    }
  });

  const crcOf = (content: string): string => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(crc32(content));
    return bytes.toString('base64');
  };
  const unsigned = (body: string, length = 11): Promise<RawAnswer> =>
    send(embedded, {
      method: 'PUT',
      path: '/bucket/chunked',
      body,
      payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      headers: {
        'content-encoding': 'aws-chunked',
        'x-amz-trailer': 'x-amz-checksum-crc32',
        'x-amz-decoded-content-length': String(length),
      },
    });

  it('checks the trailing checksum and the decoded length', async () => {
    const trailer = (content: string) => `0\r\nx-amz-checksum-crc32:${crcOf(content)}\r\n\r\n`;
    expect((await unsigned(`6\r\nhello \r\n5\r\nworld\r\n${trailer('hello world')}`)).status).to.equal(200);
    expect(text(await embedded.store.read('s3://bucket/chunked', { maxBytes: 11 }))).to.equal('hello world');
    await embedded.store.delete('s3://bucket/chunked');
    expect(await unsigned(`b\r\nhello world\r\n${trailer('other')}`)).to.deep.include({
      status: 400,
      code: 'BadDigest',
    });
    expect(await unsigned(`b\r\nhello world\r\n0\r\n\r\n`)).to.deep.include({ status: 400, code: 'BadDigest' });
    expect(await unsigned(`b\r\nhello world\r\n${trailer('hello world')}`, 12)).to.deep.include({
      status: 400,
      code: 'IncompleteBody',
    });
    for (const broken of [
      '',
      'b\r\nhello',
      'zz\r\n',
      'b\r\nhello world!\r\n0\r\n\r\n',
      `${'1'.repeat(9000)}`,
      '-5\r\n',
      `0\r\nnocolon\r\n\r\n`,
    ]) {
      expect((await unsigned(broken)).status, broken).to.equal(400);
    }
    expect(await embedded.store.head('s3://bucket/chunked')).to.equal(undefined);
  });

  it('checks the chain of signed chunks', async () => {
    const at = '20261124T120000Z';
    const scope = { day: '20261124', region: 'eu-anywhere-1', service: 's3' };
    const key = signingKey(credentials.secretAccessKey, scope);
    const chunks = ['hello ', 'world', ''];
    const put = (spoil: (chunks: string[]) => void): Promise<RawAnswer> =>
      send(clocked, {
        method: 'PUT',
        path: '/bucket/signed',
        at: new Date('2026-11-24T12:00:00Z'),
        payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
        headers: { 'x-amz-decoded-content-length': '11' },
        tamper: wire => {
          let previous = /Signature=(\w+)/.exec(wire.headers.authorization!)![1]!;
          const coded = chunks.map(chunk => {
            const hash = createHash('sha256').update(chunk).digest('hex');
            previous = signText(
              key,
              ['AWS4-HMAC-SHA256-PAYLOAD', at, scopeText(scope), previous, EMPTY_SHA256, hash].join('\n'),
            );
            return `${chunk.length.toString(16)};chunk-signature=${previous}\r\n${chunk}\r\n`;
          });
          spoil(coded);
          wire.body = Buffer.from(coded.join(''));
        },
      });
    const clocked = await openEmbedded({ now: () => new Date('2026-11-24T12:00:10Z') });
    try {
      expect((await put(() => {})).status).to.equal(200);
      expect(text(await clocked.store.read('s3://bucket/signed', { maxBytes: 11 }))).to.equal('hello world');
      const spoilers: Array<(coded: string[]) => void> = [
        coded => coded.reverse(),
        coded => void coded.splice(0, 1),
        coded => void coded.splice(1, 1, coded[1]!.replace('world', 'World')),
        coded => void coded.splice(1, 1, coded[1]!.replace(/;chunk.*/, '')),
      ];
      for (const spoil of spoilers) expect((await put(spoil)).status).to.be.oneOf([400, 403]);
    } finally {
      await clocked.close();
    }
    expect(sha256Hex('')).to.equal(EMPTY_SHA256);
  });
});
