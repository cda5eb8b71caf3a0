import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { type DownloadRequest, download } from '../../copilot/download.ts';
import { Remote } from '../../copilot/remote.ts';
import { type Literal, LiteralSchema } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import { InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import type { ObjectStore } from '../../storage/object-store.ts';
import { inputsOf, lit } from './literals.ts';
import { failureOf, flaky, openWorkspace, silent, type Workspace } from './store.ts';

describe('download', () => {
  let work: Workspace;
  let directory: string;
  const INPUTS = 's3://data/run/inputs.pb';

  beforeEach(async () => {
    work = await openWorkspace();
    directory = path.join(work.directory, 'inputs');
  });
  afterEach(() => work.close());

  const put = (key: string, body: string) => work.store.put(`s3://data/${key}`, Buffer.from(body));
  const text = (name: string) => readFile(path.join(directory, name), 'utf8');

  const run = async (
    literals: Record<string, Literal>,
    options: Partial<DownloadRequest> = {},
    store: ObjectStore = work.store,
    signal = new AbortController().signal,
  ) => {
    await work.store.put(INPUTS, toBinary(InputsSchema, inputsOf(literals)));
    const request = {
      inputsUri: INPUTS,
      directory,
      format: 'JSON',
      layout: 'DIRECT',
      mode: 'DOWNLOAD_EAGER',
      ...options,
    } as const;
    await download(request, { remote: new Remote(store, { signal, retryDelayMs: 1 }), log: silent });
  };

  it('makes files of values and objects, and writes inputs.pb and inputs.json', async () => {
    await put('body.txt', 'file body');
    await run({ word: lit.string('abc'), times: lit.integer(3n), data: lit.blob('s3://data/body.txt') });
    expect([await text('word'), await text('times'), await text('data')]).to.deep.equal(['abc', '3', 'file body']);
    expect(JSON.parse(await text('inputs.json'))).to.deep.equal({
      word: 'abc',
      times: 3,
      data: path.join(directory, 'data'),
    });
    const localized = fromBinary(InputsSchema, await readFile(path.join(directory, 'inputs.pb')));
    expect(localized.literals[2]!.value).to.deep.equal(lit.blob(path.join(directory, 'data')));
  });

  it('writes the file of all values in the format asked for, and none for PROTO', async () => {
    await run({ n: lit.integer(1n) }, { format: 'YAML' });
    expect(await text('inputs.yaml')).to.equal('"n": 1\n');
    expect(await readdir(directory)).to.have.members(['n', 'inputs.pb', 'inputs.yaml']);
    directory = path.join(work.directory, 'proto');
    await run({ n: lit.integer(1n) }, { format: 'PROTO' });
    expect(await readdir(directory)).to.have.members(['n', 'inputs.pb']);
  });

  it('works without any input', async () => {
    await run({});
    expect(await text('inputs.json')).to.equal('{}\n');
  });

  it('restores the tree of a directory, and only that directory', async () => {
    await put('tree/a', '1');
    await put('tree/deep/er/a', '2');
    await put('tree2/b', 'not mine');
    await run({ dir: lit.dir('s3://data/tree'), none: lit.dir('s3://data/nothing') });
    expect(await readdir(path.join(directory, 'dir'), { recursive: true })).to.have.members([
      'a',
      'deep',
      'deep/er',
      'deep/er/a',
    ]);
    expect(await text('dir/deep/er/a')).to.equal('2');
    expect(await readdir(path.join(directory, 'none'))).to.deep.equal([]);
  });

  it('refuses keys that would leave the directory, whoever made them', async () => {
    const listing = Object.assign(flaky(work.store, 0), {
      list: async function* () {
        yield { uri: 's3://data/tree/../../out' };
      },
    }) as unknown as ObjectStore;
    const failure = await failureOf(run({ dir: lit.dir('s3://data/tree') }, {}, listing));
    expect(failure.message).to.include('s3://data/tree/../../out has a key that cannot be a file below');
  });

  it('takes a dataset as the tree below its URI, or as the one object at it', async () => {
    await put('table/00000', 'rows');
    await put('single.csv', 'a,b');
    await run({ tree: lit.dataset('s3://data/table'), file: lit.dataset('s3://data/single.csv') });
    expect([await text('tree/00000'), await text('file')]).to.deep.equal(['rows', 'a,b']);
  });

  it('reads offloaded literals from the store', async () => {
    await work.store.put('s3://data/off', toBinary(LiteralSchema, lit.list(lit.string('x'))));
    await run({ list: lit.offloaded('s3://data/off') });
    expect(await text('list/0')).to.equal('x');
  });

  it('tries again what a busy store refuses', async () => {
    await put('body.txt', 'file body');
    const store = flaky(work.store, 3);
    await run({ data: lit.blob('s3://data/body.txt') }, {}, store);
    expect(store.refused).to.equal(3);
    expect(await text('data')).to.equal('file body');
  });

  it('gives up on a store that stays away, and blames the platform', async () => {
    const failure = await failureOf(run({}, {}, flaky(work.store, 99)));
    expect(failure.message).to.equal('the inputs of the task: slow down (tried 5 times)');
    expect(failure).to.include({ origin: 'system', recoverable: true });
  });

  it('names the input, the URI and the place of an object that is not there', async () => {
    const failure = await failureOf(run({ data: lit.blob('s3://data/gone') }));
    expect(failure.message).to.equal(`input "data" (s3://data/gone to ${directory}/data): no object at s3://data/gone`);
    expect(failure).to.include({ origin: 'user', recoverable: true });
    expect(await readdir(directory)).to.not.include('inputs.pb');
  });

  it('refuses URIs of stores it does not know, with the URI', async () => {
    expect((await failureOf(run({ data: lit.blob('ftp://h/x') }))).message).to.include(
      '"ftp://h/x" must start with s3://',
    );
  });

  it('ends at its deadline with the reason', async () => {
    const controller = new AbortController();
    controller.abort(new Error('not finished after 1 s'));
    expect((await failureOf(run({}, {}, work.store, controller.signal))).message).to.include('not finished after 1 s');
  });

  it('makes files that any user may read and run', async () => {
    await put('script', '#!/bin/sh');
    const before = process.umask(0);
    try {
      await run({ script: lit.blob('s3://data/script'), s: lit.string('x') });
    } finally {
      process.umask(before);
    }
    for (const name of ['.', 'script', 's'])
      expect((await stat(path.join(directory, name))).mode & 0o777, name).to.equal(0o777);
  });

  describe('over http', () => {
    let server: Server;
    let base: string;
    let busy: number;

    beforeEach(done => {
      busy = 0;
      server = createServer((request, response) => {
        if (request.url === '/missing') response.writeHead(404).end('<html>no</html>');
        else if (busy-- > 0) response.writeHead(503).end();
        else response.end('from the web');
      }).listen(0, '127.0.0.1', () => {
        base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        done();
      });
    });
    afterEach(done => {
      server.closeAllConnections();
      server.close(done);
    });

    it('reads plain URLs, named without their query', async () => {
      await run({ page: lit.blob(`${base}/a.txt?sig=1`) }, { layout: 'NAMED_DIR' });
      expect(await text('page/a.txt')).to.equal('from the web');
    });

    it('tries again when the server is busy', async () => {
      busy = 2;
      await run({ page: lit.blob(`${base}/x`) });
      expect(await text('page')).to.equal('from the web');
    });

    it('never takes an error page for data', async () => {
      const failure = await failureOf(run({ page: lit.blob(`${base}/missing`) }));
      expect(failure.message).to.include('answered 404 Not Found; check that the URL is right');
      expect(failure).to.include({ origin: 'user' });
      expect(await readdir(directory)).to.not.include('page');
    });
  });
});
