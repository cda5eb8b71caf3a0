import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { expect } from 'chai';
import { followRun } from '../../deploy/demo/follow.ts';
import { Terminal } from '../../deploy/terminal.ts';
import { ActionPhase } from '../../proto/gen/flyteidl2/common/phase_pb.js';
import { RunService, WatchActionsResponseSchema } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';

/** A real Connect server with a script in place of the run engine: each element of `watches` is what one watch sends. */
async function serve(watches: Step[][]) {
  const requested: string[] = [];
  const handler = connectNodeAdapter({
    routes: router =>
      router.service(RunService, {
        async *watchActions({ runId }) {
          requested.push(`${runId?.project}/${runId?.domain}/${runId?.name}`);
          for (const step of watches.shift() ?? []) {
            if (step === 'break') throw new Error('broken');
            yield message(...step);
          }
        },
      }),
  });
  const server = createServer(handler);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    requested,
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise(resolve => server.close(resolve));
    },
  };
}

type Step = 'break' | [name: string, parent: string, phase: ActionPhase];

const message = (name: string, parent: string, phase: ActionPhase) =>
  create(WatchActionsResponseSchema, {
    enrichedActions: [
      {
        action: {
          id: { name },
          metadata: { parent, spec: { case: 'task', value: { id: { name: `hello.${name}-task` } } } },
          status: { phase, attempts: 1, startTime: timestampFromMs(1000) },
        },
      },
    ],
  });

describe('following a run', () => {
  const follow = (baseUrl: string, signal = new AbortController().signal) => {
    const printed: string[] = [];
    const terminal = new Terminal({ write: text => printed.push(text) });
    const run = { project: 'p', domain: 'd', name: 'r' };
    return { printed, root: followRun({ baseUrl, run, terminal, now: () => 1000, signal }) };
  };

  it('tells each change of phase once, survives a broken watch, and ends with the root', async () => {
    const server = await serve([
      [['a0', '', ActionPhase.RUNNING], ['a0', '', ActionPhase.RUNNING], ['x', 'a0', ActionPhase.QUEUED], 'break'],
      [
        ['a0', '', ActionPhase.RUNNING],
        ['x', 'a0', ActionPhase.SUCCEEDED],
        ['a0', '', ActionPhase.SUCCEEDED],
      ],
    ]);
    const { printed, root } = follow(server.baseUrl);
    expect(await root).to.include({ name: 'a0', phase: ActionPhase.SUCCEEDED, label: 'a0-task' });
    await server.close();
    expect(server.requested).to.deep.equal(['p/d/r', 'p/d/r']);
    const changes = printed.slice(0, -1).map(line => line.trim().replace(/ {2,}/g, ' '));
    expect(changes).to.deep.equal([
      '0.0 s a0-task running',
      '0.0 s x-task queued',
      '0.0 s x-task succeeded',
      '0.0 s a0-task succeeded',
    ]);
    expect(printed.at(-1)).to.include('└─ x-task');
  });

  it('ends at once when it is told to', async () => {
    const server = await serve([[['a0', '', ActionPhase.RUNNING]]]);
    const controller = new AbortController();
    const { root } = follow(server.baseUrl, controller.signal);
    controller.abort(new Error('enough'));
    const error = await root.catch((reason: unknown) => reason);
    await server.close();
    expect((error as Error).message).to.equal('enough');
  });
});
