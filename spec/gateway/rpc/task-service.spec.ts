import { expect } from 'chai';
import { Phase } from '../../../actors/action/phase.ts';
import { Code } from '../../../gateway/errors.ts';
import { Filter_Function as Fn } from '../../../proto/gen/flyteidl2/common/list_pb.js';
import { TaskService } from '../../../proto/gen/flyteidl2/task/task_service_pb.js';
import { type InProcess, inProcess } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { aTaskSpec } from '../specs.ts';
import { openWorld, type World } from '../world.ts';

describe('TaskService', () => {
  let world: World;
  let tasks: InProcess<typeof TaskService>;
  before(async () => {
    world = await openWorld();
    tasks = inProcess(world.gateway.services, TaskService);
  });
  after(() => world.close());
  const taskId = (name: string, version: string, domain = 'development') => ({
    ...{ project: 'flytesnacks', domain, name, version },
  });
  const deploy = (name: string, version: string, change: Parameters<typeof aTaskSpec>[0] = {}, domain?: string) =>
    tasks.deployTask({ taskId: taskId(name, version, domain), spec: aTaskSpec({ name, version, ...change }) });
  const details = async (name: string, version: string) =>
    (await tasks.getTaskDetails({ taskId: taskId(name, version) })).details!;

  it('gives back what was deployed', async () => {
    await deploy('env.add', 'v1', { documentation: 'Adds.' });
    const task = await details('env.add', 'v1');
    expect(task.taskId).to.include({ org: '', name: 'env.add', version: 'v1' });
    expect(task.metadata).to.include({ shortName: 'add', environmentName: 'env', shortDescription: 'Adds.' });
    expect(task.metadata!.deployedBy!.principal.case).to.equal('user');
    expect(task.spec!.taskTemplate!.type).to.equal('python');
  });

  it('answers already_exists for the same spec again, whatever the order of its maps', async () => {
    const spec = aTaskSpec({ name: 'env.maps' });
    spec.taskTemplate!.config = { a: '1', b: '2' };
    await tasks.deployTask({ taskId: taskId('env.maps', 'v1'), spec });
    spec.taskTemplate!.config = { b: '2', a: '1' };
    const again = await rejection(tasks.deployTask({ taskId: taskId('env.maps', 'v1'), spec }));
    expect(again.code).to.equal(Code.AlreadyExists);
  });

  it('replaces another spec of the same version and keeps the time of the first deployment', async () => {
    await deploy('env.changed', 'v1');
    const before = await details('env.changed', 'v1');
    await deploy('env.changed', 'v1', { documentation: 'new' });
    const after = await details('env.changed', 'v1');
    expect(after.metadata!.shortDescription).to.equal('new');
    expect(after.metadata!.deployedAt).to.deep.equal(before.metadata!.deployedAt);
  });

  it('takes the environment from the name when the spec has none', async () => {
    await deploy('some.env.fn', 'v1', { environment: null });
    expect((await details('some.env.fn', 'v1')).metadata).to.include({ environmentName: 'some.env', shortName: 'fn' });
  });

  it('cuts descriptions that are too long, never through a character', async () => {
    await deploy('env.long', 'v1', { documentation: '🙂'.repeat(300) });
    expect([...(await details('env.long', 'v1')).metadata!.shortDescription]).to.have.length(255);
  });

  it('refuses unknown projects, missing parts and triggers, and knows no other versions', async () => {
    const spec = aTaskSpec();
    const nowhere = { ...taskId('a', 'v1'), project: 'nowhere' };
    expect((await rejection(tasks.deployTask({ taskId: nowhere, spec }))).code).to.equal(Code.NotFound);
    expect((await rejection(tasks.deployTask({ spec }))).code).to.equal(Code.InvalidArgument);
    expect((await rejection(tasks.deployTask({ taskId: taskId('a', 'v1') }))).code).to.equal(Code.InvalidArgument);
    const triggers = [{ name: 'nightly' }];
    const withTrigger = tasks.deployTask({ taskId: taskId('a', 'v1'), spec, triggers });
    expect((await rejection(withTrigger)).code).to.equal(Code.Unimplemented);
    expect((await rejection(details('env.add', 'none'))).code).to.equal(Code.NotFound);
  });

  describe('lists', () => {
    const scopeBy = { case: 'projectId' as const, value: { name: 'flytesnacks', domain: 'lists' } };
    const list = async (filters: { function?: Fn; field: string; values?: string[] }[] = [], change: object = {}) => {
      const response = await tasks.listTasks({ scopeBy, request: { filters, ...change } });
      return response.tasks.map(task => `${task.taskId!.name}@${task.taskId!.version}`);
    };
    before(async () => {
      for (const [name, version] of [
        ['env.a', 'v2'],
        ['env.a', 'v1'],
        ['env.b', 'v1'],
        ['other.c', 'v1'],
      ] as const) {
        await deploy(name, version, {}, 'lists');
      }
      await deploy('env.elsewhere', 'v1');
    });

    it('show the newest version of each task, newest first', async () => {
      expect(await list()).to.deep.equal(['other.c@v1', 'env.b@v1', 'env.a@v1']);
    });

    it('show all versions of a task that is named', async () => {
      expect(await list([{ field: 'name', values: ['env.a'] }])).to.deep.equal(['env.a@v1', 'env.a@v2']);
      expect(await list([{ field: 'version', values: ['v2'] }])).to.deep.equal(['env.a@v2']);
      expect(await list([{ field: 'name', values: ['env.a'] }], { limit: 1 })).to.deep.equal(['env.a@v1']);
    });

    it('find the tasks of an environment', async () => {
      expect(await list([{ function: Fn.CONTAINS, field: 'name', values: ['env.'] }])).to.deep.equal([
        'env.b@v1',
        'env.a@v1',
      ]);
    });

    it('tell entry points from other tasks, and who deployed them', async () => {
      const known = (filterBy: object) => tasks.listTasks({ scopeBy, knownFilters: [{ filterBy } as never] });
      expect((await known({ case: 'isEntrypoint', value: true })).tasks).to.have.length(0);
      expect((await known({ case: 'isEntrypoint', value: false })).tasks).to.have.length(3);
      expect((await known({ case: 'deployedBy', value: 'anonymous' })).tasks).to.have.length(3);
      expect((await known({ case: 'deployedBy', value: 'somebody' })).tasks).to.have.length(0);
    });

    it('count what is there and what the filters leave', async () => {
      const filters = [{ function: Fn.CONTAINS, field: 'name', values: ['env.'] }];
      const { metadata } = await tasks.listTasks({ scopeBy, request: { filters, limit: 1 } });
      expect(metadata).to.include({ total: 3, filteredTotal: 2 });
    });

    it('page through every task once', async () => {
      const seen: string[] = [];
      let token = '';
      do {
        const response = await tasks.listTasks({ scopeBy, request: { limit: 2, token } });
        seen.push(...response.tasks.map(task => task.taskId!.name));
        token = response.token;
      } while (token !== '');
      expect(seen).to.deep.equal(['other.c', 'env.b', 'env.a']);
    });

    it('show the newest run of a task', async () => {
      const root = { taskName: 'env.b', phase: Phase.running };
      await world.rows.run({ name: 'older', domain: 'lists', createdAt: '2026-01-01T00:00:00Z', root });
      const run = await world.rows.run({ domain: 'lists', createdAt: '2026-01-02T00:00:00Z', root });
      await world.rows.query("update action set task_domain = 'lists' where task_name = 'env.b'");
      const { tasks: found } = await tasks.listTasks({ scopeBy });
      const latest = found.find(task => task.taskId!.name === 'env.b')!.taskSummary!.latestRun!;
      expect(latest).to.include({ phase: Phase.running, rootTaskName: 'env.b' });
      expect(latest.runId!.name).to.equal(run.name);
    });

    it('show versions, none of an unknown task', async () => {
      const taskName = { project: 'flytesnacks', domain: 'lists', name: 'env.a' };
      const { versions } = await tasks.listVersions({ taskName });
      expect(versions.map(({ version }) => version)).to.deep.equal(['v1', 'v2']);
      expect((await tasks.listVersions({ taskName: { ...taskName, name: 'none' } })).versions).to.deep.equal([]);
    });
  });
});
