import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import type { ActionDetails } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { eventually } from '../support/eventually.ts';
import { gather } from './gather.ts';
import { actionId, createRun, ended, freshName, runId } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask, textInputs, waitFor } from './tasks.ts';

/** The life of one run as its watchers, its readers of logs and its readers of data see it. */
describe('acceptance: the life of a run', function () {
  this.timeout(60_000);
  const starling = useStarling();
  const scope = { case: 'projectId' as const, value: { name: project, domain } };

  it('from creation to its end, in every watch', async () => {
    const name = freshName();
    const id = runId(name);
    const gate = path.join(starling().server.dataDir, name);
    const leaving = new AbortController();
    const { signal } = leaving;
    const task = shellTask(
      `echo hello; until [ -e '${gate}' ]; do sleep 0.05; done; echo bye; tr a-z A-Z < /var/inputs/word > /var/outputs/loud`,
      { name: `life.${name}`, inputs: ['word'], outputs: ['loud'] },
    );
    const runsSeen = gather(starling().runs.watchRuns({ target: scope }, { signal }), ({ runs }) =>
      runs.filter(run => run.action!.id!.run!.name === name).map(run => run.action!.status!.phase),
    );
    const groupsSeen = gather(
      starling().runs.watchGroups({ scopeBy: scope, startDate: timestampFromDate(new Date(0)) }, { signal }),
      ({ taskGroups }) => taskGroups.filter(group => group.taskName === `life.${name}`),
    );
    await starling().runs.createRun({
      id: { case: 'runId', value: id },
      task: { case: 'taskSpec', value: task },
      inputWrapper: { case: 'inputs', value: textInputs({ word: 'quiet' }) },
      runSpec: { labels: { values: { life: name } }, envs: { values: [{ key: 'A', value: 'b' }] } },
    });

    const watchers = [
      gather(starling().runs.watchActionDetails({ actionId: actionId(id) }), ({ details }) => [details!]),
      gather(starling().runs.watchActionDetails({ actionId: actionId(id) }), ({ details }) => [details!]),
    ];
    const runDetails = gather(starling().runs.watchRunDetails({ runId: id }), ({ details }) => [details!]);
    const tree = gather(starling().runs.watchActions({ runId: id }, { signal }), ({ enrichedActions }) =>
      enrichedActions.map(({ action }) => action!.status!.phase),
    );
    const events = gather(starling().runs.watchClusterEvents({ id: actionId(id), attempt: 1 }), ({ clusterEvents }) =>
      clusterEvents.map(({ message }) => message),
    );
    await watchers[0]!.until(({ status }) => status!.phase === Phase.running);
    const log = gather(starling().data.tailLogs({ actionId: actionId(id), attempt: 1 }), ({ logs }) =>
      logs.flatMap(({ lines }) => lines.map(({ message }) => message)),
    );
    await log.until(line => line === 'hello\n');
    expect(log.seen).not.to.include('bye\n');
    await writeFile(gate, '');

    for (const watcher of watchers) await watcher.ended;
    const details = watchers[0]!.seen.at(-1)!;
    expect(details.status!.phase).to.equal(Phase.succeeded);
    const phases = watchers[1]!.seen.map(({ status }) => status!.phase);
    expect(phases, 'phases only go forward').to.deep.equal([...phases].sort((a, b) => a - b));
    expect(watchers[0]!.seen[0]!.status!.phase, 'the first message comes at once').to.be.lessThan(Phase.succeeded);
    coherent(details);

    await runDetails.ended;
    const last = runDetails.seen.at(-1)!;
    expect(last.action!.status!.phase).to.equal(Phase.succeeded);
    expect(last.runSpec!.labels!.values).to.deep.equal({ life: name });
    expect(last.runSpec!.envs!.values.map(({ key, value }) => [key, value])).to.deep.include(['A', 'b']);

    await log.ended;
    expect(log.seen).to.deep.equal(['hello\n', 'bye\n']);
    await events.ended;
    expect(events.seen.length).to.be.greaterThan(0);
    expect(new Set(events.seen).size, 'each event once').to.equal(events.seen.length);

    const { inputs, outputs, inputsUri, outputsUri } = await starling().data.getActionData({ actionId: actionId(id) });
    expect(inputs!.literals.map(literal => literal.name)).to.deep.equal(['word']);
    expect(JSON.stringify(outputs!.literals[0]!.value)).to.include('QUIET');
    expect(inputsUri).to.match(/\/inputs\.pb$/);
    expect(outputsUri).to.match(/\/a0\/1\/outputs\.pb$/);

    await runsSeen.until(phase => phase === Phase.succeeded);
    await groupsSeen.until(
      ({ totalRuns, recentStatuses }) => totalRuns === 1n && recentStatuses[0]?.phase === Phase.succeeded,
    );
    await tree.until(phase => phase === Phase.succeeded);
    leaving.abort();

    // Whoever comes late sees the end at once, and the log as it was.
    const late = gather(starling().runs.watchActionDetails({ actionId: actionId(id) }), ({ details }) => [details!]);
    await late.ended;
    expect(late.seen.map(({ status }) => status!.phase)).to.deep.equal([Phase.succeeded]);
    const lateLog = gather(starling().data.tailLogs({ actionId: actionId(id), attempt: 1 }), ({ logs }) =>
      logs.flatMap(({ lines }) => lines.map(({ message }) => message)),
    );
    await lateLog.ended;
    expect(lateLog.seen).to.deep.equal(['hello\n', 'bye\n']);
  });

  it('to its abort: last words are kept, watchers are told who and why', async () => {
    const id = await createRun(
      starling(),
      shellTask('trap "echo last words; exit 0" TERM; echo up; while :; do sleep 0.05; done'),
    );
    const watcher = gather(starling().runs.watchActionDetails({ actionId: actionId(id) }), ({ details }) => [details!]);
    await watcher.until(({ status }) => status!.phase === Phase.running);
    const log = gather(starling().data.tailLogs({ actionId: actionId(id), attempt: 1 }), ({ logs }) =>
      logs.flatMap(({ lines }) => lines.map(({ message }) => message)),
    );
    await log.until(line => line === 'up\n');
    await starling().runs.abortRun({ runId: id, reason: 'lunch' });
    await watcher.ended;
    const details = watcher.seen.at(-1)!;
    expect(details.status!.phase).to.equal(Phase.aborted);
    expect(details.result.case === 'abortInfo' && details.result.value.reason).to.equal('lunch');
    expect(details.result.case === 'abortInfo' && details.result.value.abortedBy).not.to.equal(undefined);
    coherent(details);
    await log.ended;
    expect(log.seen).to.deep.equal(['up\n', 'last words\n']);
  });

  it('in the order of its waiting: more runs than slots all end, and say what they wait for', async () => {
    const gate = path.join(starling().server.dataDir, freshName());
    const ids = await Promise.all(Array.from({ length: 20 }, () => createRun(starling(), waitFor(gate))));
    const waiting = await eventually(async () => {
      const { runs } = await starling().runs.listRuns({
        scopeBy: scope,
        request: { limit: 1000, filters: [{ field: 'phase', values: ['WAITING_FOR_RESOURCES'] }] },
      });
      expect(runs.length).to.be.at.least(12);
      return runs;
    });
    const { details } = await starling().runs.getActionDetails({ actionId: actionId(waiting[0]!.action!.id!.run!) });
    expect(details!.attempts[0]!.clusterEvents.map(({ message }) => message).join()).to.match(/slot|room/);
    await writeFile(gate, '');
    const all = await Promise.all(ids.map(id => ended(starling(), id)));
    expect(all.map(({ status }) => status!.phase)).to.deep.equal(ids.map(() => Phase.succeeded));
  });

  it('with a log larger than anybody reads at once', async () => {
    const id = await createRun(
      starling(),
      shellTask('i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done'),
    );
    await ended(starling(), id);
    const lines: string[] = [];
    for await (const { logs } of starling().data.tailLogs({ actionId: actionId(id), attempt: 1 })) {
      for (const log of logs) lines.push(...log.lines.map(({ message }) => message));
    }
    expect(lines.length).to.equal(20_000);
    expect(lines.every((line, index) => line === `line ${index}\n`)).to.equal(true);
  });

  it('with output that is no text', async () => {
    const id = await createRun(starling(), shellTask(`printf 'a\\377b\\n\\000c\\nno newline at the end'`));
    await ended(starling(), id);
    const lines: string[] = [];
    for await (const { logs } of starling().data.tailLogs({ actionId: actionId(id), attempt: 1 })) {
      for (const log of logs) lines.push(...log.lines.map(({ message }) => message));
    }
    expect(lines.length).to.equal(3);
    expect(lines[2]).to.equal('no newline at the end\n');
  });
});

/** What must hold of any action that is over. */
function coherent({ status, attempts }: ActionDetails): void {
  const { startTime, endTime, durationMs, phase, attempts: count } = status!;
  expect(timestampDate(endTime!).getTime()).to.be.at.least(timestampDate(startTime!).getTime());
  expect(Number(durationMs)).to.be.within(
    0,
    timestampDate(endTime!).getTime() - timestampDate(startTime!).getTime() + 1,
  );
  expect(attempts).to.have.length(count);
  const last = attempts.at(-1)!;
  expect(last.phase).to.equal(phase);
  const moments = last.phaseTransitions.map(transition => timestampDate(transition.startTime!).getTime());
  expect(moments).to.deep.equal([...moments].sort((a, b) => a - b));
  expect(last.phaseTransitions.at(-1)!.phase).to.equal(phase);
}
