import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { eventually } from '../support/eventually.ts';
import { actionId, createParent, createRun, enqueue, following, type RunId } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, shellTask } from './tasks.ts';

/** A client that goes in the middle of a watch must cost nothing afterwards: no subscription, no call, no generator. */
describe('acceptance: a client that leaves in the middle of', () => {
  const starling = useStarling();
  let run: RunId;
  let pod: RunId;
  before(async () => {
    run = await createParent(starling());
    await enqueue(starling(), run, 'child', {});
    pod = await createRun(starling(), shellTask('while :; do echo tick; sleep 0.2; done'));
    await following(starling(), pod, ({ status }) => status!.phase === Phase.running);
  });

  const subscriptions = () => starling().metric('starling_change_subscriptions');
  const left = (method: string) => starling().metric('starling_gateway_requests_total', { method, code: 'canceled' });

  type Open = (signal: AbortSignal) => AsyncIterable<unknown>;
  const watches: Record<string, Open> = {
    WatchActionDetails: signal => starling().runs.watchActionDetails({ actionId: actionId(run) }, { signal }),
    WatchRunDetails: signal => starling().runs.watchRunDetails({ runId: run }, { signal }),
    WatchActions: signal => starling().runs.watchActions({ runId: run }, { signal }),
    WatchRuns: signal =>
      starling().runs.watchRuns({ target: { case: 'projectId', value: { name: project, domain } } }, { signal }),
    WatchGroups: signal =>
      starling().runs.watchGroups(
        {
          scopeBy: { case: 'projectId', value: { name: project, domain } },
          startDate: timestampFromDate(new Date(0)),
        },
        { signal },
      ),
    WatchClusterEvents: signal => starling().runs.watchClusterEvents({ id: actionId(pod), attempt: 1 }, { signal }),
    WatchForUpdates: signal =>
      starling().actions.watchForUpdates({ filter: { case: 'parentActionId', value: actionId(run) } }, { signal }),
    TailLogs: signal => starling().data.tailLogs({ actionId: actionId(pod), attempt: 1 }, { signal }),
  };

  for (const [method, open] of Object.entries(watches)) {
    it(`${method} leaves nothing behind, twenty times over`, async () => {
      const [before, gone] = [await subscriptions(), await left(method)];
      const leaving = new AbortController();
      const streams = Array.from({ length: 20 }, () => open(leaving.signal)[Symbol.asyncIterator]());
      await Promise.all(streams.map(stream => stream.next()));
      expect(await subscriptions()).to.be.greaterThan(before);
      leaving.abort();
      await Promise.allSettled(streams.map(stream => stream.next()));
      await eventually(async () => (await left(method)) === gone + 20, 15_000);
      await eventually(async () => (await subscriptions()) === before, 15_000);
    });
  }

  it('a request: its handler is counted as left, not as failed', async () => {
    const leaving = new AbortController();
    const call = starling().runs.createRun({}, { signal: leaving.signal });
    leaving.abort();
    await call.then(
      () => expect.fail('it was cancelled'),
      () => undefined,
    );
    expect(await starling().metric('starling_gateway_requests_total', { code: 'internal' })).to.equal(0);
  });
});
