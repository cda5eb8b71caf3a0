import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import { Code } from '../../../gateway/errors.ts';
import { inputsHash } from '../../../gateway/inputs-hash.ts';
import { RelationType } from '../../../proto/gen/flyteidl2/common/run_pb.js';
import { InputsSchema } from '../../../proto/gen/flyteidl2/task/common_pb.js';
import { TaskSpecSource } from '../../../proto/gen/flyteidl2/task/run_pb.js';
import { TaskService } from '../../../proto/gen/flyteidl2/task/task_service_pb.js';
import { RunService } from '../../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { type InProcess, inProcess } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { aTaskSpec } from '../specs.ts';
import { openWorld, type World } from '../world.ts';

const project = { name: 'flytesnacks', domain: 'development' };
const integer = (value: bigint) => ({
  value: {
    case: 'scalar' as const,
    value: { value: { case: 'primitive' as const, value: { value: { case: 'integer' as const, value } } } },
  },
});

describe('RunService.createRun', () => {
  let world: World;
  let runs: InProcess<typeof RunService>;
  before(async () => {
    world = await openWorld();
    runs = inProcess(world.gateway.services, RunService);
  });
  after(() => world.close());

  const runId = (name: string) => ({ ...project, project: 'flytesnacks', name });
  const start = (name: string, change: object = {}) =>
    runs.createRun({
      id: { case: 'runId', value: runId(name) },
      task: { case: 'taskSpec', value: aTaskSpec() },
      inputWrapper: { case: 'inputs', value: {} },
      ...change,
    });

  it('answers with the root action: identifier, phase, one attempt, no end', async () => {
    const { run } = await start('shape', { runSpec: { labels: { values: { team: 'q' } } } });
    expect(run!.action!.id).to.deep.include({ name: 'a0' });
    expect(run!.action!.id!.run).to.include({ org: '', project: 'flytesnacks', domain: 'development', name: 'shape' });
    expect(run!.action!.status).to.include({ phase: 1, attempts: 1 });
    expect(run!.action!.status!.endTime).to.equal(undefined);
    expect(run!.action!.metadata!.spec).to.deep.include({ case: 'task' });
    expect(run!.action!.metadata!.executedBy!.principal.case).to.equal('user');
    expect(run!.labels).to.deep.equal({ team: 'q' });
  });

  it('draws a name for a run that is given none', async () => {
    const names = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const { run } = await runs.createRun({
        id: { case: 'projectId', value: project },
        task: { case: 'taskSpec', value: aTaskSpec() },
      });
      const { name } = run!.action!.id!.run!;
      expect(name).to.match(/^r[bcdfghjklmnpqrstvwxz2456789]{19}$/);
      names.add(name);
    }
    expect(names.size).to.equal(3);
  });

  for (const name of [
    'Upper-Case',
    'under_score',
    '1-digit-first',
    '-first',
    'ends-with-',
    'x'.repeat(31),
    'dot.ted',
    '',
  ]) {
    it(`refuses the name ${JSON.stringify(name)}`, async () => {
      const error = await rejection(start(name));
      expect(error.code).to.equal(Code.InvalidArgument);
      expect(error.message).to.contain('run_id.name');
    });
  }

  it('refuses a name that is taken by another request, and takes the same request as the same run', async () => {
    const first = await start('taken');
    const again = await start('taken');
    expect(again.run!.action!.status!.startTime).to.deep.equal(first.run!.action!.status!.startTime);
    const error = await rejection(start('taken', { runSpec: { queue: 'other' } }));
    expect(error.code).to.equal(Code.AlreadyExists);
    expect(error.message).to.contain('taken');
  });

  it('lets exactly one of two different requests for a name win', async () => {
    const outcomes = await Promise.allSettled([1, 2, 3, 4].map(n => start('race', { runSpec: { queue: `q${n}` } })));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
  });

  it('refuses a project that does not exist', async () => {
    const error = await rejection(
      runs.createRun({
        id: { case: 'projectId', value: { name: 'nowhere', domain: 'development' } },
        task: { case: 'taskSpec', value: aTaskSpec() },
      }),
    );
    expect(error.code).to.equal(Code.NotFound);
    expect(error.message).to.contain('nowhere');
  });

  it('refuses a task version that was never deployed', async () => {
    const value = { project: 'flytesnacks', domain: 'development', name: 'env.main', version: 'none' };
    const error = await rejection(start('no-task', { task: { case: 'taskId', value } }));
    expect(error.code).to.equal(Code.NotFound);
    expect(error.message).to.contain('version none');
  });

  it('refuses a request without a task or an identifier', async () => {
    expect((await rejection(start('none', { task: { case: undefined } }))).code).to.equal(Code.InvalidArgument);
    expect((await rejection(start('none', { id: { case: undefined } }))).code).to.equal(Code.InvalidArgument);
    const bare = { task: { case: 'taskSpec', value: { shortName: 'x' } } };
    expect((await rejection(start('none', bare))).code).to.equal(Code.InvalidArgument);
  });

  it('keeps inline inputs with their context, and adds the defaults that are missing', async () => {
    const spec = aTaskSpec({
      defaultInputs: [
        { name: 'a', parameter: { behavior: { case: 'default', value: integer(1n) } } },
        { name: 'b', parameter: { behavior: { case: 'default', value: integer(2n) } } },
        { name: 'c', parameter: { behavior: { case: 'required', value: true } } },
      ],
    });
    await start('defaults', {
      task: { case: 'taskSpec', value: spec },
      inputWrapper: {
        case: 'inputs',
        value: { literals: [{ name: 'b', value: integer(9n) }], context: [{ key: 'k', value: 'v' }] },
      },
    });
    const { inputsUri } = await runs.getActionDataURIs({ actionId: { run: runId('defaults'), name: 'a0' } });
    expect(inputsUri).to.match(
      /^s3:\/\/flyte\/uploads\/flytesnacks\/development\/offloaded-inputs\/\w{64}\/inputs\.pb$/,
    );
    const stored = fromBinary(InputsSchema, await world.store.read(inputsUri, { maxBytes: 1000 }));
    expect(stored.literals.map(({ name }) => name)).to.deep.equal(['b', 'a']);
    expect(stored.context[0]).to.include({ key: 'k', value: 'v' });
  });

  it('takes the folder of offloaded inputs or the blob itself', async () => {
    await world.store.put('s3://flyte/mine/inputs.pb', toBinary(InputsSchema, create(InputsSchema)));
    for (const [name, uri] of [
      ['folder', 's3://flyte/mine'],
      ['slash', 's3://flyte/mine/'],
      ['blob', 's3://flyte/mine/inputs.pb'],
    ] as const) {
      await start(name, { inputWrapper: { case: 'offloadedInputData', value: { uri, inputsHash: 'h' } } });
      const { inputsUri } = await runs.getActionDataURIs({ actionId: { run: runId(name), name: 'a0' } });
      expect(inputsUri).to.equal('s3://flyte/mine/inputs.pb');
    }
  });

  it('refuses inputs that are gone or corrupt, naming the blob', async () => {
    const offloaded = (uri: string) => ({
      inputWrapper: { case: 'offloadedInputData', value: { uri, inputsHash: 'h' } },
    });
    const gone = await rejection(start('gone', offloaded('s3://flyte/gone')));
    expect(gone.code).to.equal(Code.FailedPrecondition);
    expect(gone.message).to.contain('s3://flyte/gone/inputs.pb');
    await world.store.put('s3://flyte/corrupt/inputs.pb', Buffer.from('no message at all'));
    const corrupt = await rejection(start('corrupt', offloaded('s3://flyte/corrupt')));
    expect(corrupt.code).to.equal(Code.FailedPrecondition);
    expect(corrupt.message).to.contain('s3://flyte/corrupt/inputs.pb is corrupt');
    const bad = await rejection(start('bad', offloaded('ftp://x/y')));
    expect(bad.code).to.equal(Code.InvalidArgument);
  });

  it('refuses code that is gone and says how to upload it again', async () => {
    for (const args of [
      ['a0', '--tgz', 's3://flyte/gone.tar.gz'],
      ['a0', '--pkl=s3://flyte/gone.pkl.gz'],
    ]) {
      const error = await rejection(start('no-code', { task: { case: 'taskSpec', value: aTaskSpec({ args }) } }));
      expect(error.code).to.equal(Code.FailedPrecondition);
      expect(error.message).to.contain('flyte delete local-cache');
    }
  });

  it('keeps the run spec as it was sent and says where the task spec came from', async () => {
    const runSpec = {
      labels: { values: { a: '' } },
      annotations: { values: { note: 'ü' } },
      envs: { values: [{ key: 'X', value: 'y = z' }] },
      interruptible: true,
      queue: 'q',
      maxActionConcurrency: 5,
      relation: { relatedTo: runId('old'), relationType: RelationType.RERUN },
    };
    await start('spec', { runSpec });
    const { details } = await runs.getRunDetails({ runId: runId('spec') });
    expect(details!.runSpec).to.include({ interruptible: true, queue: 'q', maxActionConcurrency: 5 });
    expect(details!.runSpec!.labels!.values).to.deep.equal({ a: '' });
    expect(details!.runSpec!.taskSpecSource).to.equal(TaskSpecSource.EPHEMERAL);
    expect(details!.runSpec!.runStartTime).to.not.equal(undefined);
    expect(details!.action!.metadata!.relation!.relationType).to.equal(RelationType.RERUN);
  });

  it('lets a rerun keep the source of its task spec, and makes a relation of the older field', async () => {
    await start('kept', { runSpec: { taskSpecSource: TaskSpecSource.DEPLOYED, relatedTo: runId('old') } });
    const { details } = await runs.getRunDetails({ runId: runId('kept') });
    expect(details!.runSpec!.taskSpecSource).to.equal(TaskSpecSource.DEPLOYED);
    expect(details!.runSpec!.relation!.relationType).to.equal(RelationType.RERUN);
  });

  it('gives a start time only to tasks of an SDK that knows it', async () => {
    for (const [version, expected] of [
      ['2.3.5', false],
      ['2.3.6.dev1', true],
      ['v2.10.0', true],
      ['', false],
    ] as const) {
      const spec = aTaskSpec();
      spec.taskTemplate!.metadata!.runtime!.version = version;
      const name = `sdk-${version.replaceAll('.', '-') || 'none'}`;
      await start(name, {
        task: { case: 'taskSpec', value: spec },
        runStartTime: { seconds: 1_700_000_000n },
      });
      const { details } = await runs.getRunDetails({ runId: runId(name) });
      const time = details!.runSpec!.runStartTime;
      expect(time && timestampDate(time).getTime()).to.equal(expected ? 1_700_000_000_000 : undefined);
    }
  });

  it('runs a deployed version with the spec it was deployed with', async () => {
    const tasks = inProcess(world.gateway.services, TaskService);
    const taskId = { project: 'flytesnacks', domain: 'development', name: 'env.main', version: 'v1' };
    await tasks.deployTask({ taskId, spec: aTaskSpec() });
    await start('deployed', { task: { case: 'taskId', value: taskId } });
    const { details } = await runs.getRunDetails({ runId: runId('deployed') });
    expect(details!.runSpec!.taskSpecSource).to.equal(TaskSpecSource.DEPLOYED);
    expect(details!.action!.spec.case).to.equal('task');
    expect(details!.action!.metadata!.spec.value).to.deep.include({ shortName: 'main', taskType: 'python' });
  });

  it('computes the cache key from the given hash, or from inline inputs as the SDK would', async () => {
    const spec = aTaskSpec();
    Object.assign(spec.taskTemplate!.metadata!, {
      discoverable: true,
      discoveryVersion: '1',
      cacheIgnoreInputVars: ['b'],
    });
    const task = { case: 'taskSpec', value: spec };
    const literals = [
      { name: 'a', value: integer(1n) },
      { name: 'b', value: integer(2n) },
    ];
    const hash = inputsHash(create(InputsSchema, { literals }), ['b']);
    await world.store.put('s3://flyte/mine/inputs.pb', toBinary(InputsSchema, create(InputsSchema, { literals })));
    await start('key-inline', { task, inputWrapper: { case: 'inputs', value: { literals } } });
    const offloaded = (inputsHash: string) => ({
      task,
      inputWrapper: { case: 'offloadedInputData', value: { uri: 's3://flyte/mine', inputsHash } },
    });
    await start('key-same', offloaded(hash));
    await start('key-other', offloaded('opaque'));
    const keys = await world.rows.query(
      "select r.name, a.cache_key from run r join action a on a.run_id = r.id where r.name like 'key-%'",
    );
    const key = (name: string) => keys.find(row => row.name === name)!.cache_key;
    expect(key('key-inline')).to.be.a('string').and.equal(key('key-same'));
    expect(key('key-other')).to.not.equal(key('key-same'));
  });

  it('refuses triggers with a remedy', async () => {
    const error = await rejection(start('trigger', { task: { case: 'triggerName', value: { name: 't' } } }));
    expect(error.code).to.equal(Code.Unimplemented);
  });
});
