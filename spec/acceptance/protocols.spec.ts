import { create, type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import * as grpc from '@grpc/grpc-js';
import { expect } from 'chai';
import { Phase } from '../../actors/action/phase.ts';
import { ActionsService } from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { RunService, type WatchActionDetailsResponse } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { actionId, createParent, enqueue, refusal, runId, uploadInputs } from './run.ts';
import { useStarling } from './starling.ts';
import { domain, project, sleepInputs, sleepTask } from './tasks.ts';

/** One story in every tongue the port speaks: a run is made, followed to its end, read, and one that is not there is missed. */
describe('acceptance: the one port speaks', () => {
  const starling = useStarling();
  const baseUrl = () => starling().url;
  const nobody = { project, domain, name: 'no-such-run' };
  const newRun = {
    id: { case: 'projectId' as const, value: { name: project, domain } },
    task: { case: 'taskSpec' as const, value: sleepTask },
    inputWrapper: { case: 'inputs' as const, value: sleepInputs(200) },
  };

  for (const [title, transport] of Object.entries({
    'Connect, binary, HTTP/1.1': () => createConnectTransport({ baseUrl: baseUrl(), httpVersion: '1.1' }),
    'Connect, binary, HTTP/2': () => createConnectTransport({ baseUrl: baseUrl(), httpVersion: '2' }),
    'Connect, JSON': () => createConnectTransport({ baseUrl: baseUrl(), httpVersion: '1.1', useBinaryFormat: false }),
    'Connect, GET': () => createConnectTransport({ baseUrl: baseUrl(), httpVersion: '1.1', useHttpGet: true }),
    gRPC: () => createGrpcTransport({ baseUrl: baseUrl() }),
    'gRPC-Web, binary': () => createGrpcWebTransport({ baseUrl: baseUrl(), httpVersion: '1.1' }),
    'gRPC-Web, JSON': () => createGrpcWebTransport({ baseUrl: baseUrl(), httpVersion: '1.1', useBinaryFormat: false }),
  })) {
    it(title, async () => {
      const runs = createClient(RunService, transport());
      const { run } = await runs.createRun(newRun);
      const id = runId(run!.action!.id!.run!.name);
      const phases: number[] = [];
      for await (const { details } of runs.watchActionDetails({ actionId: actionId(id) })) {
        phases.push(details!.status!.phase);
      }
      expect(phases.at(-1)).to.equal(Phase.succeeded);
      const { details } = await runs.getRunDetails({ runId: id });
      expect(details!.action!.id!.run).to.include({ project, domain, name: id.name });
      const { code, message } = await refusal(runs.getRunDetails({ runId: nobody }));
      expect(code).to.equal('NotFound');
      expect(message).to.include('no-such-run');
    });
  }

  describe('gRPC by grpc-js', () => {
    let client: grpc.Client;
    before(() => {
      client = new grpc.Client(`127.0.0.1:${starling().server.port}`, grpc.credentials.createInsecure());
    });
    after(() => client.close());
    const path = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;
    const encode = (method: DescMethod) => (message: Message) => Buffer.from(toBinary(method.input, message));

    it('a call and its error', async () => {
      const method = RunService.method.getRunDetails;
      const error = await new Promise<grpc.ServiceError | null>(resolve =>
        client.makeUnaryRequest(
          path(method),
          encode(method),
          bytes => bytes,
          create(method.input, { runId: nobody }),
          resolve,
        ),
      );
      expect(error!.code).to.equal(grpc.status.NOT_FOUND);
      expect(error!.details).to.include('no-such-run');
    });

    it('a stream to its end', async () => {
      const { run } = await starling().runs.createRun(newRun);
      const method = RunService.method.watchActionDetails;
      const stream = client.makeServerStreamRequest(
        path(method),
        encode(method),
        bytes => fromBinary(method.output, bytes),
        create(method.input, { actionId: actionId(runId(run!.action!.id!.run!.name)) }),
      );
      let last: WatchActionDetailsResponse | undefined;
      for await (const message of stream) last = message as WatchActionDetailsResponse;
      expect(last!.details!.status!.phase).to.equal(Phase.succeeded);
    });

    it('the controller in Rust: enqueue, watch with sentinel, leave', async () => {
      const run = await createParent(starling());
      await enqueue(starling(), run, 'leaf', { inputUri: await uploadInputs(starling(), sleepInputs(0)) });
      const method = ActionsService.method.watchForUpdates;
      const stream = client.makeServerStreamRequest(
        path(method),
        encode(method),
        bytes => fromBinary(method.output, bytes),
        create(method.input, { filter: { case: 'parentActionId', value: actionId(run) } }),
      );
      stream.on('error', () => undefined);
      const seen: string[] = [];
      for await (const { message } of stream) {
        seen.push(message.case === 'actionUpdate' ? message.value.actionId!.name : 'sentinel');
        if (message.case === 'actionUpdate' && message.value.phase === Phase.succeeded && seen.includes('sentinel'))
          break;
        if (message.case === 'controlMessage' && seen.length > 1) {
          const { status } = (await starling().runs.getActionDetails({ actionId: actionId(run, 'leaf') })).details!;
          if (status!.phase === Phase.succeeded) break;
        }
      }
      expect(seen).to.include('sentinel').and.to.include('leaf');
    });
  });

  it('plain JSON by hand, with names as the contract spells them', async () => {
    const answer = await fetch(`${starling().url}/flyteidl2.workflow.RunService/CreateRun`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        project_id: { name: project, domain },
        task_spec: { task_template: { type: 'core-sleep', id: { name: 'timer.sleep' } }, short_name: 'sleep' },
        inputs: { literals: [{ name: 'd', value: { scalar: { primitive: { duration: '0.010s' } } } }] },
      }),
    });
    expect(answer.status).to.equal(200);
    const { run } = (await answer.json()) as { run: { action: { id: { run: { name: string } } } } };
    expect(run.action.id.run.name).to.match(/^r/);
  });

  it('health and metrics', async () => {
    for (const [page, text] of [
      ['healthz', 'OK'],
      ['readyz', 'OK'],
      ['metrics', 'starling_gateway_requests_total'],
      ['ops/queues', '<'],
      ['', 'Starling'],
    ] as const) {
      const answer = await fetch(`${starling().url}/${page}`);
      expect(answer.status, page).to.equal(200);
      expect(await answer.text(), page).to.include(text);
    }
  });
});
