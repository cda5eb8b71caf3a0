import { expect } from 'chai';
import pino from 'pino';
import { Phase } from '../../../actors/action/phase.ts';
import { migrate } from '../../../db/migrate.ts';
import { Code } from '../../../gateway/errors.ts';
import { ActionsService } from '../../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { RunService } from '../../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { type PostgresServer, startPostgresServer } from '../../support/postgres-server.ts';
import { inProcess, next, until } from '../in-process.ts';
import { rejection } from '../rejection.ts';
import { openWorld, type World } from '../world.ts';

describe('a gateway whose Postgres goes away and comes back', () => {
  let postgres: PostgresServer;
  let world: World;
  before(async function () {
    this.timeout(60_000);
    postgres = await startPostgresServer();
    await migrate({ url: postgres.url, log: pino({ level: 'silent' }) });
    world = await openWorld({ url: postgres.url });
  });
  after(async () => {
    await world.close();
    await postgres.close();
  });

  it('fails requests typed, and keeps watches, which see everything afterwards', async function () {
    this.timeout(60_000);
    const runs = inProcess(world.gateway.services, RunService);
    const actions = inProcess(world.gateway.services, ActionsService);
    const run = await world.rows.run();
    await world.rows.action(run.id, { name: 'c1' });
    const runId = { project: 'flytesnacks', domain: 'development', name: run.name };
    const root = { run: runId, name: 'a0' };

    const children = actions.watchForUpdates({ filter: { case: 'parentActionId', value: root } });
    await until(children, ({ message }) => message.case === 'controlMessage');
    const details = runs.watchActionDetails({ actionId: root });
    await next(details);
    const tree = runs.watchActions({ runId });
    await next(tree);

    await postgres.stop();
    const refused = await rejection(runs.listRuns({}));
    expect(refused.code).to.equal(Code.Unavailable);
    expect(refused.message).to.contain('try again');
    const waiting = [next(children), next(details), next(tree)] as const;
    const late = next(runs.watchRunDetails({ runId }));
    world.feed.tell(run.id, 'a0', 'c1');
    await postgres.start();

    await world.rows.change(run.id, ['a0', 'c1'], { phase: Phase.succeeded });
    const isOver = (phase: number | undefined) => phase === Phase.succeeded;
    const [child, detail, node] = await Promise.all(waiting);
    const childPhase = (message: typeof child) =>
      message.message.case === 'actionUpdate' ? message.message.value.phase : undefined;
    if (!isOver(childPhase(child))) await until(children, message => isOver(childPhase(message)));
    if (!isOver(detail.details!.status!.phase)) await until(details, it => isOver(it.details!.status!.phase));
    const nodePhase = (message: typeof node) => message.enrichedActions[0]?.action?.status?.phase;
    if (!isOver(nodePhase(node))) await until(tree, message => isOver(nodePhase(message)));
    expect((await late).details!.action!.id!.name).to.equal('a0');
    for (const stream of [children, details, tree]) await stream.return(undefined);
  });
});
