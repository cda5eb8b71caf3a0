import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { Phase } from '../../../actors/action/phase.ts';
import type { EnqueueAction, EnqueueResult, SignalResult } from '../../../actors/run/commands.ts';
import { Code } from '../../../gateway/errors.ts';
import {
  ActionsService,
  type WatchForUpdatesResponse,
} from '../../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { LiteralSchema } from '../../../proto/gen/flyteidl2/core/literals_pb.js';
import { type InProcess, inProcess, next, until } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { aTaskSpec } from '../specs.ts';
import { openWorld, type World } from '../world.ts';

describe('ActionsService', () => {
  let world: World;
  let actions: InProcess<typeof ActionsService>;
  const enqueued: EnqueueAction[] = [];
  let enqueueResult: EnqueueResult = { kind: 'accepted' };
  let signalResult: SignalResult = { kind: 'accepted' };
  before(async () => {
    world = await openWorld({
      door: {
        enqueue: async command => {
          enqueued.push(command);
          return enqueueResult;
        },
        signal: async () => signalResult,
        abortAction: async path =>
          path.action === 'nobody' ? 'unknown' : path.action === 'done' ? 'over' : 'accepted',
      },
    });
    actions = inProcess(world.gateway.services, ActionsService);
  });
  after(() => world.close());
  const id = (run: string, name = 'a0') => ({
    run: { org: '127', project: 'flytesnacks', domain: 'development', name: run },
    name,
  });
  const watch = (run: string, parent = 'a0', signal?: AbortSignal) =>
    actions.watchForUpdates({ filter: { case: 'parentActionId', value: id(run, parent) } }, signal);
  const isSentinel = ({ message }: WatchForUpdatesResponse) => message.case === 'controlMessage';
  const updateOf = ({ message }: WatchForUpdatesResponse) => {
    if (message.case !== 'actionUpdate') throw new Error(`got ${message.case}`);
    return message.value;
  };
  const nameOf = (message: WatchForUpdatesResponse) => updateOf(message).actionId!.name;

  describe('watchForUpdates', () => {
    it('sends every child of any kind and age, then the sentinel', async () => {
      const run = await world.rows.run();
      await world.rows.action(run.id, { name: 'task', phase: Phase.succeeded, outputUri: 's3://b/x/task/1' });
      await world.rows.action(run.id, {
        name: 'trace',
        type: 2,
        phase: Phase.succeeded,
        outputUri: 's3://b/t/outputs.pb',
      });
      await world.rows.action(run.id, { name: 'cond', type: 3, phase: Phase.paused });
      await world.rows.action(run.id, { name: 'grandchild', parent: 'task' });
      const stream = watch(run.name);
      const messages = await until(stream, isSentinel);
      expect(messages.slice(0, -1).map(nameOf)).to.deep.equal(['task', 'trace', 'cond']);
      expect(updateOf(messages[0]!)).to.include({ phase: Phase.succeeded, outputUri: 's3://b/x/task/1' });
      expect(updateOf(messages[1]!).outputUri).to.equal('s3://b/t/outputs.pb');
      expect(messages.at(-1)!.message.value).to.include({ sentinel: true });
      await stream.return(undefined);
    });

    it('sends the sentinel at once for a parent without children, known or not', async () => {
      const run = await world.rows.run();
      for (const parent of ['a0', 'unknown']) {
        const stream = watch(run.name, parent);
        expect(isSentinel(await next(stream))).to.equal(true);
        await stream.return(undefined);
      }
    });

    it('is refused for a run that does not exist', async () => {
      expect((await rejection(watch('no-such-run').next())).code).to.equal(Code.NotFound);
    });

    it('goes by project and domain, not by organisation', async () => {
      const here = await world.rows.run({ name: 'same-name' });
      await world.rows.run({ name: 'same-name', domain: 'staging' });
      await world.rows.action(here.id, { name: 'child' });
      const elsewhere = id('same-name');
      elsewhere.run.domain = 'staging';
      const stream = actions.watchForUpdates({ filter: { case: 'parentActionId', value: elsewhere } });
      expect(isSentinel(await next(stream))).to.equal(true);
      await stream.return(undefined);
    });

    it('follows each child to its end, in order (I7)', async () => {
      const run = await world.rows.run();
      const stream = watch(run.name);
      await until(stream, isSentinel);
      await world.rows.action(run.id, { name: 'c1' });
      expect(updateOf(await next(stream)).phase).to.equal(Phase.queued);
      await world.rows.change(run.id, 'c1', { phase: Phase.running });
      expect(updateOf(await next(stream)).phase).to.equal(Phase.running);
      await world.rows.change(run.id, 'c1', { phase: Phase.succeeded, outputUri: 's3://b/c1/1' });
      expect(updateOf(await next(stream))).to.include({ phase: Phase.succeeded, outputUri: 's3://b/c1/1' });
      await stream.return(undefined);
    });

    it('tells code, kind and recoverability of a failure, for a time-out too', async () => {
      const run = await world.rows.run();
      const failure = { code: 'ValueError', kind: 'USER', message: 'no', recoverable: true } as const;
      await world.rows.action(run.id, { name: 'failed', phase: Phase.failed, failure });
      const late = { code: 'MAX_RUNTIME_EXCEEDED', kind: 'USER', message: 'late', recoverable: false } as const;
      await world.rows.action(run.id, { name: 'late', phase: Phase.timedOut, failure: late });
      const stream = watch(run.name);
      const [first, second] = (await until(stream, isSentinel)).slice(0, 2).map(updateOf);
      expect(first!.error).to.include({ code: 'ValueError', message: 'no', kind: 1, recoverability: 1 });
      expect(second!.error).to.include({ code: 'MAX_RUNTIME_EXCEEDED', recoverability: 0 });
      await stream.return(undefined);
    });

    it('delivers the value of a signalled condition', async () => {
      const run = await world.rows.run();
      const literal = create(LiteralSchema, { hash: 'h' });
      await world.rows.action(run.id, {
        name: 'cond',
        type: 3,
        phase: Phase.succeeded,
        value: toBinary(LiteralSchema, literal),
      });
      const stream = watch(run.name);
      expect(updateOf(await next(stream)).value).to.include({ hash: 'h' });
      await stream.return(undefined);
    });

    it('always has an output URI, because the SDK warns its user of each update without one', async () => {
      const run = await world.rows.run();
      await world.rows.action(run.id, { name: 'queued' });
      const stream = watch(run.name);
      expect(updateOf(await next(stream)).outputUri).to.match(/^s3:\/\/flyte\/runs\/.*\/queued$/);
      await stream.return(undefined);
    });

    it('shows what changes while the snapshot is read, and never an older state after a newer one', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 2_500, 'n');
      const stream = watch(run.name);
      const seen = new Map<string, number>([[nameOf(await next(stream)), Phase.queued]]);
      // The snapshot is under way: one page is read, the others are not.
      const names = Array.from({ length: 2_500 }, (_, n) => `n${n}`);
      await world.rows.change(run.id, names, { phase: Phase.running });
      await world.rows.action(run.id, { name: 'newcomer', phase: Phase.running });
      const running = () => [...seen.values()].filter(phase => phase === Phase.running).length;
      let sentinel = false;
      while (running() < 2_501) {
        const message = await next(stream);
        if (isSentinel(message)) sentinel = true;
        else {
          expect(updateOf(message).phase).to.be.at.least(seen.get(nameOf(message)) ?? 0);
          seen.set(nameOf(message), updateOf(message).phase);
        }
      }
      expect(sentinel).to.equal(true);
      await stream.return(undefined);
    });

    it('reads the changes of many children with few statements', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 500, 'm');
      let statements = 0;
      const { query } = world.database.sql;
      world.database.sql.query = (statement, values) => {
        if (statement.name === 'watched-changes') statements++;
        return query(statement, values);
      };
      try {
        const streams = [watch(run.name), watch(run.name)];
        for (const stream of streams) await until(stream, isSentinel);
        const names = Array.from({ length: 500 }, (_, n) => `m${n}`);
        await world.rows.change(run.id, names, { phase: Phase.succeeded });
        for (const stream of streams) {
          for (const _ of names) expect(updateOf(await next(stream)).phase).to.equal(Phase.succeeded);
          await stream.return(undefined);
        }
        expect(statements).to.equal(1);
      } finally {
        world.database.sql.query = query;
      }
    });

    it('gives a slow reader the newest state of each child and every final one', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 50, 's');
      const stream = watch(run.name);
      await until(stream, isSentinel);
      for (const phase of [Phase.initializing, Phase.running, Phase.succeeded]) {
        for (let n = 0; n < 50; n++) await world.rows.change(run.id, `s${n}`, { phase });
      }
      const messages: WatchForUpdatesResponse[] = [];
      const final = new Set<string>();
      while (final.size < 50) {
        const message = await next(stream);
        messages.push(message);
        if (updateOf(message).phase === Phase.succeeded) final.add(nameOf(message));
      }
      expect(messages.length).to.be.at.most(100);
      await stream.return(undefined);
    });

    it('reads everything again when changes may have been missed', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 3, 'l');
      const stream = watch(run.name);
      await until(stream, isSentinel);
      await world.rows.query('update action set phase = 5 where run_id = $1', [run.id]);
      world.feed.lose();
      for (let n = 0; n < 3; n++) expect(updateOf(await next(stream)).phase).to.equal(Phase.succeeded);
      await stream.return(undefined);
    });

    it('ends when its caller leaves, and leaves nothing behind', async () => {
      const run = await world.rows.run();
      const before = world.feed.subscriptions;
      const gone = new AbortController();
      const stream = watch(run.name, 'a0', gone.signal);
      await until(stream, isSentinel);
      expect(world.feed.subscriptions).to.equal(before + 1);
      const rest = stream.next();
      gone.abort();
      expect((await rest).done).to.equal(true);
      expect(world.feed.subscriptions).to.equal(before);
    });

    it('carries 50,000 finished children', async () => {
      const run = await world.rows.run();
      await world.rows.actions(run.id, 50_000, 'k');
      const stream = watch(run.name);
      expect(await until(stream, isSentinel)).to.have.length(50_001);
      await stream.return(undefined);
    });
  });

  describe('enqueue', () => {
    const task = (change: object = {}) => ({
      actionId: id('r1', 'child1'),
      parentActionName: 'a0',
      inputUri: 's3://b/child1/inputs.pb',
      runOutputBase: 's3://b/',
      spec: {
        case: 'task' as const,
        value: { id: aTaskSpec().taskTemplate!.id, spec: aTaskSpec(), cacheKey: 'key' },
      },
      ...change,
    });

    it('hands the task, its identity, group and cache key to the engine', async () => {
      await actions.enqueue({ action: task({ group: 'g' }) as never });
      expect(enqueued.at(-1)).to.deep.include({ parent: 'a0', group: 'g', inputUri: 's3://b/child1/inputs.pb' });
      expect(enqueued.at(-1)!.spec).to.deep.include({
        kind: 'task',
        cacheKey: 'key',
        task: { project: 'flytesnacks', domain: 'development', name: 'env.main', version: 'v1' },
      });
    });

    it('records a trace with its times, and a condition with its time-out', async () => {
      const trace = {
        case: 'trace',
        value: {
          name: 'f',
          phase: Phase.failed,
          startTime: { seconds: 10n },
          endTime: { seconds: 11n },
          outputs: { outputUri: 'u' },
        },
      };
      await actions.enqueue({ action: task({ spec: trace }) as never });
      expect(enqueued.at(-1)!.spec).to.deep.include({
        kind: 'trace',
        phase: Phase.failed,
        startedAt: new Date(10_000),
        outputUri: 'u',
      });
      const type = { type: { case: 'simple', value: 4 } };
      const condition = { case: 'condition', value: { name: 'go', type, timeout: { seconds: 3n } } };
      await actions.enqueue({ action: task({ spec: condition }) as never });
      expect(enqueued.at(-1)!.spec).to.deep.include({ kind: 'condition', name: 'go', timeoutMs: 3_000 });
    });

    for (const [what, change] of Object.entries({
      'no action': undefined,
      'a name with capitals': { actionId: id('r1', 'Child') },
      'a name of 31 characters': { actionId: id('r1', 'x'.repeat(31)) },
      'no parent': { parentActionName: undefined },
      'itself as its parent': { parentActionName: 'child1' },
      'no inputs': { inputUri: '' },
      'no spec': { spec: { case: undefined } },
      'a task without template': { spec: { case: 'task', value: { spec: {} } } },
      'a trace that is not over': { spec: { case: 'trace', value: { name: 'f', phase: Phase.running } } },
      'a condition of an unusable type': { spec: { case: 'condition', value: { name: 'c', type: {} } } },
    })) {
      it(`refuses ${what} as an invalid argument, naming the field`, async () => {
        const request = change === undefined ? {} : { action: task(change) as never };
        const error = await rejection(actions.enqueue(request));
        expect(error.code).to.equal(Code.InvalidArgument);
        expect(error.message).to.match(/^action/);
      });
    }

    for (const [result, code] of [
      [{ kind: 'existed' }, Code.AlreadyExists],
      [{ kind: 'run-unknown' }, Code.NotFound],
      [{ kind: 'parent-unknown' }, Code.NotFound],
      [{ kind: 'parent-over', reason: 'the run is being aborted' }, Code.Aborted],
    ] as const) {
      it(`answers ${Code[code]} when the engine says ${result.kind}`, async () => {
        enqueueResult = result;
        try {
          const error = await rejection(actions.enqueue({ action: task() as never }));
          expect(error.code).to.equal(code);
          if (result.kind === 'parent-over') expect(error.message).to.contain(result.reason);
        } finally {
          enqueueResult = { kind: 'accepted' };
        }
      });
    }
  });

  it('aborts an action once or many times, and knows those that never were', async () => {
    await actions.abort({ actionId: id('r1', 'live') });
    await actions.abort({ actionId: id('r1', 'done') });
    expect((await rejection(actions.abort({ actionId: id('r1', 'nobody') }))).code).to.equal(Code.NotFound);
  });

  describe('signal', () => {
    const value = {
      value: {
        case: 'scalar',
        value: { value: { case: 'primitive', value: { value: { case: 'boolean', value: true } } } },
      },
    };
    for (const [result, code] of [
      [{ kind: 'unknown' }, Code.NotFound],
      [{ kind: 'not-a-condition' }, Code.FailedPrecondition],
      [{ kind: 'other-value' }, Code.FailedPrecondition],
      [{ kind: 'over' }, Code.FailedPrecondition],
      [{ kind: 'wrong-type', declared: 'integer' }, Code.InvalidArgument],
    ] as const) {
      it(`answers ${Code[code]} when the engine says ${result.kind}`, async () => {
        signalResult = result;
        const request = { actionId: id('r1', 'cond'), parentActionName: 'a0', value: value as never };
        expect((await rejection(actions.signal(request))).code).to.equal(code);
      });
    }

    it('takes the same answer again, and refuses what is no primitive', async () => {
      signalResult = { kind: 'repeated' };
      const request = { actionId: id('r1', 'cond'), parentActionName: 'a0' };
      await actions.signal({ ...request, value: value as never });
      expect((await rejection(actions.signal({ ...request, value: {} }))).code).to.equal(Code.InvalidArgument);
    });
  });
});
