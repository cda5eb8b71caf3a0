import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import type { Attempt } from '../../../actors/action/attempt.ts';
import { Phase } from '../../../actors/action/phase.ts';
import type { LogLine, LogOptions } from '../../../actors/executor/runtime/pod-runtime.ts';
import { PodNotFoundError } from '../../../actors/executor/runtime/pod-runtime.ts';
import { Code } from '../../../gateway/errors.ts';
import { inputsHash } from '../../../gateway/inputs-hash.ts';
import {
  DataProxyService,
  type TailLogsResponse,
} from '../../../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import { InputsSchema, OutputsSchema } from '../../../proto/gen/flyteidl2/task/common_pb.js';
import { type InProcess, inProcess, next } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { aTaskSpec, aTaskSpecInBytes } from '../specs.ts';
import { openWorld, type World } from '../world.ts';

const md5 = (text: string) => createHash('md5').update(text).digest();
const inputs = create(InputsSchema, {
  literals: [
    { name: 'a', value: { hash: 'h' } },
    { name: 'b', value: {} },
  ],
});

describe('DataProxyService', () => {
  let world: World;
  let proxy: InProcess<typeof DataProxyService>;
  before(async () => {
    world = await openWorld();
    proxy = inProcess(world.gateway.services, DataProxyService);
  });
  after(() => world.close());
  const id = (run: string, name = 'a0') => ({
    run: { project: 'flytesnacks', domain: 'development', name: run },
    name,
  });
  const project = { project: 'flytesnacks', domain: 'development' };

  describe('createUploadLocation', () => {
    const locate = (change: object = {}) =>
      proxy.createUploadLocation({
        ...project,
        filename: 'fast.tar.gz',
        contentMd5: md5('x'),
        expiresIn: { seconds: 60n },
        addContentMd5Metadata: true,
        ...change,
      });

    it('signs an upload below the MD5 in base 32, and tells its URI', async () => {
      const location = await locate();
      expect(location.nativeUrl).to.match(
        /^s3:\/\/flyte\/uploads\/flytesnacks\/development\/[A-Z2-7]{26}======\/fast\.tar\.gz$/,
      );
      expect(location.signedUrl).to.match(/^http:\/\/127\.0\.0\.1:1\/s3\//);
      const headers = Object.fromEntries(
        Object.entries(location.headers).map(([name, value]) => [name.toLowerCase(), value]),
      );
      expect(headers['content-md5']).to.equal(md5('x').toString('base64'));
    });

    it('encodes the MD5 as RFC 4648 does', async () => {
      const { nativeUrl } = await locate({ contentMd5: Buffer.from('0123456789abcdef') });
      expect(nativeUrl).to.contain('/GAYTEMZUGU3DOOBZMFRGGZDFMY======/');
    });

    it('puts the files of a directory below the root that the client names, literally', async () => {
      const { nativeUrl } = await locate({ filenameRoot: '0af3', filename: 'sub/ü file.txt' });
      expect(nativeUrl).to.equal('s3://flyte/uploads/flytesnacks/development/0af3/sub/ü file.txt');
    });

    it('draws a name for a file that has none', async () => {
      expect((await locate({ filename: '' })).nativeUrl).to.match(/======\/[a-z0-9]{20}$/);
    });

    it('keeps a URL valid as long as asked, an hour at most', async () => {
      for (const [asked, given] of [
        [900n, 900],
        [3_600n, 3_600],
        [100_000n, 3_600],
      ] as const) {
        const { expiresAt } = await locate({ expiresIn: { seconds: asked } });
        const seconds = (timestampDate(expiresAt!).getTime() - Date.now()) / 1000;
        expect(seconds).to.be.closeTo(given, 5);
      }
    });

    for (const [what, change, field] of [
      ['neither MD5 nor root', { contentMd5: new Uint8Array() }, 'content_md5'],
      ['an MD5 of another length', { contentMd5: new Uint8Array(4) }, 'content_md5'],
      ['a time that is over', { expiresIn: { seconds: -1n } }, 'expires_in'],
      ['a file that climbs out', { filename: '../../other/secret' }, 'filename'],
      ['a root that climbs out', { filenameRoot: 'a/../../b' }, 'filename_root'],
      ['a control character', { filename: 'a\nb' }, 'filename'],
      ['a project that climbs out', { project: '..' }, 'request.project'],
      ['more than a store takes', { contentLength: 6n * 1024n ** 4n }, 'content_length'],
    ] as const) {
      it(`refuses ${what}`, async () => {
        const error = await rejection(locate(change));
        expect(error.code).to.equal(Code.InvalidArgument);
        expect(error.message).to.contain(field);
      });
    }

    it('refuses a project that does not exist', async () => {
      expect((await rejection(locate({ project: 'nowhere' }))).code).to.equal(Code.NotFound);
    });

    it('lets the same file of a directory be uploaded again, but no other in its place', async () => {
      const file = { filenameRoot: 'dir', filename: 'f.txt' };
      const { nativeUrl } = await locate(file);
      await world.store.put(nativeUrl, Buffer.from('x'));
      await locate(file);
      expect((await rejection(locate({ ...file, contentMd5: md5('y') }))).code).to.equal(Code.AlreadyExists);
    });
  });

  describe('uploadInputs', () => {
    const upload = (change: object = {}) =>
      proxy.uploadInputs({
        id: { case: 'projectId', value: { name: 'flytesnacks', domain: 'development' } },
        task: { case: 'taskSpec', value: aTaskSpec() },
        inputs,
        ...change,
      });

    it('stores all inputs, and answers with their folder and the hash of those that count', async () => {
      const spec = aTaskSpec();
      spec.taskTemplate!.metadata!.cacheIgnoreInputVars = ['b'];
      const { offloadedInputData } = await upload({ task: { case: 'taskSpec', value: spec } });
      expect(offloadedInputData!.inputsHash).to.equal(inputsHash(inputs, ['b']));
      const stored = await world.store.read(`${offloadedInputData!.uri}/inputs.pb`, { maxBytes: 1000 });
      expect(fromBinary(InputsSchema, stored).literals).to.have.length(2);
    });

    it('keeps inputs apart that differ only in what the hash ignores', async () => {
      const spec = aTaskSpec();
      spec.taskTemplate!.metadata!.cacheIgnoreInputVars = ['b'];
      const task = { case: 'taskSpec', value: spec };
      const other = create(InputsSchema, { literals: [inputs.literals[0]!, { name: 'b', value: { hash: 'other' } }] });
      const one = (await upload({ task })).offloadedInputData!;
      const two = (await upload({ task, inputs: other })).offloadedInputData!;
      expect(one.inputsHash).to.equal(two.inputsHash);
      expect(one.uri).to.not.equal(two.uri);
    });

    it('takes a run, no inputs, and another base', async () => {
      const { offloadedInputData } = await upload({
        id: { case: 'runId', value: id('any').run },
        inputs: undefined,
        baseDir: 's3://mine/base/',
      });
      expect(offloadedInputData!.uri).to.match(
        /^s3:\/\/mine\/base\/flytesnacks\/development\/offloaded-inputs\/\w{64}$/,
      );
      expect(offloadedInputData!.inputsHash).to.not.equal('');
    });

    it('refuses what it does not know', async () => {
      const taskId = { ...project, name: 'env.main', version: 'none' };
      expect((await rejection(upload({ task: { case: 'taskId', value: taskId } }))).code).to.equal(Code.NotFound);
      expect((await rejection(upload({ task: { case: undefined } }))).code).to.equal(Code.InvalidArgument);
      expect((await rejection(upload({ id: { case: undefined } }))).code).to.equal(Code.InvalidArgument);
      expect((await rejection(upload({ baseDir: 'nonsense' }))).code).to.equal(Code.InvalidArgument);
      const nowhere = { case: 'projectId', value: { name: 'nowhere', domain: 'development' } };
      expect((await rejection(upload({ id: nowhere }))).code).to.equal(Code.NotFound);
    });
  });

  describe('createDownloadLink', () => {
    const link = (artifactType: number, run: string, attempt = 1) =>
      proxy.createDownloadLink({
        artifactType,
        source: { case: 'actionAttemptId', value: { actionId: id(run), attempt } },
      });

    it('leads to the report of an attempt, while it runs too', async () => {
      const attempts: Attempt[] = [{ attempt: 1, phases: [], outputUri: 's3://flyte/rep/a0/1' }];
      const run = await world.rows.run({ root: { attempts } });
      expect((await rejection(link(1, run.name))).code).to.equal(Code.NotFound);
      await world.store.put('s3://flyte/rep/a0/1/report.html', Buffer.from('<html>'));
      const { preSignedUrls } = await link(1, run.name);
      expect(preSignedUrls!.signedUrl[0]).to.contain('/rep/a0/1/report.html');
      expect((await rejection(link(1, run.name, 2))).code).to.equal(Code.NotFound);
    });

    it('leads to the code of an action: by its command line, else by its metadata', async () => {
      await world.store.put('s3://flyte/code/fast.tar.gz', Buffer.from('tgz'));
      const args = ['a0', '--tgz', 's3://flyte/code/fast.tar.gz', '--dest', '.'];
      const withArgs = await world.rows.run({ root: { spec: aTaskSpecInBytes({ args }) } });
      expect((await link(2, withArgs.name)).preSignedUrls!.signedUrl[0]).to.contain('/code/fast.tar.gz');
      const none = await world.rows.run({ root: { spec: aTaskSpecInBytes() } });
      expect((await rejection(link(2, none.name))).code).to.equal(Code.NotFound);
    });

    it('refuses other artifacts and sources', async () => {
      const run = await world.rows.run({ root: { attempts: [{ attempt: 1, phases: [] }] } });
      expect((await rejection(link(0, run.name))).code).to.equal(Code.InvalidArgument);
      expect((await rejection(proxy.createDownloadLink({ artifactType: 1 }))).code).to.equal(Code.InvalidArgument);
    });
  });

  describe('getActionData', () => {
    it('reads inputs and outputs of a success', async () => {
      await world.store.put('s3://flyte/d/inputs.pb', toBinary(InputsSchema, inputs));
      const outputs = create(OutputsSchema, { literals: [{ name: 'o0', value: {} }] });
      await world.store.put('s3://flyte/d/1/outputs.pb', toBinary(OutputsSchema, outputs));
      const root = { phase: Phase.succeeded, inputUri: 's3://flyte/d/inputs.pb', outputUri: 's3://flyte/d/1' };
      const run = await world.rows.run({ root });
      const data = await proxy.getActionData({ actionId: id(run.name) });
      expect(data.inputs!.literals.map(({ name }) => name)).to.deep.equal(['a', 'b']);
      expect(data.outputs!.literals.map(({ name }) => name)).to.deep.equal(['o0']);
      expect(data).to.include({ inputsUri: root.inputUri, outputsUri: 's3://flyte/d/1/outputs.pb' });
    });

    it('says which of the two is gone, so that only lost inputs speak of inputs', async () => {
      const spec = aTaskSpecInBytes();
      const root = {
        phase: Phase.succeeded,
        spec,
        inputUri: 's3://flyte/nope/inputs.pb',
        outputUri: 's3://flyte/nope/1',
      };
      const run = await world.rows.run({ root });
      const noInputs = await rejection(proxy.getActionData({ actionId: id(run.name) }));
      expect(noInputs.code).to.equal(Code.NotFound);
      expect(noInputs.message).to.contain('inputs').and.contain(root.inputUri);
      await world.rows.change(run.id, 'a0', { inputUri: 's3://flyte/d/inputs.pb' });
      const noOutputs = await rejection(proxy.getActionData({ actionId: id(run.name) }));
      expect(noOutputs.code).to.equal(Code.NotFound);
      expect(noOutputs.message).to.contain('outputs').and.not.contain('inputs');
    });

    it('finds nothing missing where a task declares no outputs', async () => {
      const spec = aTaskSpecInBytes({ outputs: [] });
      const root = { phase: Phase.succeeded, spec, inputUri: 's3://flyte/d/inputs.pb', outputUri: 's3://flyte/nope/1' };
      const run = await world.rows.run({ root });
      expect(await proxy.getActionData({ actionId: id(run.name) })).to.include({ outputsUri: '' });
    });

    it('fails typed for a blob that is corrupt or larger than 20 MiB, naming it', async () => {
      await world.store.put('s3://flyte/bad/inputs.pb', Buffer.from('no message at all'));
      const run = await world.rows.run({ root: { inputUri: 's3://flyte/bad/inputs.pb' } });
      const corrupt = await rejection(proxy.getActionData({ actionId: id(run.name) }));
      expect(corrupt.code).to.equal(Code.DataLoss);
      expect(corrupt.message).to.contain('s3://flyte/bad/inputs.pb');
      await world.store.put('s3://flyte/bad/inputs.pb', Buffer.alloc(20 * 1024 * 1024 + 1));
      expect((await rejection(proxy.getActionData({ actionId: id(run.name) }))).code).to.equal(Code.ResourceExhausted);
    });
  });

  describe('tailLogs', () => {
    const pod = { name: 'pod-1', container: 'main', startedAt: '2026-01-01T00:00:00.000Z' };
    const phases = [{ phase: Phase.running, at: pod.startedAt }];
    const running: Attempt = { attempt: 1, phases, pod };
    const ended: Attempt = { ...running, endedAt: '2026-01-01T00:01:00.000Z', logUri: 's3://flyte/logs/main.log' };
    const tail = (run: string, attempt = 1) => proxy.tailLogs({ actionId: id(run), attempt });
    const textOf = ({ logs }: TailLogsResponse) =>
      logs.flatMap(({ lines }) => lines.map(({ message }) => message)).join('');
    const line = (n: number): LogLine => ({ timestamp: new Date(n * 1000), text: `line ${n}`, nextByte: n * 10 });

    it('is not found until there is something to read', async () => {
      const run = await world.rows.run({ root: { attempts: [{ attempt: 1, phases }] } });
      expect((await rejection(tail(run.name).next())).code).to.equal(Code.NotFound);
      expect((await rejection(tail(run.name, 2).next())).code).to.equal(Code.NotFound);
      expect((await rejection(tail('no-such-run').next())).code).to.equal(Code.NotFound);
    });

    it('reads what was kept of an attempt that is over, at most 100 lines a message, each with its newline', async () => {
      const text = Array.from({ length: 250 }, (_, n) => `2026-01-01T00:00:01.500Z line ${n} – tür\n`).join('');
      await world.store.put('s3://flyte/logs/main.log', Buffer.from(`${text}no time`));
      const run = await world.rows.run({ root: { phase: Phase.failed, attempts: [ended] } });
      const messages: TailLogsResponse[] = [];
      for await (const message of tail(run.name)) messages.push(message);
      for (const { logs } of messages) expect(logs[0]!.lines.length).to.be.at.most(100);
      const lines = messages.flatMap(({ logs }) => logs[0]!.lines);
      expect(lines).to.have.length(251);
      expect(lines[7]).to.include({ message: 'line 7 – tür\n', originator: 1 });
      expect(timestampDate(lines[7]!.timestamp!).toISOString()).to.equal('2026-01-01T00:00:01.500Z');
      expect(lines[250]!.message).to.equal('no time\n');
    });

    it('reads an earlier attempt after later ones were made', async () => {
      await world.store.put('s3://flyte/logs/main.log', Buffer.from('2026-01-01T00:00:01.500Z first\n'));
      const second = { attempt: 2, phases, pod: { ...pod, name: 'pod-2' } };
      const run = await world.rows.run({ root: { attempt: 2, attempts: [ended, second] } });
      let text = '';
      for await (const message of tail(run.name, 1)) text += textOf(message);
      expect(text).to.equal('first\n');
    });

    it('follows a pod that lives, goes over to what was kept of it, and ends with the attempt', async () => {
      const asked: LogOptions[] = [];
      world.logs = {
        async *logs(name, _container, options) {
          asked.push(options);
          if (name !== 'pod-1') throw new PodNotFoundError(name);
          yield line(0);
          yield line(1);
        },
      };
      const run = await world.rows.run({ root: { phase: Phase.running, attempts: [running] } });
      const stream = tail(run.name);
      let text = textOf(await next(stream));
      await world.store.put(
        's3://flyte/logs/main.log',
        Buffer.from([0, 1, 2].map(n => `2026-01-01T00:00:00.000Z line ${n}\n`).join('')),
      );
      await world.rows.change(run.id, 'a0', { phase: Phase.succeeded, attempts: [ended] });
      for await (const message of stream) text += textOf(message);
      expect(text).to.equal('line 0\nline 1\nline 2\n');
      expect(asked[0]).to.include({ follow: true, fromByte: 0 });
    });

    it('goes on with the second pod of an attempt whose first was lost', async () => {
      world.logs = {
        async *logs(name) {
          yield { ...line(0), text: `of ${name}` };
        },
      };
      const run = await world.rows.run({ root: { phase: Phase.running, attempts: [running] } });
      const stream = tail(run.name);
      expect(textOf(await next(stream))).to.equal('of pod-1\n');
      const again = { ...running, pod: { ...pod, name: 'pod-2' } };
      await world.rows.change(run.id, 'a0', { attempts: [again] });
      expect(textOf(await next(stream))).to.equal('of pod-2\n');
      await stream.return(undefined);
    });

    it('ends the reading of a pod when its caller leaves', async () => {
      let stopped: (() => void) | undefined;
      const end = new Promise<void>(resolve => {
        stopped = resolve;
      });
      world.logs = {
        async *logs(_name, _container, { signal }) {
          yield line(0);
          await new Promise<void>(resolve => signal!.addEventListener('abort', () => resolve()));
          stopped!();
        },
      };
      const run = await world.rows.run({ root: { phase: Phase.running, attempts: [running] } });
      const stream = tail(run.name);
      await next(stream);
      await stream.return(undefined);
      await end;
    });
  });
});
