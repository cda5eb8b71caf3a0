import { expect } from 'chai';
import { Phase } from '../../../actors/action/phase.ts';
import { Code } from '../../../gateway/errors.ts';
import { Filter_Function as Fn } from '../../../proto/gen/flyteidl2/common/list_pb.js';
import { type ListRunsResponse, RunService } from '../../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { type InProcess, inProcess } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { openWorld, type World } from '../world.ts';

type Filters = { function?: Fn; field: string; values?: string[] }[];
const by = (name: string) => ({ user: { id: { subject: name } } });

describe('RunService.listRuns', () => {
  let world: World;
  let runs: InProcess<typeof RunService>;
  before(async () => {
    world = await openWorld();
    runs = inProcess(world.gateway.services, RunService);
    const day = (n: number) => `2026-01-0${n}T00:00:00.123456Z`;
    const root = { taskName: 'env.main', taskVersion: 'v1', functionName: 'main' };
    await world.rows.run({
      name: 'one',
      createdAt: day(1),
      labels: { team: 'a', empty: '' },
      createdBy: by('ann'),
      root: { ...root, phase: Phase.succeeded },
    });
    await world.rows.run({
      name: 'two',
      createdAt: day(2),
      labels: { team: 'b' },
      createdBy: by('bob'),
      root: { ...root, phase: Phase.failed },
    });
    await world.rows.run({
      name: 'three',
      createdAt: day(3),
      source: 2,
      root: { ...root, taskVersion: 'v2', phase: Phase.recovered },
    });
    const paused = await world.rows.run({
      name: 'four',
      createdAt: day(4),
      root: { taskName: 'env.other_100%', taskVersion: 'v1', phase: Phase.running },
    });
    await world.rows.action(paused.id, { name: 'cond', type: 3, phase: Phase.paused });
    await world.rows.run({
      ...{ name: 'five', domain: 'staging', createdAt: day(5) },
      trigger: { name: 'nightly', taskName: 'env.main', revision: 3 },
      root: { ...root, phase: Phase.queued },
    });
  });
  after(() => world.close());

  const names = (response: ListRunsResponse) => response.runs.map(run => run.action!.id!.run!.name);
  const list = async (filters: Filters = [], change: object = {}) =>
    names(await runs.listRuns({ request: { filters }, ...change }));
  const scope = { scopeBy: { case: 'projectId', value: { name: 'flytesnacks', domain: 'development' } } };

  it('lists the newest first when nothing is asked for', async () => {
    expect(await list()).to.deep.equal(['five', 'four', 'three', 'two', 'one']);
  });

  it('keeps to a project and domain, a trigger, a task or a version', async () => {
    expect(await list([], scope)).to.deep.equal(['four', 'three', 'two', 'one']);
    const task = { project: 'flytesnacks', domain: 'development', name: 'env.main' };
    expect(await list([], { scopeBy: { case: 'taskName', value: task } })).to.have.members([
      'five',
      'three',
      'two',
      'one',
    ]);
    expect(await list([], { scopeBy: { case: 'taskId', value: { ...task, version: 'v2' } } })).to.deep.equal(['three']);
    const trigger = { project: 'flytesnacks', domain: 'staging', name: 'nightly', taskName: 'env.main' };
    expect(await list([], { scopeBy: { case: 'triggerName', value: trigger } })).to.deep.equal(['five']);
    expect(await list([], { scopeBy: { case: 'org', value: 'any' } })).to.have.length(5);
  });

  it('finds runs that have a paused action', async () => {
    expect(await list([], { pausedActionsOnly: true })).to.deep.equal(['four']);
  });

  const cases: [string, Filters, string[]][] = [
    ['a phase', [{ field: 'phase', values: ['6'] }], ['two']],
    ['a phase whose number arrives as characters', [{ field: 'phase', values: ['1', '0'] }], ['three']],
    ['a phase by name', [{ field: 'phase', values: ['running'] }], ['four']],
    ['several phases', [{ function: Fn.VALUE_IN, field: 'phase', values: ['5', '6'] }], ['two', 'one']],
    ['one phase as a list', [{ function: Fn.VALUE_IN, field: 'phase', values: ['5'] }], ['one']],
    [
      'none of some phases',
      [{ function: Fn.VALUE_NOT_IN, field: 'phase', values: ['5', '6', '10'] }],
      ['five', 'four'],
    ],
    ['the task name', [{ field: 'task_name', values: ['env.main'] }], ['five', 'three', 'two', 'one']],
    ['the task version', [{ field: 'task_version', values: ['v2'] }], ['three']],
    ['the creator', [{ field: 'created_by', values: ['ann'] }], ['one']],
    [
      'everybody but one creator, unknown ones not',
      [{ function: Fn.NOT_EQUAL, field: 'created_by', values: ['ann'] }],
      ['two'],
    ],
    ['a label', [{ field: 'labels.team', values: ['b'] }], ['two']],
    ['an empty label', [{ field: 'labels.empty', values: [''] }], ['one']],
    ['that a label exists', [{ function: Fn.EXISTS, field: 'labels.team' }], ['two', 'one']],
    ['that it does not', [{ function: Fn.NOT_EXISTS, field: 'labels.team' }], ['five', 'four', 'three']],
    ['labels in a list', [{ function: Fn.VALUE_IN, field: 'labels.team', values: ['a', 'x'] }], ['one']],
    [
      'two filters at once',
      [
        { field: 'labels.team', values: ['a'] },
        { field: 'phase', values: ['6'] },
      ],
      [],
    ],
    [
      'a time',
      [{ function: Fn.GREATER_THAN_OR_EQUAL, field: 'created_at', values: ['2026-01-04T00:00:00.123456+00:00'] }],
      ['five', 'four'],
    ],
    [
      'a time before',
      [{ function: Fn.LESS_THAN, field: 'created_at', values: ['2026-01-02T01:00:00+02:00'] }],
      ['one'],
    ],
    ['a day', [{ function: Fn.LESS_THAN, field: 'created_at', values: ['2026-01-02'] }], ['one']],
    ['a part of the name', [{ function: Fn.CONTAINS, field: 'run_name', values: ['o'] }], ['four', 'two', 'one']],
    ['a part in any case', [{ function: Fn.CONTAINS_CASE_INSENSITIVE, field: 'run_name', values: ['FO'] }], ['four']],
    ['an end', [{ function: Fn.ENDS_WITH, field: 'run_name', values: ['e'] }], ['five', 'three', 'one']],
    ['not an end', [{ function: Fn.NOT_ENDS_WITH, field: 'run_name', values: ['e'] }], ['four', 'two']],
    ['a wildcard as the character it is', [{ function: Fn.CONTAINS, field: 'task_name', values: ['%'] }], ['four']],
    [
      'an underscore as the character it is',
      [{ function: Fn.ENDS_WITH, field: 'task_name', values: ['_100%'] }],
      ['four'],
    ],
    ['the source', [{ field: 'run_source', values: ['RUN_SOURCE_CLI'] }], ['three']],
    ['the trigger', [{ field: 'trigger_revision', values: ['3'] }], ['five']],
  ];
  for (const [what, filters, expected] of cases) {
    it(`filters by ${what}`, async () => expect(await list(filters)).to.deep.equal(expected));
  }

  const refused: [string, Filters[number]][] = [
    ['an unknown field', { field: 'colour', values: ['red'] }],
    ['no value', { field: 'phase', values: [] }],
    ['a value that is no phase', { field: 'phase', values: ['tired'] }],
    ['several values of EQUAL', { field: 'task_name', values: ['a', 'b'] }],
    ['a time that is none', { function: Fn.LESS_THAN, field: 'created_at', values: ['yesterday'] }],
    ['a day no calendar knows', { function: Fn.LESS_THAN, field: 'created_at', values: ['2026-02-30'] }],
    ['a time zone nobody has', { function: Fn.LESS_THAN, field: 'created_at', values: ['2026-02-03T00:00:00+99:00'] }],
    ['a number that is too large', { field: 'trigger_revision', values: ['99999999999999999999'] }],
    ['a text function on a number', { function: Fn.CONTAINS, field: 'phase', values: ['5'] }],
    ['a function the contract does not know', { function: 99 as Fn, field: 'phase', values: ['5'] }],
    ['a character no database stores', { field: 'task_name', values: ['a\0b'] }],
  ];
  for (const [what, filter] of refused) {
    it(`refuses ${what} with the field and what would do`, async () => {
      const error = await rejection(list([filter]));
      expect(error.code).to.equal(Code.InvalidArgument);
      expect(error.message).to.contain('request.filters[0]');
    });
  }

  it('sorts by any field in both directions, unknown ones refused', async () => {
    const sorted = (key: string, direction: number) => list([], { ...scope, request: { sortBy: { key, direction } } });
    expect(await sorted('created_at', 1)).to.deep.equal(['one', 'two', 'three', 'four']);
    expect(await sorted('created_at', 0)).to.deep.equal(['four', 'three', 'two', 'one']);
    expect(await sorted('run_name', 1)).to.deep.equal(['four', 'one', 'three', 'two']);
    expect(await sorted('duration_ms', 1)).to.have.length(4);
    expect((await rejection(sorted('colour', 1))).code).to.equal(Code.InvalidArgument);
  });

  it('pages through everything once, whatever the order, while runs are added', async () => {
    for (let n = 0; n < 25; n++) {
      await world.rows.run({ name: `p${n}`, project: 'paged', createdAt: `2026-02-01T00:00:00.00000${n % 3}Z` });
    }
    for (const [key, direction] of [
      ['created_at', 1],
      ['created_at', 0],
      ['phase', 0],
      ['ended_at', 1],
      ['created_by', 1],
    ] as const) {
      const seen: string[] = [];
      let token = '';
      do {
        const response = await runs.listRuns({
          request: { limit: 4, token, sortByFields: [{ key, direction }] },
          scopeBy: { case: 'projectId', value: { name: 'paged', domain: 'development' } },
        });
        seen.push(...names(response));
        token = response.token;
        if (seen.length === 8) await world.rows.run({ project: 'paged', domain: 'other' });
      } while (token !== '');
      expect(new Set(seen).size, key).to.equal(25);
      expect(seen).to.have.length(25);
    }
  });

  it('gives no token when the last page is exactly full', async () => {
    const response = await runs.listRuns({ request: { limit: 4 }, ...(scope as object) });
    expect(response.runs).to.have.length(4);
    expect(response.token).to.equal('');
  });

  it('refuses tokens of others and of another order', async () => {
    const { token } = await runs.listRuns({ request: { limit: 1 } });
    const bad = [{ token: '5' }, { token: 'nonsense' }, { token, sortBy: { key: 'run_name' } }];
    for (const request of bad)
      expect((await rejection(runs.listRuns({ request }))).code).to.equal(Code.InvalidArgument);
  });

  it('gives as many as it can when more are asked for', async () => {
    expect((await runs.listRuns({ request: { limit: 4_000_000 } })).runs.length).to.be.at.least(5);
  });
});

