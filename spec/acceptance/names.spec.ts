import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import type { CreateRunRequestSchema } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { actionId, createParent, enqueue, first, freshName, type RunId, refusal, runId } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask, sleepInputs, sleepTask } from './tasks.ts';

describe('acceptance: what does not exist, and names nobody may have', () => {
  const starling = useStarling();
  let parent: RunId;
  before(async () => {
    parent = await createParent(starling());
  });

  const create = (change: MessageInitShape<typeof CreateRunRequestSchema>) =>
    starling().runs.createRun({
      id: { case: 'projectId', value: { name: project, domain } },
      task: { case: 'taskSpec', value: sleepTask },
      inputWrapper: { case: 'inputs', value: sleepInputs(0) },
      ...change,
    });
  const nobody = { org: '', project, domain, name: 'no-such-run' };
  const unknown = actionId(nobody);
  const version = { project, domain, name: 'env.never', version: 'v9' };

  type Call = () => Promise<unknown>;
  const refused = (title: string, call: Call, code: string, ...words: (string | RegExp)[]) =>
    it(`${title}: ${code}`, async () => {
      const { code: got, message } = await refusal(call());
      expect(got, message).to.equal(code);
      for (const word of words) expect(message).to.match(typeof word === 'string' ? literally(word) : word);
    });

  describe('a run of', () => {
    const in_ =
      (name: string): Call =>
      () =>
        create({ id: { case: 'projectId', value: { name, domain } } });
    refused('an unknown project', in_('atlantis'), 'NotFound', 'project "atlantis" does not exist');
    refused('a project without a name', in_(''), 'InvalidArgument', 'project_id');
    refused('a project with a name no project has', in_('a/../b'), 'InvalidArgument', 'project_id.project', '"a/../b"');
    refused('no project at all', () => create({ id: { case: undefined } }), 'InvalidArgument', /\bid\b/);
    refused(
      'an unknown task',
      () => create({ task: { case: 'taskId', value: version } }),
      'NotFound',
      'env.never',
      'v9',
    );
    refused(
      'a task without a name',
      () => create({ task: { case: 'taskId', value: { ...version, name: '' } } }),
      'InvalidArgument',
      'task_id.name',
    );
    refused('no task', () => create({ task: { case: undefined } }), 'InvalidArgument', 'task');
    refused(
      'a task without a template',
      () => create({ task: { case: 'taskSpec', value: {} } }),
      'InvalidArgument',
      'task_template',
    );
    refused(
      'a trigger',
      () => create({ task: { case: 'triggerName', value: { project, domain, taskName: 't', name: 'x' } } }),
      'Unimplemented',
      'task_id',
    );
  });

  describe('a run called', () => {
    for (const name of [
      'Upper',
      '9lives',
      'ends-',
      'under_score',
      'x'.repeat(31),
      'naïve',
      'a b',
      '',
      '../a',
      'a\nb',
    ]) {
      refused(
        JSON.stringify(name),
        () => create({ id: { case: 'runId', value: runId(name) } }),
        'InvalidArgument',
        'run_id.name',
        name === '' ? 'empty' : JSON.stringify(name),
        /lower-case letters, digits and hyphens|must be at (most|least)/,
      );
    }
    it('with thirty letters is fine', async () => {
      const name = freshName('x').padEnd(30, 'y');
      const { run } = await create({ id: { case: 'runId', value: runId(name) } });
      expect(run!.action!.id!.run!.name).to.equal(name);
    });
  });

  describe('an unknown run or action in', () => {
    const { runs, actions, data } = new Proxy({} as ReturnType<typeof starling>, {
      get: (_, service: 'runs') =>
        new Proxy({}, { get: (_, method: 'createRun') => (request: never) => starling()[service][method](request) }),
    });
    const watch =
      <T>(open: () => AsyncIterable<T>): Call =>
      () =>
        first(open());
    const now = timestampFromDate(new Date());
    const calls: Record<string, Call> = {
      getRunDetails: () => runs.getRunDetails({ runId: nobody }),
      getActionDetails: () => runs.getActionDetails({ actionId: unknown }),
      getActionDataURIs: () => runs.getActionDataURIs({ actionId: unknown }),
      getActionLogContext: () => runs.getActionLogContext({ actionId: unknown, attempt: 1 }),
      'runs.getActionData': () => runs.getActionData({ actionId: unknown }),
      'data.getActionData': () => data.getActionData({ actionId: unknown }),
      abortRun: () => runs.abortRun({ runId: nobody }),
      abortAction: () => runs.abortAction({ actionId: unknown }),
      'actions.abort': () => actions.abort({ actionId: unknown }),
      signalEvent: () =>
        runs.signalEvent({ actionId: unknown, payload: { value: { case: 'boolValue', value: true } } }),
      watchRunDetails: watch(() => runs.watchRunDetails({ runId: nobody })),
      watchActionDetails: watch(() => runs.watchActionDetails({ actionId: unknown })),
      watchActions: watch(() => runs.watchActions({ runId: nobody })),
      watchClusterEvents: watch(() => runs.watchClusterEvents({ id: unknown, attempt: 1 })),
      watchForUpdates: watch(() => actions.watchForUpdates({ filter: { case: 'parentActionId', value: unknown } })),
      tailLogs: watch(() => data.tailLogs({ actionId: unknown, attempt: 1 })),
      enqueue: () => enqueue(starling(), nobody, 'child', {}),
      createDownloadLink: () =>
        data.createDownloadLink({
          artifactType: 1,
          source: { case: 'actionAttemptId', value: { actionId: unknown, attempt: 1 } },
        }),
    };
    for (const [title, call] of Object.entries(calls)) refused(title, call, 'NotFound', 'no-such-run');

    refused(
      'getActionDetails of a known run',
      () => runs.getActionDetails({ actionId: actionId(parent, 'nobody') }),
      'NotFound',
      '/nobody"',
    );
    refused(
      'tailLogs of an attempt that never was',
      watch(() => data.tailLogs({ actionId: actionId(parent), attempt: 7 })),
      'NotFound',
      'attempt "7 of',
    );
    it('listActions answers an empty list', async () => {
      expect((await runs.listActions({ runId: nobody })).actions).to.deep.equal([]);
    });
    it('watchGroups of a project nobody has answers none and the sentinel', async () => {
      const message = await first(
        runs.watchGroups({
          scopeBy: { case: 'projectId', value: { name: 'atlantis', domain } },
          startDate: now,
          endDate: now,
        }),
      );
      expect(message.sentinel).to.equal(true);
    });
    for (const [title, call] of Object.entries({
      getRunDetails: () => runs.getRunDetails({}),
      abortRun: () => runs.abortRun({}),
      getActionDetails: () => runs.getActionDetails({ actionId: { name: 'a0' } }),
      watchActions: watch(() => runs.watchActions({})),
      watchForUpdates: watch(() => actions.watchForUpdates({})),
      enqueue: () => actions.enqueue({}),
      signalEvent: () => runs.signalEvent({ actionId: unknown }),
    })) {
      refused(`${title} without saying which`, call, 'InvalidArgument', /_id|filter|action|payload/);
    }
  });

  describe('a child', () => {
    const child =
      (name: string, change: object = {}): Call =>
      () =>
        enqueue(starling(), parent, name, change);
    for (const name of ['Upper', '-x', 'x-', 'x'.repeat(31), 'a/b', 'ü']) {
      refused(
        `called ${JSON.stringify(name)}`,
        child(name),
        'InvalidArgument',
        'action.action_id.name',
        JSON.stringify(name),
      );
    }
    refused(
      'of itself',
      child('selfish', { parent: 'selfish' }),
      'InvalidArgument',
      'action.parent_action_name',
      'none is its own parent',
    );
    refused(
      'in a group with a name too long',
      child('grouped', { group: 'g'.repeat(257) }),
      'InvalidArgument',
      'action.group',
      '256',
    );
    refused('without inputs', child('poor', { inputUri: '' }), 'InvalidArgument', 'action.input_uri');
    refused('of an unknown parent', child('orphan', { parent: 'nobody' }), 'NotFound', 'parent action', '/nobody"');
    refused(
      'without a task type',
      child('typeless', { task: { taskTemplate: { type: '' } } }),
      'InvalidArgument',
      'task_template.type',
    );
    refused(
      'that is nothing',
      () =>
        starling().actions.enqueue({
          action: {
            actionId: actionId(parent, 'blank'),
            parentActionName: 'a0',
            inputUri: 's3://x/y',
            runOutputBase: 's3://x/',
          },
        }),
      'InvalidArgument',
      'action.spec',
    );
    refused(
      'that is a trace still running',
      () =>
        starling().actions.enqueue({
          action: {
            ...{
              actionId: actionId(parent, 'trace'),
              parentActionName: 'a0',
              inputUri: 's3://x/y',
              runOutputBase: 's3://x/',
            },
            spec: { case: 'trace', value: { name: 'f', phase: 4, spec: {} } },
          },
        }),
      'InvalidArgument',
      'action.trace.phase',
    );
  });

  describe('a task', () => {
    const tasks = () => starling().tasks;
    const spec = shellTask('true');
    refused('unknown', () => tasks().getTaskDetails({ taskId: version }), 'NotFound', 'env.never', 'v9');
    refused(
      'deployed to an unknown project',
      () => tasks().deployTask({ taskId: { ...version, project: 'atlantis' }, spec }),
      'NotFound',
      '"atlantis"',
    );
    refused(
      'deployed without a version',
      () => tasks().deployTask({ taskId: { ...version, version: '' }, spec }),
      'InvalidArgument',
      'task_id.version',
    );
    refused(
      'deployed with a name too long',
      () => tasks().deployTask({ taskId: { ...version, name: 'n'.repeat(256) }, spec }),
      'InvalidArgument',
      'task_id.name',
      '255',
    );
    refused(
      'deployed without saying what it is',
      () => tasks().deployTask({ taskId: version }),
      'InvalidArgument',
      'spec',
    );
  });

  describe('a project', () => {
    const projects = () => starling().projects;
    refused('unknown', () => projects().getProject({ id: 'atlantis' }), 'NotFound', '"atlantis"');
    refused(
      'unknown, updated',
      () => projects().updateProject({ project: { id: 'atlantis', name: 'x' } }),
      'NotFound',
      '"atlantis"',
    );
    for (const id of ['Has Spaces', 'Upper', 'x'.repeat(64), '../etc']) {
      refused(
        `called ${JSON.stringify(id)}`,
        () => projects().createProject({ project: { id, name: 'x' } }),
        'InvalidArgument',
        'project.id',
        JSON.stringify(id),
      );
    }
    refused(
      'that exists',
      () => projects().createProject({ project: { id: project, name: 'x' } }),
      'AlreadyExists',
      `"${project}"`,
    );
  });
});

function literally(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}
