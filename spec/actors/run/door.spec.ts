import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { Phase } from '../../../actors/action/phase.ts';
import { RelationType } from '../../../proto/gen/flyteidl2/common/run_pb.js';
import { LiteralSchema } from '../../../proto/gen/flyteidl2/core/literals_pb.js';
import { SimpleType } from '../../../proto/gen/flyteidl2/core/types_pb.js';
import { ConditionActionSchema } from '../../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { eventually } from '../../support/eventually.ts';
import { domain, EngineBench, project } from './engine-bench.ts';

const ada = { user: { id: { subject: 'ada' } } };

describe('the doors of the engine', () => {
  let engine: EngineBench;
  before(async () => {
    engine = await EngineBench.open();
  });
  after(() => engine.close());

  const path = (run: string, action = 'a0') => ({ project, domain, run, action });

  describe('createRun', () => {
    it('brings run and root into being and wakes the root', async () => {
      const { runId, name, kind } = await engine.run({ type: 'core-sleep' });
      expect(kind).to.equal('created');
      expect(await engine.over(runId, 'a0')).to.include({ phase: Phase.succeeded, parent: null, depth: 0, attempt: 1 });
      await eventually(async () => {
        const rows = await engine.database.sql.query<{ state: string; output_base: string }>(
          { name: 'spec-run', text: 'select state, output_base from run where id = $1' },
          [runId],
        );
        return rows[0]!.state === 'ended' && rows[0]!.output_base === `s3://flyte/${project}/${domain}/${name}/`;
      });
    });

    it('answers the same request with the same run and another request under its name with a refusal', async () => {
      const named = { path: { project, domain, run: 'mine' }, named: true, type: 'core-sleep', sleepMs: 60_000 };
      const first = await engine.run(named);
      expect(await engine.run(named)).to.deep.equal({ kind: 'existed', runId: first.runId, name: 'mine' });
      const refused = await engine.run({ ...named, fingerprint: 'other' }).catch((error: Error) => error.message);
      expect(refused).to.equal('the name is taken');
    });

    it('lets one of many at once win the same name', async () => {
      const tries = Array.from({ length: 8 }, (_, index) =>
        engine
          .run({ path: { project, domain, run: 'raced' }, named: true, fingerprint: `f${index}`, type: 'core-sleep' })
          .then(
            () => 'won',
            () => 'refused',
          ),
      );
      expect((await Promise.all(tries)).filter(result => result === 'won')).to.have.length(1);
    });

    it('draws another name when the drawn one is taken', async () => {
      await engine.run({ path: { project, domain, run: 'r10' }, named: true, type: 'core-sleep' }).catch(() => {});
      const names = new Set<string>();
      for (let index = 0; index < 12; index++) names.add((await engine.run({ type: 'core-sleep' })).name);
      expect(names.size).to.equal(12);
    });
  });

  describe('enqueue', () => {
    it('takes hundreds at once, each exactly once, and they all end', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const inputs = await engine.duration(0);
      const commands = Array.from({ length: 300 }, (_, index) => engine.leaf(name, `c${index % 250}`, inputs));
      const results = await Promise.all(commands.map(command => engine.door.enqueue(command)));
      expect(results.filter(({ kind }) => kind === 'accepted')).to.have.length(250);
      expect(results.filter(({ kind }) => kind === 'existed')).to.have.length(50);
      await eventually(async () => {
        const leaves = [...(await engine.actions(runId)).values()].filter(action => action.parent === 'a0');
        return leaves.length === 250 && leaves.every(leaf => leaf.phase === Phase.succeeded && leaf.depth === 1);
      });
    });

    it('names what is missing', async () => {
      const { name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const inputs = await engine.duration(0);
      expect(await engine.door.enqueue(engine.leaf('rnone', 'c1', inputs))).to.deep.equal({ kind: 'run-unknown' });
      const orphan = engine.leaf(name, 'c1', inputs, { parent: 'nobody' });
      expect(await engine.door.enqueue(orphan)).to.deep.equal({ kind: 'parent-unknown' });
    });

    it('refuses children of what is over', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep' });
      await engine.over(runId, 'a0');
      const result = await engine.door.enqueue(engine.leaf(name, 'c1', await engine.duration(0)));
      expect(result.kind).to.equal('parent-over');
    });

    it('fails a leaf whose inputs are missing or corrupt, with the reason, and nothing else', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      await engine.store.put('s3://flyte/corrupt/inputs.pb', new TextEncoder().encode('\u00ff\u00ffno protobuf'));
      await engine.door.enqueue(engine.leaf(name, 'gone', 's3://flyte/gone/inputs.pb'));
      await engine.door.enqueue(engine.leaf(name, 'corrupt', 's3://flyte/corrupt/inputs.pb'));
      await engine.door.enqueue(engine.leaf(name, 'good', await engine.duration(0)));
      expect((await engine.over(runId, 'gone')).failure?.message).to.contain('s3://flyte/gone/inputs.pb');
      expect((await engine.over(runId, 'corrupt')).failure?.message).to.contain('corrupt');
      expect((await engine.over(runId, 'good')).phase).to.equal(Phase.succeeded);
    });

    it('records a trace at once, terminal, and a failed one with the error it left', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const trace = {
        path: path(name, 't1'),
        parent: 'a0',
        group: null,
        inputUri: 's3://flyte/t1/inputs.pb',
        spec: {
          kind: 'trace' as const,
          traceSpec: new Uint8Array(),
          name: 'traced',
          phase: Phase.succeeded,
          startedAt: new Date(Date.now() - 1000),
          endedAt: new Date(),
          outputUri: 's3://flyte/t1/outputs.pb',
        },
      };
      expect(await engine.door.enqueue(trace)).to.deep.equal({ kind: 'accepted' });
      expect(await engine.door.enqueue(trace)).to.deep.equal({ kind: 'existed' });
      const failed = { ...trace, path: path(name, 't2'), spec: { ...trace.spec, phase: Phase.failed, outputUri: '' } };
      await engine.door.enqueue(failed);
      const actions = await engine.actions(runId);
      expect(actions.get('t1')).to.include({
        phase: Phase.succeeded,
        output_uri: 's3://flyte/t1/outputs.pb',
        stage: 'done',
      });
      expect(actions.get('t2')).to.include({ phase: Phase.failed });
      expect(actions.get('t2')!.failure).to.include({ code: 'TraceFailed' });
    });
  });

  describe('abort', () => {
    it('reaches every descendant with reason and identity, and the parent ends last (I6)', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const long = await engine.duration(600_000);
      for (const [child, parent] of [
        ['c1', 'a0'],
        ['c2', 'c1'],
        ['c3', 'c2'],
      ] as const) {
        expect(await engine.door.enqueue(engine.leaf(name, child, long, { parent }))).to.deep.equal({
          kind: 'accepted',
        });
      }
      expect(await engine.door.abortRun(path(name), { reason: 'enough', by: ada })).to.equal('accepted');
      await engine.over(runId, 'a0');
      for (const action of (await engine.actions(runId)).values()) {
        expect(action, action.name).to.include({ phase: Phase.aborted, abort_reason: 'enough' });
        expect(action.abort_by).to.deep.equal(ada);
      }
      expect(await engine.door.abortRun(path(name), { reason: 'again', by: null })).to.equal('over');
      expect((await engine.door.enqueue(engine.leaf(name, 'c4', long))).kind).to.equal('parent-over');
    });

    it('of one action leaves its siblings alone', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const long = await engine.duration(600_000);
      await engine.door.enqueue(engine.leaf(name, 'c1', long));
      await engine.door.enqueue(engine.leaf(name, 'c2', long));
      expect(await engine.door.abortAction(path(name, 'c1'), { reason: 'not this', by: null })).to.equal('accepted');
      expect(await engine.over(runId, 'c1')).to.include({ phase: Phase.aborted });
      expect((await engine.actions(runId)).get('c2')).to.include({ stage: 'sleeping' });
      expect(await engine.door.abortAction(path(name, 'nobody'), { reason: '', by: null })).to.equal('unknown');
    });

    it('stops the pod of a live task first', async () => {
      const { runId, name } = await engine.run();
      await eventually(async () => (await engine.executorMail(runId)).length === 1);
      await engine.door.abortRun(path(name), { reason: 'enough', by: null });
      await eventually(async () => (await engine.executorMail(runId)).length === 2);
      expect((await engine.executorMail(runId)).map(({ body }) => body.type)).to.deep.equal(['start', 'terminate']);
      expect((await engine.actions(runId)).get('a0')).to.include({ stage: 'stopping' });
    });
  });

  describe('results that exist already', () => {
    it('are used by cache key, across runs', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const cached = { cacheKey: 'key-1', cacheable: true };
      await engine.door.enqueue(engine.leaf(name, 'first', await engine.duration(0), cached));
      expect(await engine.over(runId, 'first')).to.include({ cache_status: 3 });
      await engine.door.enqueue(engine.leaf(name, 'second', await engine.duration(600_000), cached));
      expect(await engine.over(runId, 'second')).to.include({ cache_status: 2, phase: Phase.succeeded });
    });

    it('are computed once when many ask for them at once and the task serialises its calls', async () => {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const inputs = await engine.duration(300);
      const serialised = { cacheKey: 'key-2', cacheable: true, serializable: true };
      const names = ['s1', 's2', 's3', 's4'];
      await Promise.all(names.map(each => engine.door.enqueue(engine.leaf(name, each, inputs, serialised))));
      const over = await Promise.all(names.map(each => engine.over(runId, each)));
      expect(over.map(({ phase }) => phase)).to.deep.equal(names.map(() => Phase.succeeded));
      expect(over.map(action => action.cache_status).sort()).to.deep.equal([2, 2, 2, 3]);
    });

    it('are taken over by name when a run recovers another, except where it is told to run again', async () => {
      const before = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const short = await engine.duration(0);
      for (const action of ['c1', 'c2']) await engine.door.enqueue(engine.leaf(before.name, action, short));
      for (const action of ['c1', 'c2']) await engine.over(before.runId, action);
      const relation = {
        relatedTo: { org: '', project, domain, name: before.name },
        relationType: RelationType.RECOVER,
      };
      const after = await engine.run({
        type: 'core-sleep',
        sleepMs: 600_000,
        spec: { relation, recover: { forceRerunActions: ['c2'] } } as object,
      });
      for (const action of ['c1', 'c2', 'c3']) await engine.door.enqueue(engine.leaf(after.name, action, short));
      const taken = await engine.over(after.runId, 'c1');
      expect(taken).to.include({ phase: Phase.recovered });
      expect(taken.recovered_from).to.deep.equal({ run: before.name, action: 'c1' });
      expect(await engine.over(after.runId, 'c2')).to.include({ phase: Phase.succeeded });
      expect(await engine.over(after.runId, 'c3')).to.include({ phase: Phase.succeeded });
    });
  });

  describe('signal', () => {
    const literal = (value: { case: 'boolean'; value: boolean } | { case: 'stringValue'; value: string }) =>
      toBinary(
        LiteralSchema,
        create(LiteralSchema, { value: { case: 'scalar', value: { value: { case: 'primitive', value: { value } } } } }),
      );
    const yes = literal({ case: 'boolean', value: true });

    async function aCondition(timeoutMs: number | null = null) {
      const { runId, name } = await engine.run({ type: 'core-sleep', sleepMs: 600_000 });
      const condition = toBinary(
        ConditionActionSchema,
        create(ConditionActionSchema, { name: 'go', type: { type: { case: 'simple', value: SimpleType.BOOLEAN } } }),
      );
      await engine.door.enqueue({
        path: path(name, 'w1'),
        parent: 'a0',
        group: null,
        inputUri: 's3://flyte/none',
        spec: { kind: 'condition', name: 'go', condition, timeoutMs },
      });
      return { runId, name };
    }

    it('ends a paused condition with its value, whichever of two equal signals came first', async () => {
      const { runId, name } = await aCondition();
      await eventually(async () => (await engine.actions(runId)).get('w1')!.phase === Phase.paused);
      const answers = await Promise.all([1, 2].map(() => engine.door.signal(path(name, 'w1'), yes, ada)));
      expect(answers.map(({ kind }) => kind).sort()).to.deep.equal(['accepted', 'repeated']);
      expect(await engine.over(runId, 'w1')).to.include({ phase: Phase.succeeded });
      const no = literal({ case: 'boolean', value: false });
      expect(await engine.door.signal(path(name, 'w1'), no, ada)).to.deep.equal({ kind: 'other-value' });
    });

    it('is refused with the reason when it does not fit', async () => {
      const { name } = await aCondition();
      const text = literal({ case: 'stringValue', value: 'yes' });
      expect(await engine.door.signal(path(name, 'w1'), text, null)).to.deep.equal({
        kind: 'wrong-type',
        declared: 'boolean',
      });
      expect(await engine.door.signal(path(name, 'a0'), yes, null)).to.deep.equal({ kind: 'not-a-condition' });
      expect(await engine.door.signal(path(name, 'w9'), yes, null)).to.deep.equal({ kind: 'unknown' });
    });

    it('comes too late for a condition that timed out', async () => {
      const { runId, name } = await aCondition(1);
      expect(await engine.over(runId, 'w1')).to.include({ phase: Phase.timedOut });
      expect(await engine.door.signal(path(name, 'w1'), yes, null)).to.deep.equal({ kind: 'over' });
    });
  });
});