describe('RunService.listActions', () => {
  let world: World;
  let runs: InProcess<typeof RunService>;
  let name: string;
  before(async () => {
    world = await openWorld();
    runs = inProcess(world.gateway.services, RunService);
    const run = await world.rows.run({ root: { phase: Phase.running } });
    name = run.name;
    await world.rows.action(run.id, { name: 'c1', phase: Phase.failed, taskName: 'env.child', group: 'g' });
    await world.rows.action(run.id, { name: 'c2', phase: Phase.failed, type: 2, functionName: 'traced' });
    await world.rows.action(run.id, { name: 'c3', phase: Phase.paused, type: 3, functionName: 'go' });
    await world.rows.action(run.id, { name: 'd1', parent: 'c1', phase: Phase.succeeded });
  });
  after(() => world.close());

  const list = async (filters: Filters = [], request: object = {}) => {
    const runId = { project: 'flytesnacks', domain: 'development', name };
    const response = await runs.listActions({ runId, request: { filters, ...request } });
    return response.actions.map(action => action.id!.name);
  };

  it('lists in order of creation', async () => {
    expect(await list()).to.deep.equal(['a0', 'c1', 'c2', 'c3', 'd1']);
  });

  it('filters by parent, type and phase', async () => {
    expect(await list([{ field: 'parent_name', values: ['a0'] }])).to.deep.equal(['c1', 'c2', 'c3']);
    expect(await list([{ field: 'action_type', values: ['3'] }])).to.deep.equal(['c3']);
    expect(
      await list([{ field: 'phase', values: ['6'] }], { sortBy: { key: 'created_at', direction: 1 } }),
    ).to.deep.equal(['c1', 'c2']);
    expect(
      await list([
        { field: 'phase', values: ['6'] },
        { field: 'action_type', values: ['3'] },
      ]),
    ).to.deep.equal([]);
  });

  it('tells the same of an action as its details do', async () => {
    const runId = { project: 'flytesnacks', domain: 'development', name };
    const { actions } = await runs.listActions({ runId });
    for (const action of actions) {
      const { details } = await runs.getActionDetails({ actionId: action.id! });
      expect(action.metadata).to.deep.equal(details!.metadata);
      expect(action.status).to.deep.equal(details!.status);
    }
    expect(actions[1]!.metadata).to.include({ parent: 'a0', group: 'g', actionType: 1 });
    expect(actions[2]!.metadata!.spec).to.deep.include({ case: 'trace' });
    expect(actions[3]!.metadata!.spec.value).to.include({ name: 'go' });
  });

  it('lists nothing of a run that does not exist', async () => {
    const { actions } = await runs.listActions({ runId: { project: 'p', domain: 'd', name: 'none' } });
    expect(actions).to.deep.equal([]);
  });
});
