import { expect } from 'chai';
import type { AttemptEvent } from '../../../actors/action/attempt.ts';
import { Phase } from '../../../actors/action/phase.ts';
import { Code } from '../../../gateway/errors.ts';
import { Filter_Function as Fn } from '../../../proto/gen/flyteidl2/common/list_pb.js';
import type { EnrichedAction } from '../../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { RunService } from '../../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { type InProcess, inProcess, next } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { openWorld, type World } from '../world.ts';

describe('RunService watches', () => {
  let world: World;
  let runs: InProcess<typeof RunService>;
  before(async () => {
    world = await openWorld();
    runs = inProcess(world.gateway.services, RunService);
  });
  after(() => world.close());
  const runId = (name: string) => ({ project: 'flytesnacks', domain: 'development', name });
  const actionId = (run: string, name = 'a0') => ({ run: runId(run), name });

  describe('watchActionDetails', () => {
    it('begins with a snapshot, follows, and ends with the final phase', async () => {
      const run = await world.rows.run();
      const stream = runs.watchActionDetails({ actionId: actionId(run.name) });
      expect((await next(stream)).details!.status!.phase).to.equal(Phase.queued);
      await world.rows.change(run.id, 'a0', { phase: Phase.running });
      expect((await next(stream)).details!.status!.phase).to.equal(Phase.running);
      await world.rows.change(run.id, 'a0', { phase: Phase.succeeded });
      expect((await next(stream)).details!.status!.phase).to.equal(Phase.succeeded);
      expect((await stream.next()).done).to.equal(true);
    });

    it('of an action that is over is one message', async () => {
      const run = await world.rows.run({ root: { phase: Phase.aborted } });
      const stream = runs.watchActionDetails({ actionId: actionId(run.name) });
      expect((await next(stream)).details!.status!.phase).to.equal(Phase.aborted);
      expect((await stream.next()).done).to.equal(true);
    });

    it('hears nothing of other actions', async () => {
      const run = await world.rows.run();
      const stream = runs.watchActionDetails({ actionId: actionId(run.name) });
      await next(stream);
      const following = next(stream);
      await world.rows.action(run.id, { name: 'other' });
      await world.rows.change(run.id, 'a0', { phase: Phase.running });
      expect((await following).details!.status!.phase).to.equal(Phase.running);
      await stream.return(undefined);
    });

    it('fails with not_found for what does not exist', async () => {
      const run = await world.rows.run();
      for (const id of [actionId('no-such-run'), actionId(run.name, 'nobody')]) {
        expect((await rejection(runs.watchActionDetails({ actionId: id }).next())).code).to.equal(Code.NotFound);
      }
    });

    it('ends when its caller leaves, without a subscription left behind', async () => {
      const run = await world.rows.run();
      const before = world.feed.subscriptions;
      const gone = new AbortController();
      const stream = runs.watchActionDetails({ actionId: actionId(run.name) }, gone.signal);
      await next(stream);
      const rest = stream.next();
      gone.abort();
      expect((await rest).done).to.equal(true);
      expect(world.feed.subscriptions).to.equal(before);
    });

    it('misses no final phase though changes were lost', async () => {
      const run = await world.rows.run();
      const stream = runs.watchActionDetails({ actionId: actionId(run.name) });
      await next(stream);
      await world.rows.query('update action set phase = 5 where run_id = $1', [run.id]);
      world.feed.lose();
      expect((await next(stream)).details!.status!.phase).to.equal(Phase.succeeded);
    });
  });

  it('watchRunDetails shows run spec and root, and ends with the run', async () => {
    const run = await world.rows.run({ runSpec: { queue: 'q' } });
    const stream = runs.watchRunDetails({ runId: runId(run.name) });
    expect((await next(stream)).details!.runSpec!.queue).to.equal('q');
    await world.rows.change(run.id, 'a0', { phase: Phase.failed });
    expect((await next(stream)).details!.action!.status!.phase).to.equal(Phase.failed);
    expect((await stream.next()).done).to.equal(true);
  });

  it('watchClusterEvents sends each event once and ends with the attempt', async () => {
    const event = (n: number): AttemptEvent => ({ at: `2026-01-01T00:00:0${n}.000Z`, reason: 'r', message: `m${n}` });
    const attempt = (events: AttemptEvent[], endedAt?: string) => [
      { attempt: 1, phases: [{ phase: Phase.queued, at: event(0).at }], events, ...(endedAt && { endedAt }) },
    ];
    const run = await world.rows.run();
    const stream = runs.watchClusterEvents({ id: actionId(run.name), attempt: 1 });
    const first = next(stream);
    await world.rows.change(run.id, 'a0', { attempts: attempt([event(1), event(2)]) });
    expect((await first).clusterEvents.map(({ message }) => message)).to.deep.equal(['m1', 'm2']);
    await world.rows.change(run.id, 'a0', { attempts: attempt([event(2), event(3)], event(4).at) });
    expect((await next(stream)).clusterEvents.map(({ message }) => message)).to.deep.equal(['m3']);
    expect((await stream.next()).done).to.equal(true);
  });

  describe('watchRuns', () => {
    const names = (message: Awaited<ReturnType<typeof next<{ runs: { action?: unknown }[] }>>>) =>
      message.runs.map(run => (run.action as { id: { run: { name: string } } }).id.run.name);

    it('sends all runs in scope, newest first, then those that are made and that change', async () => {
      for (let n = 0; n < 150; n++) await world.rows.run({ name: `w${n}`, domain: 'watched' });
      const stream = runs.watchRuns({
        target: { case: 'projectId', value: { name: 'flytesnacks', domain: 'watched' } },
      });
      const snapshot = [...names(await next(stream)), ...names(await next(stream))];
      expect(snapshot).to.have.length(150);
      expect(snapshot[0]).to.equal('w149');
      await world.rows.run({ name: 'elsewhere' });
      const made = await world.rows.run({ name: 'made', domain: 'watched' });
      expect(names(await next(stream))).to.deep.equal(['made']);
      await world.rows.change(made.id, 'a0', { phase: Phase.running });
      const changed = await next(stream);
      expect(changed.runs[0]!.action!.status!.phase).to.equal(Phase.running);
      await stream.return(undefined);
    });

    it('keeps to the runs of a task', async () => {
      const taskName = 'env.watched';
      await world.rows.run({ name: 'of-task', root: { taskName, taskVersion: 'v1' } });
      const value = { project: 'flytesnacks', domain: 'development', name: taskName, version: 'v1' };
      const stream = runs.watchRuns({ target: { case: 'taskId', value } });
      expect(names(await next(stream))).to.deep.equal(['of-task']);
      await stream.return(undefined);
    });
  });

  describe('watchActions', () => {
    const watch = (name: string, filter: object[] = []) => runs.watchActions({ runId: runId(name), filter });
    const shown = ({ enrichedActions }: { enrichedActions: EnrichedAction[] }) =>
      enrichedActions.map(({ action, meetsFilter }) => `${action!.id!.name}${meetsFilter ? '' : ' gone'}`);
    const phases = (...values: number[]) => [{ function: Fn.VALUE_IN, field: 'PHASE', values: values.map(String) }];

    it('sends the tree in order of creation, with all descendants counted by phase', async () => {
      const run = await world.rows.run({ root: { phase: Phase.running } });
      await world.rows.action(run.id, { name: 'c1', phase: Phase.succeeded });
      await world.rows.action(run.id, { name: 'd1', parent: 'c1', phase: Phase.succeeded });
      await world.rows.action(run.id, { name: 'c2', phase: Phase.queued });
      const stream = watch(run.name);
      const first = await next(stream);
      expect(shown(first)).to.deep.equal(['a0', 'c1', 'd1', 'c2']);
      expect(first.enrichedActions[0]!.childrenPhaseCounts).to.deep.equal({ 1: 1, 5: 2 });
      expect(first.enrichedActions[1]!.childrenPhaseCounts).to.deep.equal({ 5: 1 });
      await world.rows.change(run.id, 'c2', { phase: Phase.running });
      const update = await next(stream);
      expect(shown(update)).to.deep.equal(['a0', 'c2']);
      expect(update.enrichedActions[0]!.childrenPhaseCounts).to.deep.equal({ 1: 0, 4: 1, 5: 2 });
      await stream.return(undefined);
    });

    it('shows matches and what is above them, and says so when they match no more', async () => {
      const run = await world.rows.run({ root: { phase: Phase.running } });
      await world.rows.action(run.id, { name: 'c1', phase: Phase.running });
      await world.rows.action(run.id, { name: 'd1', parent: 'c1', phase: Phase.failed });
      await world.rows.action(run.id, { name: 'c2', phase: Phase.queued });
      const stream = watch(run.name, phases(Phase.failed));
      expect(shown(await next(stream))).to.deep.equal(['a0', 'c1', 'd1']);
      await world.rows.change(run.id, 'd1', { phase: Phase.aborted });
      expect(shown(await next(stream))).to.deep.equal(['a0 gone', 'c1 gone', 'd1 gone']);
      await world.rows.change(run.id, 'c2', { phase: Phase.failed });
      expect(shown(await next(stream))).to.deep.equal(['a0', 'c2']);
      await stream.return(undefined);
    });

    it('filters by the last part of the name in any case', async () => {
      const run = await world.rows.run({ root: { taskName: 'env.main' } });
      await world.rows.action(run.id, { name: 'c1', taskName: 'env.TrainModel' });
      await world.rows.action(run.id, { name: 'c2', taskName: 'train.other' });
      const filter = [{ function: Fn.CONTAINS_CASE_INSENSITIVE, field: 'NAME', values: ['tRAIN'] }];
      const stream = watch(run.name, filter);
      expect(shown(await next(stream))).to.deep.equal(['a0', 'c1']);
      await stream.return(undefined);
    });

    it('refuses other filters', async () => {
      const run = await world.rows.run();
      for (const filter of [
        { field: 'COLOUR', values: ['red'] },
        { field: 'NAME', values: ['x'] },
        { function: Fn.VALUE_IN, field: 'PHASE', values: ['red'] },
      ]) {
        expect((await rejection(watch(run.name, [filter]).next())).code).to.equal(Code.InvalidArgument);
      }
    });

    it('lets a child that is seen before its parent wait for it', async () => {
      const run = await world.rows.run();
      const stream = watch(run.name);
      await next(stream);
      await world.rows.action(run.id, { name: 'grandchild', parent: 'late' });
      await world.rows.action(run.id, { name: 'other' });
      expect(shown(await next(stream))).to.deep.equal(['a0', 'other']);
      await world.rows.action(run.id, { name: 'late' });
      expect(shown(await next(stream))).to.have.members(['a0', 'late', 'grandchild']);
      await stream.return(undefined);
    });

    it('keeps one tree for all viewers of a run and drops it with the last', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 2_500, 't');
      const before = world.feed.subscriptions;
      const streams = [watch(run.name), watch(run.name), watch(run.name, phases(Phase.succeeded))];
      for (const stream of streams.slice(0, 2)) {
        const seen: string[] = [];
        while (seen.length < 2_501) {
          const message = await next(stream);
          expect(message.enrichedActions.length).to.be.at.most(1_000);
          seen.push(...shown(message));
        }
        expect(seen).to.deep.equal(['a0', ...Array.from({ length: 2_500 }, (_, n) => `t${n}`)]);
      }
      const filtered = next(streams[2]!);
      await world.rows.change(run.id, 't7', { phase: Phase.succeeded });
      expect(shown(await filtered)).to.deep.equal(['a0', 't7']);
      expect(world.feed.subscriptions).to.equal(before + 1);
      for (const stream of streams) await stream.return(undefined);
      expect(world.feed.subscriptions).to.equal(before);
    });

    it('tells viewers who see the same change the same message, and those with a filter their own', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 3, 'e');
      const streams = [watch(run.name), watch(run.name), watch(run.name, phases(Phase.succeeded))];
      await Promise.all(streams.slice(0, 2).map(next));
      const messages = streams.map(next);
      await world.rows.change(run.id, 'e1', { phase: Phase.succeeded });
      const [first, second, filtered] = await Promise.all(messages);
      expect(shown(first!)).to.deep.equal(['a0', 'e1']);
      expect(second).to.equal(first);
      expect(filtered).to.not.equal(first);
      await world.rows.change(run.id, 'e1', { phase: Phase.running });
      expect(shown(await next(streams[2]!))).to.deep.equal(['a0 gone', 'e1 gone']);
      for (const stream of streams) await stream.return(undefined);
    });

    it('shows what was missed when changes were lost', async () => {
      const run = await world.rows.run();
      const stream = watch(run.name);
      await next(stream);
      await world.rows.query(
        `insert into action (run_id, name, parent, type, spec_digest) values ($1, 'x', 'a0', 1, '')`,
        [run.id],
      );
      world.feed.lose();
      expect(shown(await next(stream))).to.include('x');
      await stream.return(undefined);
    });

    it('is refused for a run that does not exist', async () => {
      expect((await rejection(watch('no-such-run').next())).code).to.equal(Code.NotFound);
    });
  });

  describe('watchGroups', () => {
    const scopeBy = { case: 'projectId' as const, value: { name: 'flytesnacks', domain: 'grouped' } };
    const startDate = { seconds: 1_767_225_600n }; // 2026-01-01

    it('counts runs by task, then sends the groups that change', async () => {
      const failure = { code: 'E', kind: 'USER', message: '', recoverable: false } as const;
      const inGroup = (name: string, phase: number, second: number, extra: object = {}) =>
        world.rows.run({
          ...{ name, domain: 'grouped', createdAt: `2026-01-02T00:00:0${second}Z` },
          root: { taskName: 'env.a', phase, endedAt: `2026-01-02T00:00:0${second + 2}Z`, ...extra },
        });
      await inGroup('g1', Phase.succeeded, 1);
      await inGroup('g2', Phase.failed, 2, { failure });
      const other = await inGroup('g3', Phase.running, 3, { taskName: 'env.b' });
      const stream = runs.watchGroups({ scopeBy, startDate });
      const { taskGroups, sentinel } = await next(stream);
      expect(sentinel).to.equal(true);
      expect(taskGroups.map(({ taskName }) => taskName)).to.deep.equal(['env.b', 'env.a']);
      const [, group] = taskGroups;
      expect(group).to.include({ totalRuns: 2n, averageFailureRate: 0.5 });
      expect(group!.errorCounts).to.include({ userError: 1n, systemError: 0n });
      expect(group!.recentStatuses.map(({ runName }) => runName)).to.deep.equal(['g2', 'g1']);
      expect(group!.phaseCounts.map(({ phase, count }) => [phase, count])).to.deep.equal([
        [5, 1n],
        [6, 1n],
      ]);
      expect(group!.averageDuration!.seconds).to.equal(2n);
      await world.rows.change(other.id, 'a0', { phase: Phase.succeeded });
      const changed = await next(stream);
      expect(changed.taskGroups.map(({ taskName }) => taskName)).to.deep.equal(['env.b']);
      await stream.return(undefined);
    });

    it('says so when there are none, and ends for a span that is over', async () => {
      const endDate = { seconds: 1_767_225_601n };
      const stream = runs.watchGroups({ scopeBy, startDate, endDate });
      expect(await next(stream)).to.deep.include({ taskGroups: [], sentinel: true });
      expect((await stream.next()).done).to.equal(true);
    });
  });
});
