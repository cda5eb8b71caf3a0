import { writeFile } from 'node:fs/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import type { Outcome } from '../../../actors/executor/messages.ts';
import { ErrorDocumentSchema } from '../../../proto/gen/flyteidl2/core/execution_pb.js';
import { LiteralSchema } from '../../../proto/gen/flyteidl2/core/literals_pb.js';
import { SimpleType } from '../../../proto/gen/flyteidl2/core/types_pb.js';
import { InputsSchema, OutputsSchema } from '../../../proto/gen/flyteidl2/task/common_pb.js';
import { ObjectStoreUnavailable } from '../../../storage/object-errors.ts';
import { eventually } from '../../support/eventually.ts';
import { ExecutorBench, shellTask } from './support/executor-bench.ts';
import { withHead } from './support/store.ts';
import { aTask } from './support/tasks.ts';

const failureOf = (outcome: Outcome) => {
  if (outcome.status !== 'failed') throw new Error(`not failed: ${JSON.stringify(outcome)}`);
  return outcome.failure;
};

describe('executors on the process runtime', () => {
  let bench: ExecutorBench;
  before(async () => {
    bench = await ExecutorBench.open();
  });
  after(() => bench.close());

  const untilNoPods = () => eventually(async () => (await bench.pods.runtime.list()).length === 0);

  it('run an attempt from its start to its one outcome, keep its log and remove its pod', async () => {
    const key = await bench.begin(shellTask('echo hello; echo $ACTION_NAME $FLYTE_ATTEMPT_NUMBER'));
    const outcome = await bench.outcome(key);
    expect(outcome.status).to.equal('succeeded');
    expect(outcome.logs.map(({ container }) => container)).to.deep.equal(['main']);
    const lines = (await bench.text(outcome.logs[0]!.uri)).trimEnd().split('\n');
    expect(lines.map(line => line.replace(/^\S+Z /, ''))).to.deep.equal(['hello', 'a0 0']);
    expect(lines[0]).to.match(/^\d{4}-\d\d-\d\dT[\d:.]+Z hello$/);
    const main = outcome.pod!.containers[0]!;
    expect(main).to.include({ name: 'main', exitCode: 0 });
    expect(main.endedAtMs! - main.startedAtMs!).to.be.at.least(0);
    expect(bench.observations(key).map(({ phase }) => phase)).to.include('running');
    await untilNoPods();
  });

  it('tell exit code and last words of a command that fails', async () => {
    const failure = failureOf(await bench.outcome(await bench.begin(shellTask('echo going down >&2; exit 4'))));
    expect(failure).to.include({ code: 'Error', kind: 'USER', recoverable: true });
    expect(failure.message).to.match(/exited with code 4\ngoing down/);
  });

  it('take the word of an error document before the exit', async () => {
    const key = await bench.begin(untilSign());
    const { outputUri } = await bench.untilRunning(key);
    const error = { code: 'ValueError', message: 'Traceback …', kind: 1, origin: 1 };
    await bench.store.put(
      `${outputUri}/error.pb`,
      toBinary(ErrorDocumentSchema, create(ErrorDocumentSchema, { error })),
    );
    await bench.store.put(`${outputUri}/report.html`, Buffer.from('<html>'));
    await giveSign();
    const outcome = await bench.outcome(key);
    expect(failureOf(outcome)).to.deep.equal({
      code: 'ValueError',
      kind: 'USER',
      message: 'Traceback …',
      recoverable: true,
    });
    expect(outcome.hasReport).to.equal(true);
  });

  it('fail a program that had outputs to write, exited with 0 and wrote nothing', async () => {
    const output = { variables: [{ key: 'o0', value: { type: { type: { case: 'simple' as const, value: 1 } } } }] };
    const key = await bench.begin(shellTask('echo bye', { interface: { outputs: output } }));
    const failure = failureOf(await bench.outcome(key));
    expect(failure).to.include({ code: 'OutputsNotFound', kind: 'USER', recoverable: true });
    expect(failure.message).to.include('bye');
  });

  it('blame the task for a SIGKILL that nobody of the platform sent', async () => {
    // Kubernetes makes one dollar of two.
    const failure = failureOf(await bench.outcome(await bench.begin(shellTask('kill -9 $$$$'))));
    expect(failure).to.include({ code: 'Interrupted', kind: 'USER', recoverable: true });
  });

  it('refuse a task that cannot run here, without a pod', async () => {
    const failure = failureOf(await bench.outcome(await bench.begin(aTask({ type: 'teleport' }))));
    expect(failure).to.include({ code: 'PluginNotFound', recoverable: false });
    const image = aTask({ target: { case: 'container', value: { image: 'my/image:1', args: ['a0'] } } });
    expect(failureOf(await bench.outcome(await bench.begin(image))).code).to.equal('ImageNotAvailable');
    expect(failureOf(await bench.outcome(await bench.begin(shellTask('true'), { specDigest: 'gone' })))).to.include({
      code: 'SpecNotFound',
      kind: 'SYSTEM',
    });
  });

  it('refuse a command line that needs an input which is missing', async () => {
    const failure = failureOf(await bench.outcome(await bench.begin(shellTask('echo {{.inputs.x}}'))));
    expect(failure).to.include({ code: 'InputsNotFound', kind: 'USER', recoverable: false });
  });

  describe('with the co-pilot around a raw container', () => {
    const text = { type: { type: { case: 'simple' as const, value: SimpleType.STRING } } };
    const rawTask = (script: string) =>
      aTask({
        type: 'raw-container',
        interface: {
          inputs: { variables: [{ key: 'word', value: text }] },
          outputs: { variables: [{ key: 'loud', value: text }] },
        },
        target: {
          case: 'container',
          value: {
            image: 'busybox:1',
            args: ['/bin/sh', '-c', script],
            dataConfig: { enabled: true, inputPath: '/var/inputs', outputPath: '/var/outputs' },
          },
        },
      });
    const word = create(LiteralSchema, {
      value: {
        case: 'scalar',
        value: { value: { case: 'primitive', value: { value: { case: 'stringValue', value: 'hello' } } } },
      },
    });
    const inputUri = 's3://data/inputs/raw/inputs.pb';
    before(() =>
      bench.store.put(
        inputUri,
        toBinary(InputsSchema, create(InputsSchema, { literals: [{ name: 'word', value: word }] })),
      ),
    );

    it('inputs come as files and {{.inputs.x}}, and the files it leaves are its outputs', async () => {
      const script = 'echo {{.inputs.word}} said; tr a-z A-Z < /var/inputs/word > /var/outputs/loud';
      const outcome = await bench.outcome(await bench.begin(rawTask(script), { inputUri }));
      expect(outcome.status, JSON.stringify(outcome)).to.equal('succeeded');
      const outputs = fromBinary(
        OutputsSchema,
        await bench.store.read(`${outcome.outputUri}/outputs.pb`, { maxBytes: 10_000 }),
      );
      expect(JSON.stringify(outputs.literals[0]!.value!.value)).to.include('HELLO');
      expect(outcome.logs[0]!.container).to.equal('main');
      expect(await bench.text(outcome.logs[0]!.uri)).to.include('hello said');
    }).timeout(60_000);

    it('its exit code counts, whatever became of its outputs', async () => {
      const failure = failureOf(
        await bench.outcome(await bench.begin(rawTask('echo broken >&2; exit 4'), { inputUri })),
      );
      expect(failure.message).to.match(/container main exited with code 4\nbroken/);
    }).timeout(60_000);

    it('an output it did not write is named in the failure', async () => {
      const failure = failureOf(await bench.outcome(await bench.begin(rawTask('true'), { inputUri })));
      expect(failure.message).to.include('loud');
    }).timeout(60_000);

    it('inputs that are not there are named in the failure', async () => {
      const failure = failureOf(
        await bench.outcome(await bench.begin(rawTask('true'), { inputUri: 's3://data/inputs/none/inputs.pb' })),
      );
      expect(failure.message).to.include('s3://data/inputs/none/inputs.pb');
    }).timeout(60_000);
  });

  it('stop a pod that is told to end, and keep what it said, its last words too', async () => {
    const key = await bench.begin(
      shellTask('trap "echo farewell; exit 0" TERM; echo started; while :; do sleep 0.05; done'),
    );
    await bench.untilRunning(key);
    const { podName } = (await bench.state(key))!;
    await eventually(async () => (await bench.pods.lines(podName)).includes('started'));
    await bench.tell(key, { type: 'terminate', reason: 'aborted by ada', graceSeconds: 5 });
    const outcome = await bench.outcome(key);
    expect(outcome).to.include({ status: 'terminated', reason: 'aborted by ada' });
    await eventually(async () => expect(await bench.text(outcome.logs[0]!.uri)).to.match(/started\n.*farewell\n$/));
    expect(await bench.pods.runtime.get(podName)).to.equal(undefined);
  });

  it('end an attempt that is told to end before its pod is there, and leave no pod', async () => {
    const key = await bench.begin(shellTask('sleep 60'));
    await bench.tell(key, { type: 'terminate', reason: 'changed my mind', graceSeconds: 0 });
    expect((await bench.outcome(key)).status).to.equal('terminated');
    await untilNoPods();
  });

  it('give a pod that somebody deleted a successor in a place of its own, at no cost to the user', async () => {
    const key = await bench.begin(untilSign());
    const first = await bench.untilRunning(key);
    await bench.pods.runtime.delete(first.pod!.name, { gracePeriodSeconds: 0 });
    const second = await bench.untilRunning(key, 2);
    expect(second.pod!.name).to.not.equal(first.pod!.name);
    expect(second.outputUri).to.equal(`${first.outputUri}/incarnation-2`);
    await giveSign();
    expect(await bench.outcome(key)).to.include({ status: 'succeeded', incarnation: 2 });
  });

  it('go on after a stop of everything but the pods, as if nothing had happened', async () => {
    const ends = await bench.begin(untilSign());
    const vanishes = await bench.begin(shellTask('sleep 60'));
    await bench.untilRunning(ends);
    const { pod } = await bench.untilRunning(vanishes);
    await bench.stop();
    await giveSign();
    await bench.pods.untilOver((await bench.state(ends))!.podName);
    await bench.pods.runtime.delete(pod!.name, { gracePeriodSeconds: 0 });
    await bench.pods.untilGone(pod!.name);
    bench.start();
    expect((await bench.outcome(ends)).status).to.equal('succeeded');
    await eventually(() => bench.observations(vanishes).some(({ incarnation }) => incarnation === 2));
    await bench.tell(vanishes, { type: 'terminate', reason: 'enough', graceSeconds: 0 });
    await bench.outcome(vanishes);
  });

  it('show why the outcome is not there while the store is away, and go on when it is back', async () => {
    await bench.stop();
    let away = true;
    const flaky = withHead(bench.store, async uri => {
      if (away) throw new ObjectStoreUnavailable('the store is on holiday');
      return bench.store.head(uri);
    });
    bench.start({ store: flaky });
    const key = await bench.begin(shellTask('true'));
    await eventually(() => bench.observations(key).some(({ reason }) => reason.includes('on holiday')));
    away = false;
    expect((await bench.outcome(key)).status).to.equal('succeeded');
  });

  it('delete a pod that nobody waits for', async () => {
    const stray = {
      metadata: {
        name: 'stray',
        annotations: { 'starling.dev/executor': '999.a0.1', 'starling.dev/incarnation': '1' },
      },
      spec: { containers: [{ name: 'main', image: 'i', command: ['sleep', '60'] }] },
    };
    const foreign = { metadata: { name: 'foreign' }, spec: stray.spec };
    await bench.pods.runtime.create(stray);
    await bench.pods.runtime.create(foreign);
    await bench.pods.untilGone('stray');
    expect(await bench.pods.runtime.get('foreign')).to.not.equal(undefined);
    await bench.pods.runtime.delete('foreign', { gracePeriodSeconds: 0 });
  });

  let signs = 0;
  const signFile = () => `${bench.pods.dir}-sign-${signs}`;
  /** A task that runs until `giveSign` is called. */
  function untilSign() {
    signs += 1;
    const script = 'until [ -e "$SIGN" ]; do sleep 0.05; done; echo over';
    const env = [{ key: 'SIGN', value: signFile() }];
    return aTask({
      type: 'container',
      target: { case: 'container', value: { image: 'busybox:1', args: ['sh', '-c', script], env } },
    });
  }
  const giveSign = () => writeFile(signFile(), '');
});
