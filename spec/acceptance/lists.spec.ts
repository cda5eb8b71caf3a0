import type { MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { Filter_Function as Fn, type ListRequestSchema } from '../../proto/gen/flyteidl2/common/list_pb.js';
import { createParent, createRun, ended, enqueue, freshName, type RunId, refusal, uploadInputs } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask, sleepInputs, sleepTask } from './tasks.ts';

type List = MessageInitShape<typeof ListRequestSchema>;

describe('acceptance: lists', () => {
  const starling = useStarling();
  const label = freshName();
  const made: string[] = [];
  let run: RunId;
  before(async function () {
    this.timeout(60_000);
    for (let index = 0; index < 7; index++) {
      const runSpec = { labels: { values: { batch: label, index: String(index) } } };
      made.push((await createRun(starling(), sleepTask, { inputs: sleepInputs(0), runSpec })).name);
    }
    run = await createParent(starling());
    const inputUri = await uploadInputs(starling(), sleepInputs(0));
    await enqueue(starling(), run, 'good', { inputUri });
    await enqueue(starling(), run, 'bad', { inputUri, task: shellTask('exit 1') });
    await Promise.all(['good', 'bad'].map(name => ended(starling(), run, name)));
  });

  const ours = { function: Fn.EQUAL, field: 'labels.batch', values: [label] };
  const listRuns = (request: List) =>
    starling().runs.listRuns({
      scopeBy: { case: 'projectId', value: { name: project, domain } },
      request: { ...request, filters: [...(request.filters ?? []), ours] } as List,
    });
  const names = (answer: Awaited<ReturnType<typeof listRuns>>) =>
    answer.runs.map(({ action }) => action!.id!.run!.name);
  const listActions = (request: List) => starling().runs.listActions({ runId: run, request });

  it('show a run by its label as soon as it is made', async () => {
    expect(names(await listRuns({}))).to.have.members(made);
  });

  it('page without gap or repetition while others insert', async () => {
    const seen: string[] = [];
    let token = '';
    do {
      const page = await listRuns({ limit: 2, token, sortByFields: [{ key: 'created_at', direction: 1 }] });
      expect(page.runs.length).to.be.at.most(2);
      seen.push(...names(page));
      await createRun(starling(), sleepTask, { inputs: sleepInputs(0) });
      token = page.token;
    } while (token !== '');
    expect(seen).to.deep.equal(made);
  });

  it('give 1000 at most, whatever is asked', async () => {
    const { runs, token } = await listRuns({ limit: 4_000_000 });
    expect(runs).to.have.length(7);
    expect(token).to.equal('');
  });

  it('take what only the SDK sends', async () => {
    const filter = (fn: Fn, field: string, ...values: string[]) =>
      listActions({ filters: [{ function: fn, field, values }] });
    const actions = async (answer: ReturnType<typeof listActions>) => (await answer).actions.map(({ id }) => id!.name);
    expect(await actions(filter(Fn.EQUAL, 'phase', String(Phase.failed)))).to.deep.equal(['bad']);
    expect(await actions(filter(Fn.VALUE_IN, 'phase', String(Phase.failed)))).to.deep.equal(['bad']);
    expect(await actions(filter(Fn.EQUAL, 'phase', '1', '0'))).to.deep.equal([]);
    expect(await actions(filter(Fn.EQUAL, 'parent_name', 'a0'))).to.deep.equal(['good', 'bad']);
    expect(await actions(filter(Fn.EQUAL, 'action_type', '3'))).to.deep.equal([]);
    const labelled = await starling().runs.listRuns({
      scopeBy: { case: 'org', value: '127' },
      request: { filters: [ours, { function: Fn.EXISTS, field: 'labels.index' }] },
    });
    expect(labelled.runs).to.have.length(7);
  });

  const refused = (title: string, request: List, ...words: string[]) =>
    it(`refuse ${title}`, async () => {
      for (const list of [listRuns, listActions]) {
        const { code, message } = await refusal(list(request));
        expect(code).to.equal('InvalidArgument');
        for (const word of words) expect(message).to.include(word);
      }
    });
  refused('a token nobody gave', { token: 'gibberish' }, 'token', '"gibberish"', 'earlier answer');
  refused('a decimal token', { token: '50' }, 'token', '"50"');
  refused('an order by a field there is not', { sortByFields: [{ key: 'shoe_size' }] }, '"shoe_size"', 'created_at');
  refused(
    'a filter on a field there is not',
    { filters: [{ field: 'shoe_size', values: ['44'] }] },
    'request.filters[0].field',
    '"shoe_size"',
    'phase',
  );
  refused('a filter without a value', { filters: [{ field: 'phase' }] }, 'request.filters[0].values', 'needs a value');
  refused('two values where one is compared', { filters: [{ field: 'task_name', values: ['a', 'b'] }] }, 'VALUE_IN');
  refused('a phase there is not', { filters: [{ field: 'phase', values: ['melting'] }] }, '"melting"', 'SUCCEEDED');
  refused(
    'a time that is none',
    { filters: [{ field: 'created_at', values: ['yesterday'] }] },
    '"yesterday"',
    'ISO 8601',
  );
  refused(
    'a text match on a number',
    { filters: [{ function: Fn.CONTAINS, field: 'phase', values: ['4'] }] },
    'CONTAINS',
  );
  refused('a function there is not', { filters: [{ function: 99 as Fn, field: 'phase', values: ['4'] }] }, 'function');

  it('refuse the token of another order', async () => {
    const { token } = await listRuns({ limit: 2, sortByFields: [{ key: 'created_at' }] });
    const { code, message } = await refusal(listRuns({ limit: 2, token, sortByFields: [{ key: 'run_name' }] }));
    expect(code).to.equal('InvalidArgument');
    expect(message).to.include('another order');
  });

  it('survive what would be SQL', async () => {
    const evil = "'; drop table run; --";
    expect(names(await listRuns({ filters: [{ field: 'run_name', values: [evil] }] }))).to.deep.equal([]);
    expect((await refusal(listRuns({ sortByFields: [{ key: evil }] }))).code).to.equal('InvalidArgument');
    const odd = [{ function: Fn.CONTAINS, field: 'run_name', values: ['%'] }];
    expect(names(await listRuns({ filters: odd }))).to.deep.equal([]);
  });

  it('of WatchActions take PHASE and NAME only', async () => {
    const watch = starling().runs.watchActions({ runId: run, filter: [{ field: 'COLOUR', values: ['red'] }] });
    const { code, message } = await refusal(
      (async () => {
        for await (const _ of watch) return;
      })(),
    );
    expect(code).to.equal('InvalidArgument');
    expect(message).to.include('COLOUR').and.to.include('PHASE');
  });
});
