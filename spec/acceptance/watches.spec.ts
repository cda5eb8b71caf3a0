import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { isTerminal, Phase } from '../../actors/action/phase.ts';
import {
  WatchForUpdatesRequestSchema,
  type WatchForUpdatesResponse,
  WatchForUpdatesResponseSchema,
} from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { eventually } from '../support/eventually.ts';
import { gather } from './gather.ts';
import { actionId, type Child, createParent, ended, enqueue, first, type RunId, uploadInputs } from './run.ts';
import { useStarling } from './starling.ts';
import { shellTask, sleepInputs } from './tasks.ts';

describe('acceptance: watches over many', function () {
  this.timeout(120_000);
  const starling = useStarling();
  let leaf: Child;
  let forever: Child;
  before(async () => {
    leaf = { inputUri: await uploadInputs(starling(), sleepInputs(0)) };
    forever = { inputUri: await uploadInputs(starling(), sleepInputs(600_000)) };
  });

  const watch = (run: RunId, parent = 'a0', signal?: AbortSignal) =>
    starling().actions.watchForUpdates(
      { filter: { case: 'parentActionId', value: actionId(run, parent) } },
      signal === undefined ? {} : { signal },
    );
  const snapshot = async (run: RunId) => {
    const seen = new Map<string, number>();
    const leaving = new AbortController();
    try {
      for await (const { message } of watch(run, 'a0', leaving.signal)) {
        if (message.case === 'controlMessage') return seen;
        if (message.case === 'actionUpdate') seen.set(message.value.actionId!.name, message.value.phase);
      }
    } finally {
      leaving.abort();
    }
    throw new Error('the watch ended');
  };
  const fanOut = async (run: RunId, count: number, child: Child, prefix = 'c') => {
    let next = 0;
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        while (next < count) await enqueue(starling(), run, `${prefix}${next++}`, child);
      }),
    );
  };

  describe('a thousand children', () => {
    let run: RunId;
    let live: { readonly phases: Map<string, number[]>; readonly leaving: AbortController };
    before(async () => {
      run = await createParent(starling());
      const leaving = new AbortController();
      const phases = new Map<string, number[]>();
      live = { phases, leaving };
      gather(watch(run, 'a0', leaving.signal), ({ message }) => {
        if (message.case !== 'actionUpdate') return [];
        const { actionId, phase } = message.value;
        phases.set(actionId!.name, [...(phases.get(actionId!.name) ?? []), phase]);
        return [];
      }).ended.catch(() => undefined);
      await fanOut(run, 1_000, leaf);
    });
    after(() => live.leaving.abort());

    it('all reach a watch that was there before, each in order and to its end', async () => {
      await eventually(
        () => live.phases.size === 1_000 && [...live.phases.values()].every(seen => isTerminal(seen.at(-1)!)),
        60_000,
      );
      for (const [name, seen] of live.phases) {
        expect(seen, name).to.deep.equal([...seen].sort((a, b) => a - b));
        expect(seen.at(-1), name).to.equal(Phase.succeeded);
      }
    });

    it('all are in the snapshot of whoever comes late or again, before the sentinel, and quickly', async () => {
      for (let time = 0; time < 3; time++) {
        const began = performance.now();
        const seen = await snapshot(run);
        // The SDK holds its first call back for at most 5 s (sdk.md §5.6).
        expect(performance.now() - began).to.be.below(4_000);
        expect(seen.size).to.equal(1_000);
        expect([...seen.values()].every(phase => phase === Phase.succeeded)).to.equal(true);
      }
    });

    it('are one tree with counts that add up', async () => {
      const counts = await eventually(async () => {
        for await (const { enrichedActions } of starling().runs.watchActions({ runId: run })) {
          const root = enrichedActions.find(({ action }) => action!.id!.name === 'a0');
          if (root?.childrenPhaseCounts[Phase.succeeded] === 1_000) return root.childrenPhaseCounts;
        }
        return false;
      });
      expect(Object.values(counts as Record<number, number>).reduce((sum, count) => sum + count, 0)).to.equal(1_000);
    });

    it('are listed page by page', async () => {
      const names = new Set<string>();
      let token = '';
      do {
        const page = await starling().runs.listActions({ runId: run, request: { limit: 100, token } });
        for (const { id } of page.actions) names.add(id!.name);
        token = page.token;
      } while (token !== '');
      expect(names.size).to.equal(1_001);
    });

    it('reach a reader that does not read, when it reads again', async () => {
      const slow = await createParent(starling());
      const response = await openRaw(starling().server.port, slow);
      response.pause();
      await fanOut(slow, 1_000, leaf);
      await eventually(async () => [...(await snapshot(slow)).values()].filter(isTerminal).length === 1_000, 60_000);
      const last = new Map<string, number>();
      for await (const { message } of framesOf(response)) {
        if (message.case !== 'actionUpdate') continue;
        last.set(message.value.actionId!.name, message.value.phase);
        if (last.size === 1_000 && [...last.values()].every(isTerminal)) break;
      }
      expect(last.size).to.equal(1_000);
    });
  });

  it('a watch that comes back finds what ended while it was away', async () => {
    const run = await createParent(starling());
    await enqueue(starling(), run, 'before', leaf);
    await enqueue(starling(), run, 'during', { task: shellTask('sleep 0.3'), ...leaf });
    await first(watch(run));
    await ended(starling(), run, 'before');
    await ended(starling(), run, 'during');
    expect(Object.fromEntries(await snapshot(run))).to.deep.equal({ before: Phase.succeeded, during: Phase.succeeded });
  });

  it('a watch shows the children of its parent only, traces and conditions among them', async () => {
    const run = await createParent(starling());
    await enqueue(starling(), run, 'child', forever);
    await enqueue(starling(), run, 'grandchild', { ...forever, parent: 'child' });
    const common = { parentActionName: 'a0', inputUri: leaf.inputUri!, runOutputBase: 's3://flyte-data/x/' };
    await starling().actions.enqueue({
      action: {
        ...common,
        actionId: actionId(run, 'trace'),
        spec: {
          case: 'trace',
          value: {
            name: 'f',
            phase: Phase.succeeded,
            spec: {},
            outputs: { outputUri: 's3://flyte-data/x/outputs.pb' },
          },
        },
      },
    });
    await starling().actions.enqueue({
      action: {
        ...common,
        actionId: actionId(run, 'condition'),
        spec: { case: 'condition', value: { name: 'go', type: { type: { case: 'simple', value: 4 } }, prompt: 'go?' } },
      },
    });
    await eventually(async () => (await snapshot(run)).get('condition') === Phase.paused);
    const seen = await snapshot(run);
    expect([...seen.keys()].sort()).to.deep.equal(['child', 'condition', 'trace']);
    expect(seen.get('trace')).to.equal(Phase.succeeded);

    await starling().runs.signalEvent({
      actionId: actionId(run, 'condition'),
      payload: { value: { case: 'boolValue', value: true } },
    });
    for await (const { message } of watch(run)) {
      if (message.case !== 'actionUpdate' || message.value.actionId!.name !== 'condition') continue;
      if (message.value.phase !== Phase.succeeded) continue;
      expect(JSON.stringify(message.value.value)).to.include('true');
      break;
    }
  });

  it('WatchActions counts descendants at every depth, and shows ancestors of what its filter finds', async () => {
    const run = await createParent(starling());
    await enqueue(starling(), run, 'left', forever);
    await enqueue(starling(), run, 'right', forever);
    await enqueue(starling(), run, 'leaf1', { ...leaf, parent: 'left' });
    await enqueue(starling(), run, 'leaf2', { task: shellTask('exit 1'), ...leaf, parent: 'left' });
    await Promise.all(['leaf1', 'leaf2'].map(name => ended(starling(), run, name)));
    const tree = async (filter: { field: string; function: number; values: string[] }[], count: number) => {
      const seen = new Map<string, Record<number, number>>();
      for await (const { enrichedActions } of starling().runs.watchActions({ runId: run, filter })) {
        for (const { action, childrenPhaseCounts, meetsFilter } of enrichedActions) {
          if (meetsFilter) seen.set(action!.id!.name, childrenPhaseCounts);
          else seen.delete(action!.id!.name);
        }
        if (seen.size >= count) return seen;
      }
      throw new Error('the watch ended');
    };
    const all = await tree([], 5);
    const { [Phase.succeeded]: good, [Phase.failed]: bad, [Phase.running]: running } = all.get('a0')!;
    expect({ good, bad, running }).to.deep.equal({ good: 1, bad: 1, running: 2 });
    expect(all.get('left')![Phase.failed]).to.equal(1);
    expect(all.get('right')![Phase.failed] ?? 0).to.equal(0);
    const failed = await tree([{ field: 'PHASE', function: 7, values: [String(Phase.failed)] }], 3);
    expect([...failed.keys()].sort()).to.deep.equal(['a0', 'leaf2', 'left']);
  });

  it('two hundred watches of one action all see its end', async () => {
    const run = await createParent(starling(), 1_500);
    const watches = Array.from({ length: 200 }, () => ended(starling(), run));
    const all = await Promise.all(watches);
    expect(all.every(({ status }) => status!.phase === Phase.succeeded)).to.equal(true);
  });
});

/** A watch as bytes, so that its reader can stop reading. */
async function openRaw(port: number, run: RunId): Promise<IncomingMessage> {
  const body = toBinary(
    WatchForUpdatesRequestSchema,
    create(WatchForUpdatesRequestSchema, { filter: { case: 'parentActionId', value: actionId(run) } }),
  );
  const frame = Buffer.alloc(5 + body.length);
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, 5);
  const request = httpRequest({
    ...{ host: '127.0.0.1', port, method: 'POST', agent: false },
    path: '/flyteidl2.actions.ActionsService/WatchForUpdates',
    headers: { 'content-type': 'application/connect+proto', 'connect-protocol-version': '1' },
  });
  request.end(frame);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

async function* framesOf(response: IncomingMessage): AsyncGenerator<WatchForUpdatesResponse> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of response) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const length = rest.readUInt32BE(1);
      yield fromBinary(WatchForUpdatesResponseSchema, rest.subarray(5, 5 + length));
      rest = rest.subarray(5 + length);
    }
  }
}
