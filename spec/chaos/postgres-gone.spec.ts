import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { ActionsService } from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { ProjectService } from '../../proto/gen/flyteidl2/project/project_service_pb.js';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { BenchClient } from '../bench/connect-client.ts';
import { eventually } from '../support/eventually.ts';
import { type PostgresServer, startPostgresServer } from '../support/postgres-server.ts';
import { type Server, startServer } from '../support/server.ts';
import { type LeavesJob, startLeaves } from './leaves-job.ts';
import { startTree } from './tree-job.ts';

const AWAY_MS = 10_000;
const ANSWER_WITHIN_MS = 8_000;

/** The database goes away for ten seconds: requests fail typed, work resumes by itself (issue 3, "Bad input and failure"). */
describe('a Postgres that is away', () => {
  let postgres: PostgresServer;
  let server: Server;
  let client: BenchClient;
  let leaves: LeavesJob | undefined;
  before(async () => {
    postgres = await startPostgresServer();
    server = await startServer({ env: { STARLING_DATABASE_URL: postgres.url } });
    server.databaseUrl = async () => postgres.url;
    client = new BenchClient(server.endpoint);
  });
  after(async () => {
    leaves?.close();
    client?.close();
    await server?.stop();
    await postgres?.close();
  });

  it('costs time only: requests are answered `unavailable`, a tree of tasks and sleeping leaves end well', async () => {
    const job = await startTree(server, { paceSeconds: 2 });
    leaves = await startLeaves([server.endpoint], 4_000);
    await leaves.enqueue(200);
    await job.marked('begin', 4);
    await postgres.stop();
    const awayAt = performance.now();

    const project = { organization: '', name: 'flytesnacks', domain: 'development' };
    const runId = { org: '', project: 'flytesnacks', domain: 'development', name: job.run };
    // Streams are patient: they begin when the database is back, or end as `unavailable` (gateway/watch/patience.ts).
    const watches = Promise.all([
      outcome(first(client.follow(RunService.method.watchRunDetails, { runId }))),
      outcome(
        first(
          client.follow(ActionsService.method.watchForUpdates, {
            filter: { case: 'parentActionId', value: { run: runId, name: 'a0' } },
          }),
        ),
      ),
    ]);
    const answers = await Promise.all([
      outcome(client.call(RunService.method.listRuns, { scopeBy: { case: 'projectId', value: project } })),
      outcome(client.call(RunService.method.getRunDetails, { runId })),
      outcome(client.call(RunService.method.abortRun, { runId, reason: 'not now' })),
      outcome(client.call(ProjectService.method.getProject, { id: 'flytesnacks' })),
    ]);
    for (const { words, afterMs } of answers) {
      expect(words).to.include('unavailable');
      expect(afterMs, words).to.be.lessThan(ANSWER_WITHIN_MS);
    }
    expect((await fetch(`http://${server.endpoint}/readyz`)).status).to.equal(503);
    expect((await fetch(`http://${server.endpoint}/healthz`)).status).to.equal(200);

    const more = leaves.enqueue(100);
    await sleep(Math.max(0, AWAY_MS - (performance.now() - awayAt)));
    await postgres.start();
    await eventually(async () => (await fetch(`http://${server.endpoint}/readyz`)).ok, 15_000);
    await more;
    await leaves.seenAll();
    for (const { words } of await watches) expect(words).to.match(/it succeeded|unavailable/);
    const unexpected = leaves.interruptions.filter(words => !words.includes('unavailable'));
    expect(unexpected, 'how watches broke').to.deep.equal([]);
    await client.call(RunService.method.abortRun, {
      runId: { org: '', project: 'flytesnacks', domain: 'development', name: leaves.run },
      reason: 'done',
    });
    await job.client.done();
    await leaves.expectAllOnce({ databaseUrl: postgres.url, podsDir: `${server.dataDir}/pods` });
    await job.expectSuccess({ once: true });
  });
});

interface Outcome {
  readonly words: string;
  readonly afterMs: number;
}

/** How a call failed, and after how long. */
async function outcome(call: Promise<unknown>): Promise<Outcome> {
  const askedAt = performance.now();
  const words = await call.then(
    () => 'it succeeded',
    (error: Error) => error.message,
  );
  return { words, afterMs: performance.now() - askedAt };
}

async function first<T>(stream: AsyncGenerator<T>): Promise<T | undefined> {
  for await (const message of stream) return message;
  return undefined;
}
