import { expect } from 'chai';
import { md5 } from '../conformance.ts';
import { type Embedded, openEmbedded } from '../embedded.ts';
import { type RawRequest, send, sendPlain } from './raw-client.ts';

describe('signatures at the S3 endpoint', () => {
  let embedded: Embedded;
  let now = new Date();
  before(async () => {
    embedded = await openEmbedded({ now: () => now });
    await embedded.store.put('s3://bucket/a', Buffer.from('content'));
  });
  beforeEach(() => {
    now = new Date();
  });
  after(() => embedded.close());

  const get: RawRequest = { method: 'GET', path: '/bucket/a' };
  const refusals: Array<[what: string, request: RawRequest, status: number, code: string]> = [
    ['a wrong secret', { ...get, secretAccessKey: 'x' }, 403, 'SignatureDoesNotMatch'],
    ['an unknown access key', { ...get, accessKeyId: 'x' }, 403, 'InvalidAccessKeyId'],
    ['no signature at all', { ...get, tamper: ({ headers }) => delete headers.authorization }, 403, 'AccessDenied'],
    ['another path', { ...get, tamper: wire => void (wire.path = '/s3/bucket/b') }, 403, 'SignatureDoesNotMatch'],
    [
      'another prefix',
      { ...get, tamper: wire => void (wire.path = '/s3/bucket/a?response-content-type=x') },
      403,
      'SignatureDoesNotMatch',
    ],
    [
      'another host',
      { ...get, tamper: ({ headers }) => void (headers.host = 'other:1') },
      403,
      'SignatureDoesNotMatch',
    ],
    [
      'another date',
      { ...get, tamper: ({ headers }) => void (headers['x-amz-date'] = 'yesterday') },
      403,
      'AccessDenied',
    ],
    [
      'no payload hash',
      { ...get, tamper: ({ headers }) => delete headers['x-amz-content-sha256'] },
      400,
      'InvalidRequest',
    ],
    [
      'an unsigned x-amz header',
      { ...get, tamper: ({ headers }) => void (headers['x-amz-meta-a'] = 'b') },
      403,
      'AccessDenied',
    ],
    ['a signature that is too old', { ...get, at: new Date(Date.now() - 16 * 60_000) }, 403, 'RequestTimeTooSkewed'],
    ['a signature from the future', { ...get, at: new Date(Date.now() + 24 * 3_600_000) }, 403, 'RequestTimeTooSkewed'],
    [
      'another algorithm',
      { ...get, tamper: ({ headers }) => void (headers.authorization = 'AWS x:y') },
      400,
      'AuthorizationHeaderMalformed',
    ],
    ['a payload word nobody knows', { ...get, payload: 'anything' }, 400, 'InvalidArgument'],
    [
      'another body',
      { method: 'PUT', path: '/bucket/b', body: 'one', tamper: wire => void (wire.body = Buffer.from('two')) },
      400,
      'XAmzContentSHA256Mismatch',
    ],
  ];
  for (const [what, request, status, code] of refusals) {
    it(`refuses ${what}`, async () => {
      const answer = await send(embedded, request);
      expect(answer).to.deep.include({ status, code });
      expect(await embedded.store.head('s3://bucket/b')).to.equal(undefined);
    });
  }

  it('accepts any region, any date within a quarter of an hour, and unsigned payloads', async () => {
    expect(await send(embedded, get)).to.deep.include({ status: 200, body: 'content' });
    expect((await send(embedded, { ...get, at: new Date(Date.now() - 14 * 60_000) })).status).to.equal(200);
    expect((await send(embedded, { ...get, payload: 'UNSIGNED-PAYLOAD' })).status).to.equal(200);
  });

  it('answers a HEAD it refuses without a body', async () => {
    expect(await send(embedded, { ...get, method: 'HEAD', secretAccessKey: 'x' })).to.deep.include({
      status: 403,
      body: '',
    });
  });

  const put = (url: string, headers: Record<string, string>, body: string) => {
    const { pathname, search } = new URL(url);
    return sendPlain(new URL(url), 'PUT', pathname + search, headers, Buffer.from(body));
  };

  it('says in the words of S3 that a signed URL has expired', async () => {
    const { url, headers } = await embedded.store.signUpload('s3://bucket/late', {
      expiresInMs: 60_000,
      contentMd5: md5('x'),
    });
    now = new Date(Date.now() + 61_000);
    const answer = await put(url, headers, 'x');
    expect(answer).to.deep.include({ status: 403, code: 'AccessDenied' });
    expect(answer.body).to.contain('<Message>Request has expired</Message>');
    expect(answer.headers['content-type']).to.equal('application/xml');
  });

  it('binds a signed upload to its MD5, its key and its time', async () => {
    const { url, headers } = await embedded.store.signUpload('s3://bucket/up', {
      expiresInMs: 60_000,
      contentMd5: md5('x'),
    });
    expect(await put(url, headers, 'y')).to.deep.include({ status: 400, code: 'BadDigest' });
    expect(await put(url, { 'Content-MD5': md5('y').toString('base64') }, 'y')).to.deep.include({ status: 403 });
    expect(await put(url, {}, 'x')).to.deep.include({ status: 403, code: 'AccessDenied' });
    expect(await put(url.replace('/up?', '/other?'), headers, 'x')).to.deep.include({ code: 'SignatureDoesNotMatch' });
    expect(await put(url.replace('Expires=60', 'Expires=600'), headers, 'x')).to.deep.include({
      code: 'SignatureDoesNotMatch',
    });
    expect(await put(url.replace('Expires=60', 'Expires=6000000'), headers, 'x')).to.deep.include({ status: 400 });
    expect(await put(url.replace(/X-Amz-Date=[^&]*/, ''), headers, 'x')).to.deep.include({ status: 400 });
    expect(await embedded.store.head('s3://bucket/up')).to.equal(undefined);
    expect((await put(url, { ...headers, 'Content-Type': 'application/x' }, 'x')).status).to.equal(200);
    expect((await embedded.store.head('s3://bucket/up'))?.contentType).to.equal('application/x');
  });
});
