import { create, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import type { Attempt } from '../../../actors/action/attempt.ts';
import { Phase } from '../../../actors/action/phase.ts';
import { Code } from '../../../gateway/errors.ts';
import { LiteralSchema } from '../../../proto/gen/flyteidl2/core/literals_pb.js';
import { TraceSpecSchema } from '../../../proto/gen/flyteidl2/task/task_definition_pb.js';
import { ConditionActionSchema } from '../../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { RunService } from '../../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { type InProcess, inProcess } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { aTaskSpecInBytes } from '../specs.ts';
import { openWorld, type World } from '../world.ts';

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds)).toISOString();

describe('RunService details', () => {
  let world: World;
  let runs: InProcess<typeof RunService>;
  before(async () => {
    world = await openWorld();
    runs = inProcess(world.gateway.services, RunService);
  });
  after(() => world.close());
  const id = (run: string, name = 'a0', org = '') => ({
    run: { org, project: 'flytesnacks', domain: 'development', name: run },
    name,
  });
  const details = async (run: string, name?: string) =>
    (await runs.getActionDetails({ actionId: id(run, name) })).details!;

  const failed: Attempt = {
    attempt: 1,
    phases: [
      { phase: Phase.queued, at: at(0) },
      { phase: Phase.running, at: at(2) },
      { phase: Phase.failed, at: at(5) },
    ],
    endedAt: at(5),
    failure: { code: 'ValueError', kind: 'USER', message: 'first', recoverable: true },
    outputUri: 's3://flyte/x/a0/1',
    hasReport: true,
    pod: { name: 'pod-1', container: 'main', startedAt: at(2) },
    logUri: 's3://flyte/x/a0/1/logs/main.log',
    events: [{ at: at(1), reason: 'Scheduled', message: 'found a place' }],
  };

  it('shows each attempt with its phases, times, error, outputs, events and log', async () => {
    const second: Attempt = { attempt: 2, phases: [{ phase: Phase.queued, at: at(6) }] };
    const run = await world.rows.run({ root: { phase: Phase.queued, attempt: 2, attempts: [failed, second] } });
    const { attempts, status, result } = await details(run.name);
    expect(attempts.map(attempt => attempt.attempt)).to.deep.equal([1, 2]);
    const [first] = attempts;
    expect(first).to.include({ phase: Phase.failed, logsAvailable: true });
    expect(first!.errorInfo).to.include({ code: 'ValueError', message: 'first', kind: 1 });
    expect(first!.phaseTransitions.map(({ phase }) => phase)).to.deep.equal([
      Phase.queued,
      Phase.running,
      Phase.failed,
    ]);
    expect(timestampDate(first!.phaseTransitions[1]!.endTime!).toISOString()).to.equal(at(5));
    expect(timestampDate(first!.endTime!).toISOString()).to.equal(at(5));
    expect(first!.outputs).to.include({
      outputUri: 's3://flyte/x/a0/1/outputs.pb',
      reportUri: 's3://flyte/x/a0/1/report.html',
    });
    expect(first!.clusterEvents[0]).to.include({ reason: 'Scheduled', message: 'found a place' });
    expect(first!.logContext!.pods[0]).to.include({ podName: 'pod-1', primaryContainerName: 'main' });
    expect(attempts[1]).to.include({ phase: Phase.queued, logsAvailable: false });
    expect(status).to.include({ attempts: 2, phase: Phase.queued });
    expect(result.case).to.equal(undefined);
  });

  for (const phase of [Phase.failed, Phase.timedOut]) {
    it(`tells code, kind and message of an action in phase ${phase}`, async () => {
      const failure = { code: 'DEADLINE_EXCEEDED', kind: 'SYSTEM', message: 'late', recoverable: false } as const;
      const run = await world.rows.run({ root: { phase, failure, endedAt: new Date().toISOString() } });
      const { result, status } = await details(run.name);
      expect(result.case).to.equal('errorInfo');
      expect(result.value).to.include({ code: 'DEADLINE_EXCEEDED', message: 'late', kind: 2 });
      expect(status!.endTime).to.not.equal(undefined);
      expect(status!.durationMs).to.be.a('bigint');
    });
  }

  it('takes the error of the last attempt when the action has none of its own', async () => {
    const run = await world.rows.run({ root: { phase: Phase.failed, attempts: [failed] } });
    expect((await details(run.name)).result.value).to.include({ message: 'first' });
  });

  it('tells why and by whom an action was aborted', async () => {
    const abortBy = { user: { id: { subject: 'ann' } } };
    const run = await world.rows.run({ root: { phase: Phase.aborted, abortReason: 'enough', abortBy } });
    const { result } = await details(run.name);
    expect(result.case).to.equal('abortInfo');
    expect(result.value).to.deep.include({ reason: 'enough' });
    expect(JSON.stringify(result.value)).to.contain('ann');
  });

  it('shows the declared type of a condition, and its answer with who gave it', async () => {
    const run = await world.rows.run();
    const condition = create(ConditionActionSchema, {
      name: 'go',
      prompt: 'ready?',
      type: { type: { case: 'simple', value: 4 } },
    });
    const value = toBinary(LiteralSchema, create(LiteralSchema, { hash: 'yes' }));
    const spec = toBinary(ConditionActionSchema, condition);
    const seed = { type: 3, spec, value, signalledBy: { user: { id: { subject: 'bob' } } }, phase: Phase.succeeded };
    await world.rows.action(run.id, { name: 'cond', ...seed });
    const shown = await details(run.name, 'cond');
    expect(shown.spec.case).to.equal('condition');
    expect(shown.metadata!.spec).to.deep.include({ case: 'condition' });
    expect(JSON.stringify(shown.metadata!.spec.value)).to.contain('"go"').and.contain('"simple"');
    expect(shown.result.case).to.equal('signalInfo');
    expect(JSON.stringify(shown.result.value)).to.contain('bob').and.contain('yes');
    expect(shown.attempts).to.deep.equal([]);
    const { outputs } = await runs.getActionData({ actionId: id(run.name, 'cond') });
    expect(outputs!.literals[0]).to.deep.include({ name: 'o0' });
  });

  it('carries the spec of tasks and traces', async () => {
    const run = await world.rows.run({ root: { spec: aTaskSpecInBytes(), taskName: 'env.main', taskVersion: 'v1' } });
    const spec = toBinary(TraceSpecSchema, create(TraceSpecSchema, { interface: {} }));
    await world.rows.action(run.id, { name: 'trace', type: 2, spec, functionName: 'f' });
    const root = await details(run.name);
    expect(root.spec.case).to.equal('task');
    expect(root.metadata!.spec.value).to.deep.include({ shortName: 'main' });
    expect((await details(run.name, 'trace')).spec.case).to.equal('trace');
  });

  it('says where the result of a recovered action comes from', async () => {
    const run = await world.rows.run();
    const seed = { phase: Phase.recovered, recoveredFrom: { run: 'old', action: 'c' } };
    await world.rows.action(run.id, { name: 'c', ...seed });
    const { recoveredFrom } = (await details(run.name, 'c')).metadata!;
    expect(recoveredFrom).to.deep.include({ name: 'c' });
    expect(recoveredFrom!.run).to.include({ name: 'old', project: 'flytesnacks' });
  });

  it('shows the trigger of a run at its root', async () => {
    const run = await world.rows.run({ trigger: { name: 'nightly', taskName: 'env.main', revision: 2 } });
    const { metadata } = await details(run.name);
    expect(metadata!.triggerName).to.equal('nightly');
    expect(metadata!.triggerId).to.deep.include({ revision: 2n });
  });

  it('finds a run whatever organisation the caller names, and echoes it', async () => {
    const run = await world.rows.run();
    for (const org of ['', '127', 'acme']) {
      const { details: shown } = await runs.getRunDetails({ runId: id(run.name, 'a0', org).run });
      expect(shown!.action!.id!.run!.org).to.equal(org);
      expect(shown!.runSpec).to.not.equal(undefined);
    }
  });

  it('knows nothing of runs and actions that do not exist, and asks for what is left out', async () => {
    const run = await world.rows.run();
    const missing = [
      () => runs.getRunDetails({ runId: id('no-such-run').run }),
      () => runs.getActionDetails({ actionId: id(run.name, 'nobody') }),
      () => runs.getActionDataURIs({ actionId: id(run.name, 'nobody') }),
      () => runs.abortRun({ runId: id('no-such-run').run }),
      () => runs.abortAction({ actionId: id(run.name, 'nobody') }),
      () => runs.getActionLogContext({ actionId: id(run.name), attempt: 1 }),
    ];
    for (const call of missing) expect((await rejection(call())).code).to.equal(Code.NotFound);
    const empty = [
      () => runs.getRunDetails({}),
      () => runs.getActionDetails({}),
      () => runs.abortRun({}),
      () => runs.listActions({}),
    ];
    for (const call of empty) expect((await rejection(call())).code).to.equal(Code.InvalidArgument);
  });

  it('names the pod of an attempt, of the latest when none is named', async () => {
    const run = await world.rows.run({ root: { attempts: [failed] } });
    for (const attempt of [0, 1]) {
      const { logContext } = await runs.getActionLogContext({ actionId: id(run.name), attempt });
      expect(logContext!.primaryPodName).to.equal('pod-1');
    }
  });

  it('names outputs only of a success: in the folder of a task, as given by a trace', async () => {
    const run = await world.rows.run({
      root: { phase: Phase.running, inputUri: 's3://i/inputs.pb', outputUri: 's3://o/1' },
    });
    const uris = (name: string) => runs.getActionDataURIs({ actionId: id(run.name, name) });
    expect(await uris('a0')).to.include({ inputsUri: 's3://i/inputs.pb', outputsUri: '' });
    await world.rows.change(run.id, 'a0', { phase: Phase.succeeded });
    expect(await uris('a0')).to.include({ outputsUri: 's3://o/1/outputs.pb' });
    await world.rows.action(run.id, { name: 't', type: 2, phase: Phase.succeeded, outputUri: 's3://o/t.pb' });
    expect(await uris('t')).to.include({ outputsUri: 's3://o/t.pb' });
  });
});
