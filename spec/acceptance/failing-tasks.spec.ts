import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { actionId, createParent, createRun, ended, enqueue, errorOf, following, uploadInputs } from './run.ts';
import { useStarling } from './starling.ts';
import { shellTask, sleepInputs, sleepTask, type TaskSpecInit, textInputs, waitFor } from './tasks.ts';

const USER = 1;

describe('acceptance: tasks that fail', function () {
  this.timeout(60_000);
  const starling = useStarling();

  const fails = async (task: TaskSpecInit, options: Parameters<typeof createRun>[2] = {}) => {
    const details = await ended(starling(), await createRun(starling(), task, options));
    expect(details.status!.phase).to.equal(Phase.failed);
    expect(details.attempts.at(-1)?.errorInfo?.message ?? errorOf(details).message).to.equal(errorOf(details).message);
    return { ...errorOf(details), attempts: details.attempts.length };
  };

  it('an exit code is told with the last lines of the log', async () => {
    const error = await fails(
      shellTask('for i in $(seq 500); do echo line $i; done; echo the disk is on fire >&2; exit 3'),
    );
    expect(error.kind).to.equal(USER);
    expect(error.message)
      .to.match(/container main exited with code 3\n/)
      .and.to.include('line 500');
    expect(error.message).to.include('the disk is on fire').and.not.to.include('line 1\n');
  });

  it('a signal is named', async () => {
    const error = await fails(shellTask('echo about to fall; sh -c "kill -SEGV $PPID"; sleep 9'));
    expect(error.message).to.include('signal 11').and.to.include('about to fall');
  });

  it('SIGKILL says so, and is the business of the task', async () => {
    const error = await fails(shellTask('sh -c "kill -KILL $PPID"; sleep 9'));
    expect(error).to.include({ code: 'Interrupted', kind: USER });
    expect(error.message).to.include('SIGKILL');
  });

  it('more memory than its limit ends it as OOM, once per allowed attempt', async () => {
    // tail keeps a line in memory until it ends, and this one never does.
    const error = await fails(shellTask('echo growing; tail /dev/zero', { memory: '32Mi', retries: 1 }));
    expect(error.code).to.equal('OOMKilled');
    expect(error.message).to.include('more memory than its limit');
    expect(error.attempts).to.equal(2);
  });

  it('a command that is not there is named', async () => {
    const error = await fails(shellTask('', { args: ['no-such-program', '--help'] }));
    expect(error.message).to.include('no-such-program');
    expect(error.attempts).to.equal(1);
  });

  it('a command that may not be executed is named', async () => {
    const error = await fails(shellTask('', { args: ['/etc/hostname'] }));
    expect(error.message).to.include('/etc/hostname');
  });

  it('a program of the SDK that exits 0 and wrote nothing has not succeeded', async () => {
    const error = await fails(shellTask('', { args: ['a0', '--version', 'v1'], image: 'auto', type: 'python' }));
    // The `a0` of this server is an empty shell script.
    expect(error.code).to.equal('OutputsNotFound');
    expect(error.message).to.include('wrote neither outputs nor an error');
  });

  it('a task that exits 0 without an output it declares has not succeeded', async () => {
    const error = await fails(shellTask('echo forgot', { outputs: ['answer'] }));
    expect(error.message).to.include('answer');
  });

  it('outputs that cannot be decoded are no outputs', async () => {
    const gate = path.join(starling().server.dataDir, 'gate');
    const run = await createRun(starling(), waitFor(gate));
    const running = await following(starling(), run, ({ attempts }) => Boolean(attempts[0]?.outputs?.outputUri));
    await starling().store.put(`${running.attempts[0]!.outputs!.outputUri}`, Buffer.from('garbage'));
    await writeFile(gate, '');
    const error = errorOf(await ended(starling(), run));
    expect(error.code, error.message).to.equal('OutputsCorrupt');
    expect(error.message).to.include('outputs.pb');
  });

  it('a task type nobody runs is refused with those that are', async () => {
    const error = await fails(shellTask('true', { type: 'quantum' }));
    expect(error.code).to.equal('PluginNotFound');
    expect(error.message).to.include("'quantum'").and.to.include('container').and.to.include('core-sleep');
  });

  it('a type that needs a cluster says so', async () => {
    expect((await fails(shellTask('true', { type: 'spark' }))).message).to.include('single pods only');
  });

  it('an image with layers of its own is refused with what to do', async () => {
    const error = await fails(
      shellTask('', { args: ['a0', '--version', 'v1'], image: 'registry.example/mine:1', type: 'python' }),
    );
    expect(error.code).to.equal('ImageNotAvailable');
    expect(error.message).to.include('registry.example/mine:1').and.to.include("executor.images to 'ignore'");
    expect(error.attempts).to.be.at.most(1);
  });

  it('a task without anything to run is refused', async () => {
    const error = await fails({ taskTemplate: { id: { name: 'shell.main' }, type: 'container' } });
    expect(error.code).to.equal('BadTaskSpecification');
    expect(error.message).to.include('container');
  });

  for (const [title, inputs, words] of [
    ['no input', {}, '0 inputs'],
    ['a text for a duration', textInputs({ duration: 'soon' }), "'duration' is no duration"],
    ['a negative duration', sleepInputs(-5_000), '-5 s'],
  ] as const) {
    it(`core-sleep with ${title} is refused`, async () => {
      const error = await fails(sleepTask, { inputs });
      expect(error).to.include({ code: 'BadTaskSpecification', kind: USER });
      expect(error.message).to.include(words);
    });
  }

  it('its time is up: TIMED_OUT with the bound in the code', async () => {
    const run = await createRun(starling(), shellTask('sleep 60', { timeoutSeconds: 1 }));
    const details = await ended(starling(), run);
    expect(details.status!.phase).to.equal(Phase.timedOut);
    expect(errorOf(details).code).to.equal('MAX_RUNTIME_EXCEEDED');
  });

  it('a failure is tried again as often as allowed; each attempt keeps its own error and log', async () => {
    const run = await createRun(
      starling(),
      shellTask('echo attempt $FLYTE_ATTEMPT_NUMBER; exit 1$FLYTE_ATTEMPT_NUMBER', { retries: 2 }),
    );
    const details = await ended(starling(), run);
    expect(details.attempts.map(({ attempt }) => attempt)).to.deep.equal([1, 2, 3]);
    for (const { attempt, errorInfo } of details.attempts) {
      expect(errorInfo!.message)
        .to.include(`code 1${attempt - 1}`)
        .and.to.include(`attempt ${attempt - 1}`);
      let text = '';
      for await (const { logs } of starling().data.tailLogs({ actionId: actionId(run), attempt })) {
        for (const { lines } of logs) for (const { message } of lines) text += message;
      }
      expect(text).to.equal(`attempt ${attempt - 1}\n`);
    }
    expect(errorOf(details).message).to.include('code 12');
  });

  it('secrets are not served yet: a task that wants one fails with its name', async () => {
    const error = await fails(shellTask('true', { secret: 'moon-key' }));
    expect(error.message).to.match(/moon-key/i);
  });

  describe('children', () => {
    it('fail for inputs that are gone, with their URI', async () => {
      const run = await createParent(starling());
      await enqueue(starling(), run, 'gone', { inputUri: 's3://flyte-data/uploads/nothing/inputs.pb' });
      const error = errorOf(await ended(starling(), run, 'gone'));
      expect(error.message).to.include('s3://flyte-data/uploads/nothing/inputs.pb');
    });

    it('fail for inputs that are corrupt', async () => {
      const run = await createParent(starling());
      const uri = 's3://flyte-data/uploads/corrupt/inputs.pb';
      await starling().store.put(uri, Buffer.from('these are no inputs'));
      await enqueue(starling(), run, 'corrupt', { inputUri: uri });
      const error = errorOf(await ended(starling(), run, 'corrupt'));
      expect(error).to.include({ code: 'BadTaskSpecification' });
      expect(error.message).to.include('corrupt');
    });

    it('of a raw container fail for inputs that are gone, with their URI', async () => {
      const run = await createParent(starling());
      const inputUri = 's3://flyte-data/uploads/none/inputs.pb';
      await enqueue(starling(), run, 'raw', { task: shellTask('true', { inputs: ['word'] }), inputUri });
      expect(errorOf(await ended(starling(), run, 'raw')).message).to.include(inputUri);
    });

    it('reach the watch of their parent with code, kind and message', async () => {
      const run = await createParent(starling());
      const inputUri = await uploadInputs(starling(), {});
      const leaving = new AbortController();
      const stream = starling().actions.watchForUpdates(
        { filter: { case: 'parentActionId', value: actionId(run) } },
        { signal: leaving.signal },
      );
      await enqueue(starling(), run, 'bad', { task: shellTask('echo sorry; exit 9'), inputUri });
      for await (const { message } of stream) {
        if (message.case !== 'actionUpdate' || message.value.phase !== Phase.failed) continue;
        expect(message.value.actionId!.name).to.equal('bad');
        expect(message.value.error!.message).to.include('code 9').and.to.include('sorry');
        expect(message.value.error!.kind).to.equal(USER);
        break;
      }
      leaving.abort();
    });
  });
});
