import { expect } from 'chai';
import { Code } from '../../../gateway/errors.ts';
import { IdentityService } from '../../../proto/gen/flyteidl2/auth/identity_pb.js';
import { ClusterService } from '../../../proto/gen/flyteidl2/cluster/service_pb.js';
import { ProjectService } from '../../../proto/gen/flyteidl2/project/project_service_pb.js';
import { type InProcess, inProcess } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { openWorld, type World } from '../world.ts';

describe('ProjectService', () => {
  let world: World;
  let projects: InProcess<typeof ProjectService>;
  before(async () => {
    world = await openWorld();
    projects = inProcess(world.gateway.services, ProjectService);
    await projects.createProject({ project: { id: 'alpha', name: 'Alpha', labels: { values: { a: 'b' } } } });
    await projects.createProject({ project: { id: 'beta', name: 'Beta', description: 'the 2nd' } });
    await projects.createProject({ project: { id: 'gone', name: 'Gone', state: 1 } });
  });
  after(() => world.close());
  const list = async (filters: string, change: object = {}) => {
    const { projects: page } = await projects.listProjects({ filters, ...change });
    return page!.projects.map(({ id }) => id);
  };

  it('gives back a project with the domains of the installation, archived ones too', async () => {
    const { project } = await projects.getProject({ id: 'alpha' });
    expect(project).to.include({ name: 'Alpha', state: 0, org: '' });
    expect(project!.labels!.values).to.deep.equal({ a: 'b' });
    expect(project!.domains.map(({ id }) => id)).to.deep.equal(['development', 'staging', 'production']);
    expect((await projects.getProject({ id: 'gone' })).project!.state).to.equal(1);
  });

  it('replaces everything but the id', async () => {
    await projects.createProject({ project: { id: 'changing', name: 'Old', description: 'old' } });
    await projects.updateProject({ project: { id: 'changing', name: 'New' } });
    expect((await projects.getProject({ id: 'changing' })).project).to.include({ name: 'New', description: '' });
  });

  it('refuses an id that is taken, cannot be or is missing', async () => {
    expect((await rejection(projects.createProject({ project: { id: 'alpha' } }))).code).to.equal(Code.AlreadyExists);
    for (const id of ['', 'With Space', '../up', 'x'.repeat(64), '-x']) {
      expect((await rejection(projects.createProject({ project: { id } }))).code).to.equal(Code.InvalidArgument);
    }
    const long = { id: 'long', description: 'x'.repeat(301) };
    expect((await rejection(projects.createProject({ project: long }))).code).to.equal(Code.InvalidArgument);
    expect((await rejection(projects.createProject({ project: { id: 'odd', state: 9 as never } }))).code).to.equal(
      Code.InvalidArgument,
    );
  });

  it('knows nothing of others', async () => {
    expect((await rejection(projects.getProject({ id: 'nope' }))).code).to.equal(Code.NotFound);
    expect((await rejection(projects.updateProject({ project: { id: 'nope' } }))).code).to.equal(Code.NotFound);
    expect((await rejection(projects.getProject({}))).code).to.equal(Code.InvalidArgument);
  });

  it('hides archived projects unless a filter is given', async () => {
    expect(await list(''))
      .to.include('alpha')
      .and.not.include('gone');
    expect(await list('eq(state, 1)')).to.deep.equal(['gone']);
    expect(await list('ne(identifier, alpha)')).to.include('gone');
  });

  for (const [filters, expected] of [
    ['eq(state, 0)+eq(name, Alpha)', ['alpha']],
    ['EQ(identifier,beta)', ['beta']],
    ['contains(description, 2nd)', ['beta']],
    ['value_in(identifier, alpha;beta)', ['alpha', 'beta']],
    ['eq(state, ARCHIVED)', ['gone']],
  ] as const) {
    it(`filters by ${filters}`, async () => expect(await list(filters)).to.deep.equal(expected));
  }

  for (const filters of ['nonsense', 'like(name, a)', 'eq(colour, red)', 'eq(state, tired)', 'eq(state, 0)+']) {
    it(`refuses the filter ${filters}`, async () => {
      expect((await rejection(list(filters))).code).to.equal(Code.InvalidArgument);
    });
  }

  it('sorts, and pages through all once', async () => {
    const sortBy = { key: 'identifier', direction: 0 };
    const seen: string[] = [];
    let token = '';
    do {
      const { projects: page } = await projects.listProjects({ limit: 2, token, sortBy });
      seen.push(...page!.projects.map(({ id }) => id));
      token = page!.token;
    } while (token !== '');
    expect(seen).to.deep.equal(['flytesnacks', 'changing', 'beta', 'alpha']);
  });

  it('IdentityService.userInfo names the anonymous user', async () => {
    const identity = inProcess(world.gateway.services, IdentityService);
    expect(await identity.userInfo({})).to.include({ subject: 'anonymous', name: 'Anonymous' });
  });

  it('ClusterService.selectCluster lets clients go on with the connection they have', async () => {
    const cluster = inProcess(world.gateway.services, ClusterService);
    expect(await cluster.selectCluster({ operation: 1 })).to.include({ clusterEndpoint: '', cluster: '' });
  });
});
