import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { XMLParser } from 'fast-xml-parser';
import { collect, md5 } from '../conformance.ts';
import { type Embedded, openEmbedded } from '../embedded.ts';
import { send } from './raw-client.ts';

interface Listing {
  keys: string[];
  prefixes: string[];
  next: string | undefined;
  result: Record<string, unknown>;
}

describe('buckets at the S3 endpoint', () => {
  let embedded: Embedded;
  const keys = ['a', 'a-b', 'a/b', 'a/c/d', 'a/c/e', 'a0', 'b c+d/é&<.txt', 'c/1', 'd/1', 'd/2'];
  before(async () => {
    embedded = await openEmbedded();
    for (const key of keys) await embedded.store.put(`s3://bucket/${key}`, Buffer.from(key));
  });
  after(() => embedded.close());

  const list = async (query: Record<string, string> = {}, bucket = 'bucket'): Promise<Listing> => {
    const answer = await send(embedded, { method: 'GET', path: `/${bucket}`, query: { 'list-type': '2', ...query } });
    expect(answer.status, answer.body).to.equal(200);
    const parser = new XMLParser({
      parseTagValue: false,
      isArray: name => ['Contents', 'CommonPrefixes'].includes(name),
    });
    const result = parser.parse(answer.body).ListBucketResult;
    return {
      keys: (result.Contents ?? []).map(({ Key }: { Key: string }) => Key),
      prefixes: (result.CommonPrefixes ?? []).map(({ Prefix }: { Prefix: string }) => Prefix),
      next: result.NextContinuationToken,
      result,
    };
  };

  it('lists keys in byte order with size, etag and an ISO date', async () => {
    const { keys: listed, result } = await list();
    expect(listed).to.deep.equal(keys);
    expect(result).to.deep.include({ Name: 'bucket', KeyCount: '10', MaxKeys: '1000', IsTruncated: 'false' });
    const [first] = result.Contents as Array<Record<string, string>>;
    expect(first).to.deep.include({ Key: 'a', Size: '1', ETag: `"${md5('a').toString('hex')}"` });
    expect(new Date(first!.LastModified!).toISOString()).to.equal(first!.LastModified);
  });

  it('rolls keys up at the delimiter', async () => {
    expect(await list({ delimiter: '/' })).to.deep.include({
      keys: ['a', 'a-b', 'a0'],
      prefixes: ['a/', 'b c+d/', 'c/', 'd/'],
    });
    expect(await list({ delimiter: '/', prefix: 'a/' })).to.deep.include({ keys: ['a/b'], prefixes: ['a/c/'] });
    expect(await list({ delimiter: '/', prefix: 'a' })).to.deep.include({ keys: ['a', 'a-b', 'a0'], prefixes: ['a/'] });
  });

  it('pages without a gap or a repetition, whatever the page size', async () => {
    for (const delimiter of ['', '/']) {
      const whole = await list({ delimiter });
      for (const size of [1, 2, 3]) {
        const seen: Pick<Listing, 'keys' | 'prefixes'> = { keys: [], prefixes: [] };
        for (let token: string | undefined = ''; token !== undefined; ) {
          const page: Listing = await list({
            delimiter,
            'max-keys': String(size),
            ...(token && { 'continuation-token': token }),
          });
          expect(page.keys.length + page.prefixes.length).to.be.at.most(size);
          seen.keys.push(...page.keys);
          seen.prefixes.push(...page.prefixes);
          token = page.next;
        }
        expect(seen).to.deep.equal({ keys: whole.keys, prefixes: whole.prefixes });
      }
    }
  });

  it('starts after a key, also in the middle of a folder', async () => {
    expect((await list({ 'start-after': 'a/c/d' })).keys).to.deep.equal(keys.slice(4));
    expect(await list({ 'start-after': 'a/c/d', delimiter: '/' })).to.deep.include({
      keys: ['a0'],
      prefixes: ['a/', 'b c+d/', 'c/', 'd/'],
    });
    expect((await list({ 'start-after': 'd/2' })).keys).to.deep.equal([]);
  });

  it('lists nothing for prefixes no key can have, empty buckets, and max-keys 0', async () => {
    for (const prefix of ['/', 'a//', '../', './', 'zzz']) expect((await list({ prefix })).keys).to.deep.equal([]);
    expect((await list({}, 'no-such-bucket')).keys).to.deep.equal([]);
    expect(await list({ 'max-keys': '0' })).to.deep.include({ keys: [], next: undefined });
  });

  it('encodes keys on request', async () => {
    expect((await list({ prefix: 'b', 'encoding-type': 'url' })).keys).to.deep.equal(['b%20c%2Bd/%C3%A9%26%3C.txt']);
  });

  it('leaves out files that are no objects', async () => {
    for (const stray of ['.DS_Store', 'lost+found', 'UPPER@', '%zz@', 'x.tmp']) {
      await writeFile(join(embedded.root, 'objects/bucket', stray), 'stray');
    }
    expect((await list()).keys).to.deep.equal(keys);
  });

  it('refuses the first version of listing, other delimiters and senseless sizes', async () => {
    const refused = async (query: Record<string, string>) =>
      (await send(embedded, { method: 'GET', path: '/bucket', query })).status;
    expect(await refused({})).to.equal(501);
    expect(await refused({ 'list-type': '2', delimiter: '-' })).to.equal(501);
    expect(await refused({ 'list-type': '2', 'max-keys': 'x' })).to.equal(400);
    expect((await send(embedded, { method: 'GET', path: '/Bad_Bucket', query: { 'list-type': '2' } })).status).to.equal(
      400,
    );
  });

  describe('batch deletion', () => {
    const remove = (body: string, headers: Record<string, string> = {}) =>
      send(embedded, { method: 'POST', path: '/bucket', query: { delete: '' }, body, headers });
    const documentOf = (deleted: string[], more = '') =>
      `<Delete>${more}${deleted.map(key => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>`;

    it('deletes all that can be, and reports each key that cannot', async () => {
      const body = documentOf(['d/1', 'absent', '../x', 'b c+d/é&amp;&lt;.txt']);
      const digests = {
        'content-md5': md5(body).toString('base64'),
        'x-amz-checksum-sha256': createHash('sha256').update(body).digest('base64'),
      };
      const answer = await remove(body, digests);
      expect(answer.status).to.equal(200);
      expect(answer.body).to.contain(
        '<Deleted><Key>d/1</Key></Deleted><Deleted><Key>absent</Key></Deleted><Error><Key>../x</Key>',
      );
      const left = (await collect(embedded.store.list('s3://bucket'))).map(({ uri }) =>
        uri.slice('s3://bucket/'.length),
      );
      expect(left).to.deep.equal(keys.filter(key => key !== 'd/1' && !key.startsWith('b')));
    });

    it('is quiet when asked to be', async () => {
      expect((await remove(documentOf(['d/2'], '<Quiet>true</Quiet>'))).body).to.match(
        /<DeleteResult[^>]*><\/DeleteResult>$/,
      );
    });

    it('refuses documents that are damaged, too long, or try entities', async () => {
      expect(await remove(documentOf(['a']), { 'content-md5': md5('x').toString('base64') })).to.deep.include({
        code: 'BadDigest',
      });
      const bad = [
        '',
        'x',
        '<Delete></Delete>',
        '<Delete><Object/></Delete>',
        documentOf(new Array(1001).fill('a')),
        '<Delete><Object><Key>a',
      ];
      bad.push(`<!DOCTYPE d [<!ENTITY e "a">]>${documentOf(['&e;'])}`);
      for (const body of bad) expect(await remove(body)).to.deep.include({ status: 400, code: 'MalformedXML' });
      expect(await embedded.store.head('s3://bucket/a')).to.not.equal(undefined);
    });
  });
});
