import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { eventually } from '../support/eventually.ts';
import { actionId, createParent, createRun, ended, enqueue, errorOf, freshName, refusal, uploadInputs } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask, sleepInputs, sleepTask, waitFor } from './tasks.ts';

describe('acceptance: bounds, waiting people, and names of the organisation', function () {
  this.timeout(60_000);
  const starling = useStarling();

  it('a task that waits for room for too long ends as TIMED_OUT with the bound in its code', async () => {
    const gate = path.join(starling().server.dataDir, freshName());
    const holders = await Promise.all(Array.from({ length: 8 }, () => createRun(starling(), waitFor(gate))));
    await eventually(async () => {
      for (const run of holders) {
        const { details } = await starling().runs.getActionDetails({ actionId: actionId(run) });
        expect(details!.status!.phase).to.equal(Phase.running);
      }
    });
    const late = await createRun(starling(), shellTask('true', { queuedSeconds: 1 }));
    const details = await ended(starling(), late);
    await writeFile(gate, '');
    expect(details.status!.phase).to.equal(Phase.timedOut);
    expect(errorOf(details).code).to.equal('QUEUED_TIMEOUT_EXCEEDED');
    for (const run of holders) expect((await ended(starling(), run)).status!.phase).to.equal(Phase.succeeded);
  });

  it('a deadline counts over all attempts', async () => {
    const details = await ended(
      starling(),
      await createRun(starling(), shellTask('sleep 0.3; exit 1', { deadlineSeconds: 2, retries: 50 })),
    );
    expect(details.status!.phase).to.equal(Phase.timedOut);
    expect(errorOf(details).code).to.equal('DEADLINE_EXCEEDED');
    expect(details.attempts.length).to.be.within(2, 50);
  });

  describe('a condition', () => {
    const wait = async (type: number, timeoutSeconds?: number) => {
      const run = await createParent(starling());
      await starling().actions.enqueue({
        action: {
          ...{ actionId: actionId(run, 'gate'), parentActionName: 'a0', inputUri: 's3://flyte-data/none' },
          runOutputBase: 's3://flyte-data/none/',
          spec: {
            case: 'condition',
            value: {
              ...{ name: 'approve', prompt: 'may I?', type: { type: { case: 'simple', value: type } } },
              ...(timeoutSeconds !== undefined && { timeout: { seconds: BigInt(timeoutSeconds) } }),
            },
          },
        },
      });
      await eventually(async () => {
        const { details } = await starling().runs.getActionDetails({ actionId: actionId(run, 'gate') });
        return details!.status!.phase === Phase.paused;
      });
      return run;
    };
    type Payload = { case: 'boolValue'; value: boolean } | { case: 'stringValue'; value: string };
    const signal = (run: Awaited<ReturnType<typeof wait>>, value: Payload) =>
      starling().runs.signalEvent({ actionId: actionId(run, 'gate'), payload: { value } });
    const BOOLEAN = 4;

    it('takes an answer of its type, once; the same again is fine, another is refused', async () => {
      const run = await wait(BOOLEAN);
      const wrong = await refusal(signal(run, { case: 'stringValue', value: 'yes' }));
      expect(wrong.code).to.equal('InvalidArgument');
      await signal(run, { case: 'boolValue', value: true });
      await signal(run, { case: 'boolValue', value: true });
      const other = await refusal(signal(run, { case: 'boolValue', value: false }));
      expect(other.code).to.be.oneOf(['FailedPrecondition', 'AlreadyExists']);
      const details = await ended(starling(), run, 'gate');
      expect(details.status!.phase).to.equal(Phase.succeeded);
      expect(details.result.case).to.equal('signalInfo');
    });

    it('that nobody answers times out, and takes no answer afterwards', async () => {
      const run = await wait(BOOLEAN, 1);
      expect((await ended(starling(), run, 'gate')).status!.phase).to.equal(Phase.timedOut);
      const late = await refusal(signal(run, { case: 'boolValue', value: true }));
      expect(late.code).to.equal('FailedPrecondition');
    });

    it('is the only thing that can be signalled', async () => {
      const run = await createParent(starling());
      const { code, message } = await refusal(
        starling().runs.signalEvent({
          actionId: actionId(run),
          payload: { value: { case: 'boolValue', value: true } },
        }),
      );
      expect(code).to.be.oneOf(['InvalidArgument', 'FailedPrecondition']);
      expect(message).to.include('condition');
    });

    it('of a run that is aborted ends with it', async () => {
      const run = await wait(BOOLEAN);
      await starling().runs.abortRun({ runId: run, reason: 'never mind' });
      expect((await ended(starling(), run, 'gate')).status!.phase).to.equal(Phase.aborted);
      expect((await refusal(signal(run, { case: 'boolValue', value: true }))).code).to.equal('FailedPrecondition');
    });
  });

  it('whatever clients call the organisation, it is the same run', async () => {
    const run = await createRun(starling(), sleepTask, { inputs: sleepInputs(0) });
    await ended(starling(), run);
    for (const org of ['', '127', 'acme']) {
      const { details } = await starling().runs.getRunDetails({ runId: { ...run, org } });
      expect(details!.action!.status!.phase).to.equal(Phase.succeeded);
      expect(details!.action!.id!.run!.org).to.equal(org);
    }
  });

  it('the same name in another domain is another run', async () => {
    const name = freshName();
    for (const where of [domain, 'staging']) {
      const { run } = await starling().runs.createRun({
        id: { case: 'runId', value: { project, domain: where, name } },
        task: { case: 'taskSpec', value: sleepTask },
        inputWrapper: { case: 'inputs', value: sleepInputs(0) },
      });
      expect(run!.action!.id!.run!.domain).to.equal(where);
    }
  });

  it('a task is deployed once per version, listed newest first, and runs by name and version', async () => {
    const name = `deployed.${freshName()}`;
    const deploy = (version: string) =>
      starling().tasks.deployTask({
        taskId: { project, domain, name, version },
        spec: shellTask(`echo this is ${version}`, { name }),
      });
    await deploy('v1');
    // The SDK takes this as success (sdk.md §0 row 20).
    expect((await refusal(deploy('v1'))).code).to.equal('AlreadyExists');
    await deploy('v2');
    const { tasks } = await starling().tasks.listTasks({
      scopeBy: { case: 'projectId', value: { name: project, domain } },
      request: { filters: [{ field: 'name', values: [name] }] },
    });
    expect(tasks.map(({ taskId }) => taskId!.version)).to.deep.equal(['v2', 'v1']);
    const { run } = await starling().runs.createRun({
      id: { case: 'projectId', value: { name: project, domain } },
      task: { case: 'taskId', value: { project, domain, name, version: 'v1' } },
    });
    const details = await ended(starling(), { org: '', project, domain, name: run!.action!.id!.run!.name });
    expect(details.status!.phase).to.equal(Phase.succeeded);
    expect(details.spec.case).to.equal('task');
  });

  it('a child may be enqueued under a child, forty levels deep', async () => {
    const run = await createParent(starling());
    const inputUri = await uploadInputs(starling(), sleepInputs(600_000));
    for (let depth = 1; depth <= 40; depth++) {
      await enqueue(starling(), run, `d${depth}`, { inputUri, parent: depth === 1 ? 'a0' : `d${depth - 1}` });
    }
    await starling().runs.abortRun({ runId: run, reason: 'deep enough' });
    expect((await ended(starling(), run, 'd40')).status!.phase).to.equal(Phase.aborted);
    expect((await ended(starling(), run)).status!.phase).to.equal(Phase.aborted);
  });
});
