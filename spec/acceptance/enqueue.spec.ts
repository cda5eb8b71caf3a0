import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { eventually } from '../support/eventually.ts';
import {
  actionId,
  type Child,
  createParent,
  createRun,
  ended,
  enqueue,
  freshName,
  type RunId,
  refusal,
  runId,
  uploadInputs,
} from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask, sleepInputs, sleepTask } from './tasks.ts';

describe('acceptance: enqueue', () => {
  const starling = useStarling();
  let leaf: Child;
  let forever: Child;
  before(async () => {
    leaf = { inputUri: await uploadInputs(starling(), sleepInputs(0)) };
    forever = { inputUri: await uploadInputs(starling(), sleepInputs(600_000)) };
  });
  const phaseOf = async (run: RunId, name = 'a0') =>
    (await starling().runs.getActionDetails({ actionId: actionId(run, name) })).details!.status!.phase;
  const listed = async (run: RunId) =>
    (await starling().runs.listActions({ runId: run })).actions.map(({ id }) => id!.name);

  it('the same action again is already there, and runs once', async () => {
    const run = await createParent(starling());
    await enqueue(starling(), run, 'twice', leaf);
    const again = await refusal(enqueue(starling(), run, 'twice', leaf));
    expect(again.code).to.equal('AlreadyExists');
    expect(again.message).to.include(`${run.name}/twice`);
    await ended(starling(), run, 'twice');
    expect((await refusal(enqueue(starling(), run, 'twice', leaf))).code).to.equal('AlreadyExists');
    expect(await listed(run)).to.deep.equal(['a0', 'twice']);
  });

  it('fifty callers with one action: one is first', async () => {
    const run = await createParent(starling());
    const answers = await Promise.allSettled(
      Array.from({ length: 50 }, () => enqueue(starling(), run, 'popular', leaf)),
    );
    expect(answers.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
    expect((await ended(starling(), run, 'popular')).status!.phase).to.equal(Phase.succeeded);
  });

  it('a run that is being aborted, or was, takes no children: Aborted with the reason', async () => {
    const run = await createParent(starling());
    await starling().runs.abortRun({ runId: run, reason: 'ada changed her mind' });
    const enqueueOn = async (): Promise<never> => {
      for (let index = 0; ; index++) await enqueue(starling(), run, `soon${index}`, leaf);
    };
    const soon = await refusal(enqueueOn());
    expect(soon.code).to.equal('Aborted');
    await ended(starling(), run);
    const late = await refusal(enqueue(starling(), run, 'late', leaf));
    expect(late.code).to.equal('Aborted');
    expect(late.message)
      .to.include(`${run.name}/late`)
      .and.to.match(/is over|being aborted/);
    expect(await listed(run)).not.to.include('late');
  });

  it('a parent that has ended takes no children, whatever way it ended', async () => {
    const run = await createParent(starling());
    await enqueue(starling(), run, 'good', leaf);
    await enqueue(starling(), run, 'bad', { task: shellTask('exit 1'), ...leaf });
    await enqueue(starling(), run, 'stopped', forever);
    await starling().actions.abort({ actionId: actionId(run, 'stopped'), reason: 'enough' });
    for (const parent of ['good', 'bad', 'stopped']) {
      await ended(starling(), run, parent);
      const { code, message } = await refusal(enqueue(starling(), run, 'orphan', { ...leaf, parent }));
      expect(code).to.equal('Aborted');
      expect(message).to.include(parent);
    }
    expect((await refusal(enqueue(starling(), run, 'orphan', { ...leaf, parent: 'never-was' }))).code).to.equal(
      'NotFound',
    );
    expect(await phaseOf(run)).not.to.equal(Phase.failed);
  });

  it('children left behind by a parent that ended are stopped, and the parent ends last (I6)', async () => {
    const run = await createParent(starling(), 1_500);
    await enqueue(starling(), run, 'sleeper', forever);
    await enqueue(starling(), run, 'pod', { task: shellTask('sleep 600'), ...leaf });
    await enqueue(starling(), run, 'grandchild', { ...forever, parent: 'sleeper' });
    const root = await ended(starling(), run);
    expect(root.status!.phase).to.equal(Phase.succeeded);
    // Its end time is that of its own work; nobody sees it in a final phase before the last of these has ended.
    for (const name of ['sleeper', 'pod', 'grandchild']) {
      const { details } = await starling().runs.getActionDetails({ actionId: actionId(run, name) });
      expect(details!.status!.phase, name).to.equal(Phase.aborted);
      expect(details!.result.case === 'abortInfo' && details!.result.value.reason, name).to.match(/parent|a0/);
    }
  }).timeout(30_000);

  it('an abort of the run reaches every descendant with reason and stops their processes', async () => {
    const marker = `6${Date.now() % 1e8}`;
    const run = await createParent(starling());
    await enqueue(starling(), run, 'pod', { task: shellTask(`sleep ${marker}`), ...leaf });
    await enqueue(starling(), run, 'deeper', { ...forever, parent: 'pod' });
    await eventually(async () => (await phaseOf(run, 'pod')) === Phase.running);
    await starling().runs.abortRun({ runId: run, reason: 'the building is on fire' });
    for (const name of ['a0', 'pod', 'deeper']) {
      const { status, result } = await ended(starling(), run, name);
      expect(status!.phase, name).to.equal(Phase.aborted);
      expect(result.case === 'abortInfo' && result.value.reason, name).to.include('the building is on fire');
    }
    expect(await running(marker)).to.deep.equal([]);
    await starling().runs.abortRun({ runId: run, reason: 'again' });
    const { details } = await starling().runs.getRunDetails({ runId: run });
    const { result } = details!.action!;
    expect(result.case === 'abortInfo' && result.value.reason).to.include('the building is on fire');
  }).timeout(30_000);

  it('an abort of one child leaves its siblings and its parent alone', async () => {
    const run = await createParent(starling());
    await enqueue(starling(), run, 'one', forever);
    await enqueue(starling(), run, 'other', forever);
    await starling().runs.abortAction({ actionId: actionId(run, 'one'), reason: 'not you' });
    await ended(starling(), run, 'one');
    expect(await phaseOf(run, 'other')).to.be.oneOf([Phase.queued, Phase.running]);
    expect(await phaseOf(run)).to.equal(Phase.running);
  });

  it('an action that is over can be aborted in vain', async () => {
    const run = await createRun(starling(), sleepTask, { inputs: sleepInputs(0) });
    await ended(starling(), run);
    await starling().runs.abortRun({ runId: run });
    await starling().runs.abortAction({ actionId: actionId(run) });
    expect(await phaseOf(run)).to.equal(Phase.succeeded);
  });

  describe('two clients with one run name at once', () => {
    const create = (name: string, ms: number) =>
      starling().runs.createRun({
        id: { case: 'runId', value: runId(name) },
        task: { case: 'taskSpec', value: sleepTask },
        inputWrapper: { case: 'inputs', value: sleepInputs(ms) },
      });

    it('and the same request: one run, and both are told so', async () => {
      const name = freshName();
      const answers = await Promise.all(Array.from({ length: 10 }, () => create(name, 1)));
      expect(new Set(answers.map(({ run }) => run!.action!.id!.run!.name))).to.deep.equal(new Set([name]));
      const { runs } = await starling().runs.listRuns({
        scopeBy: { case: 'projectId', value: { name: project, domain } },
        request: { filters: [{ field: 'run_name', values: [name] }] },
      });
      expect(runs).to.have.length(1);
    });

    it('and different requests: one wins, the others are told the name, and its inputs stay', async () => {
      const name = freshName();
      const answers = await Promise.allSettled(Array.from({ length: 10 }, (_, index) => create(name, index)));
      const winner = answers.findIndex(({ status }) => status === 'fulfilled');
      expect(answers.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
      for (const answer of answers) {
        if (answer.status === 'fulfilled') continue;
        const { code, message } = await refusal(Promise.reject(answer.reason));
        expect(code).to.equal('AlreadyExists');
        expect(message).to.include(name);
      }
      await ended(starling(), runId(name));
      const { inputs } = await starling().data.getActionData({ actionId: actionId(runId(name)) });
      expect(
        JSON.stringify(inputs!.literals[0], (_, value) => (typeof value === 'bigint' ? Number(value) : value)),
      ).to.include(`"nanos":${winner * 1e6}`);
    });
  });
});

/** Pids of live processes with this word in their command line. */
async function running(word: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter(entry => /^\d+$/.test(entry))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(word)) found.push(pid);
  }
  return found;
}
