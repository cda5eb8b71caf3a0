import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { type Evidence, judge } from '../../../actors/executor/outcome.ts';
import type { PodExit } from '../../../actors/executor/pod-view.ts';
import {
  ErrorDocumentSchema,
  ContainerError_Kind as Kind,
  ExecutionError_ErrorKind as Origin,
} from '../../../proto/gen/flyteidl2/core/execution_pb.js';
import { OutputsSchema } from '../../../proto/gen/flyteidl2/task/common_pb.js';
import { ObjectStoreUnavailable } from '../../../storage/object-errors.ts';
import { temporaryStore, withHead } from './support/store.ts';

const MAX_OUTPUTS = 1_000;
const well: PodExit = { failure: null, detail: '', decisive: false };
const crashed: PodExit = {
  failure: { code: 'Error', kind: 'USER', message: 'container main exited with code 7', recoverable: true },
  detail: '',
  decisive: false,
};
const lost: PodExit = {
  failure: { code: 'Interrupted', kind: 'SYSTEM', message: 'the node is gone', recoverable: true },
  detail: '',
  decisive: false,
};

describe('the outcome of a pod', () => {
  let place: Awaited<ReturnType<typeof temporaryStore>>;
  let folder = 0;
  let outputUri = '';

  before(async () => {
    place = await temporaryStore();
  });
  after(() => place.close());
  beforeEach(() => {
    folder += 1;
    outputUri = `s3://data/attempts/${folder}`;
  });

  const write = (name: string, bytes: Uint8Array) => place.store.put(`${outputUri}/${name}`, bytes);
  const writeError = (error: { code?: string; message?: string; kind?: Kind; origin?: Origin }) =>
    write('error.pb', toBinary(ErrorDocumentSchema, create(ErrorDocumentSchema, { error })));
  const writeOutputs = () => write('outputs.pb', toBinary(OutputsSchema, create(OutputsSchema)));
  const verdict = (exit: PodExit, more: Partial<Evidence> = {}) =>
    judge(place.store, { exit, outputUri, outputsExpected: true, logTail: async () => '', ...more }, MAX_OUTPUTS);

  it('is success when the outputs are there, also empty ones of a task that returns nothing', async () => {
    await writeOutputs();
    expect(await verdict(well)).to.deep.equal({ failure: null, podLost: false, hasReport: false });
  });

  it('is what error.pb says, even when outputs are there and the exit code is 0', async () => {
    await writeOutputs();
    await writeError({ code: 'ValueError', message: 'no such thing', kind: Kind.RECOVERABLE, origin: Origin.USER });
    expect((await verdict(well)).failure).to.deep.equal({
      code: 'ValueError',
      kind: 'USER',
      message: 'no such thing',
      recoverable: true,
    });
  });

  it('cannot be helped by another attempt when error.pb says so, and is the platform’s fault when it says so', async () => {
    await writeError({ code: 'X', message: 'm', kind: Kind.NON_RECOVERABLE, origin: Origin.SYSTEM });
    expect((await verdict(well)).failure).to.include({ recoverable: false, kind: 'SYSTEM' });
  });

  it('is the platform’s fault when the SDK gave our store up, not when it gave up another one', async () => {
    const gaveUp = (url: string) =>
      `Generic S3 error: Error performing PUT ${url} in 23.246525651s, after 3 retries, max_retries: 3, retry_timeout: 180s  - HTTP error: error sending request\n\nDebug source:\nGeneric {`;
    const blamed = async (message: string) => {
      await writeError({ code: 'OSError', message, kind: Kind.RECOVERABLE, origin: Origin.USER });
      const { failure, podLost } = await verdict(well);
      expect(failure).to.include({ code: 'OSError', message, recoverable: true });
      expect(podLost).to.equal(false);
      return failure!.kind;
    };
    expect(await blamed(gaveUp('http://127.0.0.1:8090/s3/data/metadata/run/a0/outputs.pb'))).to.equal('SYSTEM');
    expect(await blamed(gaveUp('https://data.s3.eu-central-1.amazonaws.com/metadata/outputs.pb'))).to.equal('SYSTEM');
    expect(await blamed(gaveUp('https://other.s3.eu-central-1.amazonaws.com/metadata/outputs.pb'))).to.equal('USER');
    expect(await blamed('Generic S3 error: Error performing PUT is what I would say')).to.equal('USER');
  });

  it('is the platform’s fault when the task crashed because it could not even write its error', async () => {
    const words =
      'OSError: Generic S3 error: Error performing PUT http://127.0.0.1:8090/s3/data/a0/1/error.pb in 26.3s, after 3 retries, max_retries: 3, retry_timeout: 180s  - HTTP error: error sending request';
    const { failure, podLost } = await verdict(crashed, { logTail: async () => `Traceback …\n${words}` });
    expect(failure).to.include({ kind: 'SYSTEM', code: 'Error', recoverable: true });
    expect(podLost, 'it did leave something').to.equal(false);
  });

  it('is the fault of user code when a module does not load: exit 1, an error without origin, with its traceback', async () => {
    await writeError({ code: 'ImportError', message: 'Traceback …\nrefuses to load', kind: Kind.RECOVERABLE });
    const { failure, podLost } = await verdict(crashed);
    expect(failure).to.include({ code: 'ImportError', kind: 'USER' });
    expect(failure!.message).to.include('refuses to load');
    expect(podLost).to.equal(false);
  });

  it('is success when the outputs were written before the process crashed or the node went', async () => {
    await writeOutputs();
    expect((await verdict(crashed)).failure).to.equal(null);
    expect((await verdict(lost)).failure).to.equal(null);
  });

  it('is a failure when the process ended with 0 and wrote nothing, with the end of its log', async () => {
    const { failure } = await verdict(well, { logTail: async () => 'last words' });
    expect(failure).to.include({ code: 'OutputsNotFound', kind: 'USER', recoverable: true });
    expect(failure!.message).to.include('last words').and.include('os._exit');
  });

  it('is a failure of the platform when the uploader could store neither outputs nor an error', async () => {
    const uploader = { ...well, container: 'flyte-copilot-uploader', detail: 'no space left' };
    const { failure, podLost } = await verdict(uploader);
    expect(failure).to.include({ code: 'OutputUploadFailed', kind: 'SYSTEM', recoverable: true });
    expect(failure!.message).to.include('no space left');
    expect(podLost).to.equal(false);
    expect((await verdict(uploader, { outputsExpected: false })).failure).to.equal(null);
  });

  it('is success when nothing was written and nothing was expected', async () => {
    expect((await verdict(well, { outputsExpected: false })).failure).to.equal(null);
  });

  it('is the exit with the end of the log when nothing was written', async () => {
    const { failure } = await verdict(crashed, { logTail: async () => 'Segmentation fault' });
    expect(failure!.message).to.equal('container main exited with code 7\nSegmentation fault');
    const kubelet = await verdict({ ...crashed, detail: 'told by the kubelet' });
    expect(kubelet.failure!.message).to.include('told by the kubelet');
  });

  it('is open for another pod only when the platform lost this one and it left nothing', async () => {
    expect((await verdict(lost)).podLost).to.equal(true);
    await writeError({ code: 'X', message: 'm', kind: Kind.RECOVERABLE, origin: Origin.SYSTEM });
    expect((await verdict(lost)).podLost).to.equal(false);
  });

  it('is the exit of the main container before anything its co-pilot wrote', async () => {
    await writeError({ code: 'OutputMissing', message: 'length was not written', kind: Kind.RECOVERABLE });
    const { failure } = await verdict({ ...crashed, decisive: true });
    expect(failure!.message).to.equal('container main exited with code 7');
  });

  it('is not what the uploader complains of when something before it failed', async () => {
    await writeError({ code: 'OutputUploadFailed', message: 'nothing to upload', kind: Kind.RECOVERABLE });
    expect((await verdict(crashed)).failure!.message).to.include('exited with code 7');
    expect((await verdict(well)).failure!.message).to.equal('nothing to upload');
  });

  it('says that error.pb is unreadable instead of losing the failure', async () => {
    for (const bytes of [
      Buffer.from([0x0a, 0xff]),
      Buffer.alloc(0),
      toBinary(ErrorDocumentSchema, create(ErrorDocumentSchema)),
    ]) {
      await write('error.pb', bytes);
      const { failure, podLost } = await verdict(well);
      expect(failure).to.include({ code: 'ErrorFileBadFormat', kind: 'SYSTEM', recoverable: true });
      expect(failure!.message).to.include(`${outputUri}/error.pb`);
      expect(podLost).to.equal(false);
    }
  });

  it('keeps head and tail of a long message, and the head of one that is too long to read', async () => {
    await writeError({ code: 'E', message: `head${'x'.repeat(200_000)}tail`, origin: Origin.USER });
    const long = (await verdict(well)).failure!.message;
    expect(long.length).to.be.below(70_000);
    expect(long)
      .to.match(/^head/)
      .and.match(/tail$/)
      .and.match(/134472 characters left out/);

    await writeError({ code: 'Huge', message: `begins${'y'.repeat(6 * 1024 * 1024)}`, origin: Origin.USER });
    const { failure } = await verdict(well);
    expect(failure).to.include({ code: 'Huge', kind: 'USER' });
    expect(failure!.message).to.match(/^begins/);
    expect(failure!.message.length).to.be.below(70_000);
  });

  it('refuses outputs that are too large or no outputs at all', async () => {
    await write('outputs.pb', Buffer.alloc(MAX_OUTPUTS + 1));
    expect((await verdict(well)).failure).to.include({ code: 'OutputsTooLarge', kind: 'USER', recoverable: false });
    await write('outputs.pb', Buffer.from('not protobuf'));
    expect((await verdict(well)).failure).to.include({ code: 'OutputsCorrupt', kind: 'USER' });
  });

  it('tells whether there is a report', async () => {
    await writeOutputs();
    await write('report.html', Buffer.from('<html>'));
    expect((await verdict(well)).hasReport).to.equal(true);
  });

  it('is unknown while the store cannot be reached', async () => {
    const broken = withHead(place.store, async () => {
      throw new ObjectStoreUnavailable('gone');
    });
    const asked = judge(broken, { exit: well, outputUri, outputsExpected: true, logTail: async () => '' }, MAX_OUTPUTS);
    const error = await asked.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(ObjectStoreUnavailable);
  });
});
