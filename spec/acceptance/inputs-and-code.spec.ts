import type { MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import type { CreateRunRequestSchema } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { actionId, createRun, ended, freshName, refusal, runId, uploadInputs } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask, sleepInputs, sleepTask, textInputs } from './tasks.ts';

describe('acceptance: inputs and code that are gone or broken', () => {
  const starling = useStarling();
  const create = (change: MessageInitShape<typeof CreateRunRequestSchema>) =>
    starling().runs.createRun({
      id: { case: 'projectId', value: { name: project, domain } },
      task: { case: 'taskSpec', value: sleepTask },
      ...change,
    });
  const offloaded = (uri: string) =>
    create({ inputWrapper: { case: 'offloadedInputData', value: { uri, inputsHash: 'h' } } });

  it('inputs that were never uploaded: FailedPrecondition with their URI and what to do', async () => {
    const { code, message } = await refusal(offloaded('s3://flyte-data/uploads/never'));
    expect(code).to.equal('FailedPrecondition');
    expect(message).to.include('s3://flyte-data/uploads/never/inputs.pb').and.to.include('upload the inputs again');
  });

  it('inputs that are something else: FailedPrecondition', async () => {
    await starling().store.put('s3://flyte-data/uploads/else/inputs.pb', Buffer.from('something else'));
    const { code, message } = await refusal(offloaded('s3://flyte-data/uploads/else'));
    expect(code).to.equal('FailedPrecondition');
    expect(message).to.include('s3://flyte-data/uploads/else/inputs.pb').and.to.include('corrupt');
  });

  for (const uri of [
    '',
    'no-uri',
    's3://',
    's3://other-bucket/x',
    'gs://flyte-data/x',
    's3://flyte-data/../../etc',
    'file:///etc/passwd',
  ]) {
    it(`inputs at ${JSON.stringify(uri)} are refused as a mistake of the caller`, async () => {
      const { code, message } = await refusal(offloaded(uri));
      expect(code, message).to.be.oneOf(['InvalidArgument', 'FailedPrecondition']);
      expect(message).to.match(/offloaded_input_data|inputs blob/);
    });
  }

  for (const [title, args] of [
    ['--tgz', ['a0', '--tgz', 's3://flyte-data/uploads/gone/fast.tar.gz', '--dest', '.']],
    ['--pkl=', ['a0', '--pkl=s3://flyte-data/uploads/gone/fast.tar.gz']],
  ] as const) {
    it(`a code bundle that is gone (${title}): FailedPrecondition with the way out`, async () => {
      const { code, message } = await refusal(
        create({
          task: { case: 'taskSpec', value: shellTask('', { args, type: 'python', image: 'auto' }) },
          inputWrapper: { case: 'inputs', value: {} },
        }),
      );
      expect(code).to.equal('FailedPrecondition');
      expect(message).to.include('s3://flyte-data/uploads/gone/fast.tar.gz').and.to.include('flyte delete local-cache');
    });
  }

  it('a refused run leaves nothing: its name is still free', async () => {
    const id = { case: 'runId' as const, value: runId(freshName()) };
    await refusal(
      create({
        id,
        inputWrapper: { case: 'offloadedInputData', value: { uri: 's3://flyte-data/uploads/never', inputsHash: 'h' } },
      }),
    );
    expect((await refusal(starling().runs.getRunDetails({ runId: id.value }))).code).to.equal('NotFound');
    const { run } = await create({ id, inputWrapper: { case: 'inputs', value: sleepInputs(0) } });
    expect(run!.action!.id!.run!.name).to.equal(id.value.name);
  });

  it('data of a run whose inputs are gone since: NotFound with "inputs", which the SDK reads', async () => {
    const folder = (await uploadInputs(starling(), textInputs({ word: freshName() }))).replace(/\/inputs.pb$/, '');
    const { run } = await create({
      task: { case: 'taskSpec', value: shellTask('true') },
      inputWrapper: { case: 'offloadedInputData', value: { uri: folder, inputsHash: 'h' } },
    });
    const id = runId(run!.action!.id!.run!.name);
    await ended(starling(), id);
    await starling().store.delete(`${folder}/inputs.pb`);
    const { code, message } = await refusal(starling().data.getActionData({ actionId: actionId(id) }));
    expect(code).to.equal('NotFound');
    expect(message).to.include('inputs');
  });

  it('data that was corrupted since is told from data that is gone', async () => {
    const id = await createRun(starling(), shellTask('printf hi > /var/outputs/word', { outputs: ['word'] }));
    expect((await ended(starling(), id)).status!.phase).to.equal(Phase.succeeded);
    const { outputsUri } = await starling().runs.getActionDataURIs({ actionId: actionId(id) });
    await starling().store.put(outputsUri, Buffer.from('garbage'));
    const corrupt = await refusal(starling().data.getActionData({ actionId: actionId(id) }));
    expect(corrupt.code).to.equal('DataLoss');
    expect(corrupt.message).to.include(outputsUri);
    await starling().store.delete(outputsUri);
    const gone = await refusal(starling().data.getActionData({ actionId: actionId(id) }));
    expect(gone.code).to.equal('NotFound');
    expect(gone.message).to.include('outputs').and.not.to.include('inputs');
  }).timeout(60_000);
});
