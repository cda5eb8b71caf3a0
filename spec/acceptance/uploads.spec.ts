import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { expect } from 'chai';
import { actionId, createRun, ended, freshName, refusal } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, sleepInputs, sleepTask } from './tasks.ts';

interface Location {
  readonly project?: string;
  readonly filename?: string;
  readonly filenameRoot?: string;
  readonly contentMd5?: Uint8Array;
  readonly contentLength?: bigint;
  readonly addContentMd5Metadata?: boolean;
  readonly expiresIn?: { seconds: bigint };
}

describe('acceptance: signed uploads and downloads', () => {
  const starling = useStarling();
  const locate = (change: Location = {}) =>
    starling().data.createUploadLocation({
      ...{ project, domain, filename: 'code.tgz', contentMd5: md5('hello'), expiresIn: { seconds: 60n } },
      ...change,
    });
  const put = (url: string, body: string, headers: Record<string, string> = {}) =>
    fetch(url, { method: 'PUT', headers, body });
  const stored = async (uri: string) => Buffer.from(await starling().store.read(uri, { maxBytes: 1000 })).toString();

  it('take what was announced, at the URI that was told', async () => {
    const { signedUrl, nativeUrl, headers } = await locate();
    expect(signedUrl).to.include(`${starling().url}/s3/`);
    const answer = await put(signedUrl, 'hello', headers);
    expect(answer.status).to.equal(200);
    expect(await stored(nativeUrl)).to.equal('hello');
    expect((await put(signedUrl, 'hello', headers)).status, 'and once more').to.equal(200);
  });

  it('refuse another body than the one of the MD5, and keep nothing of it', async () => {
    const { signedUrl, nativeUrl, headers } = await locate({ contentMd5: md5(freshName()) });
    const answer = await put(signedUrl, 'something else', headers);
    expect(answer.status).to.equal(400);
    expect(await answer.text()).to.match(/<Code>(BadDigest|InvalidDigest)<\/Code>/);
    expect(await starling().store.head(nativeUrl)).to.equal(undefined);
  });

  it('refuse a header that was signed otherwise, a URL that was changed, and one without signature', async () => {
    const { signedUrl, headers } = await locate({ contentMd5: md5(freshName()) });
    const other = { ...headers, 'Content-MD5': Buffer.from(md5('other')).toString('base64') };
    expect((await put(signedUrl, 'other', other)).status).to.equal(403);
    expect((await put(signedUrl.replace('code.tgz', 'other.tgz'), 'hello', headers)).status).to.equal(403);
    expect((await put(signedUrl.replace(/\?.*/, ''), 'hello')).status).to.equal(403);
    expect((await fetch(signedUrl)).status, 'a PUT is no GET').to.equal(403);
  });

  it('answer an expired URL as the SDK expects it', async () => {
    const { signedUrl, headers } = await locate({ expiresIn: { seconds: 1n } });
    await new Promise(resolve => setTimeout(resolve, 2_100));
    const answer = await put(signedUrl, 'hello', headers);
    expect(answer.status).to.equal(403);
    expect(await answer.text()).to.match(/request has expired/i);
  });

  it('last at most an hour, however long is asked (sdk-2.12.md §1)', async () => {
    for (const [asked, given] of [
      [900, 900],
      [3_600, 3_600],
      [100_000, 3_600],
    ] as const) {
      const { expiresAt } = await locate({ expiresIn: { seconds: BigInt(asked) } });
      expect(Number(expiresAt!.seconds) - Date.now() / 1000).to.be.within(given - 5, given + 5);
    }
  });

  const refused = (title: string, change: Location, ...words: string[]) =>
    it(`are refused for ${title}`, async () => {
      const { code, message } = await refusal(locate(change));
      expect(code, message).to.equal('InvalidArgument');
      for (const word of words) expect(message).to.include(word);
    });
  refused('a file above its folder', { filename: '../../etc/passwd' }, 'filename', '..');
  refused('a folder above its project', { filename: 'x', filenameRoot: 'a/../../..' }, 'filename_root', '..');
  refused('an empty segment', { filename: 'a//b' }, 'filename');
  refused('a control character', { filename: 'a\nb' }, 'filename');
  refused('an MD5 of another length', { contentMd5: Buffer.from('short') }, 'content_md5', '16');
  refused('neither MD5 nor folder', { contentMd5: new Uint8Array() }, 'content_md5');
  refused('a time that is over', { expiresIn: { seconds: 0n } }, 'expires_in');
  refused('a negative length', { contentLength: -1n }, 'content_length');
  refused('more than one PUT can carry', { contentLength: 6n * 1024n ** 3n }, 'content_length');
  it('are refused for an unknown project: NotFound', async () => {
    const { code, message } = await refusal(locate({ project: 'atlantis' }));
    expect(code).to.equal('NotFound');
    expect(message).to.include('"atlantis"');
  });

  it('cannot climb out of the bucket by URL either', async () => {
    for (const key of [
      'flyte-data/%2e%2e/%2e%2e/keys.json',
      'flyte-data/..%2fkeys.json',
      '../keys.json',
      'flyte-data//x',
    ]) {
      const status = await new Promise(resolve =>
        get({ host: '127.0.0.1', port: starling().server.port, path: `/s3/${key}`, agent: false }, response => {
          response.resume();
          resolve(response.statusCode);
        }),
      );
      expect(status, key).to.be.oneOf([400, 403, 404]);
    }
  });

  it('keep any name a file may have', async () => {
    for (const filename of ['ünï çödé 🚀.txt', 'a b+c%20d&e=f?g#h.txt', 'sub/folder/x.bin', '-', 'quote\'"s']) {
      const { signedUrl, nativeUrl, headers } = await locate({ filename, contentMd5: md5(filename) });
      expect((await put(signedUrl, filename, headers)).status, filename).to.equal(200);
      expect(nativeUrl.endsWith(`/${filename}`)).to.equal(true);
      expect(await stored(nativeUrl)).to.equal(filename);
    }
  });

  it('a file of a folder is uploaded again only if it is the same', async () => {
    const filenameRoot = freshName();
    const first = await locate({ filenameRoot, addContentMd5Metadata: true });
    expect((await put(first.signedUrl, 'hello', first.headers)).status).to.equal(200);
    expect((await locate({ filenameRoot })).nativeUrl).to.equal(first.nativeUrl);
    const { code, message } = await refusal(locate({ filenameRoot, contentMd5: md5('other') }));
    expect(code).to.equal('AlreadyExists');
    expect(message).to.include(first.nativeUrl);
  });

  it('a report nobody wrote, a link to nothing in particular', async () => {
    const run = await createRun(starling(), sleepTask, { inputs: sleepInputs(0) });
    await ended(starling(), run);
    const link = (artifactType: number, attempt = 1) =>
      refusal(
        starling().data.createDownloadLink({
          artifactType,
          source: { case: 'actionAttemptId', value: { actionId: actionId(run), attempt } },
        }),
      );
    expect((await link(1)).code).to.equal('NotFound');
    expect((await link(2)).message).to.include('code bundle');
    expect((await link(0)).code).to.equal('InvalidArgument');
    expect((await link(1, 5)).code).to.equal('NotFound');
  });
});

function md5(text: string): Uint8Array {
  return createHash('md5').update(text).digest();
}
