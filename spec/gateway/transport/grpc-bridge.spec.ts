import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { create, type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { expect } from 'chai';
import { notFound } from '../../../gateway/errors.ts';
import { implement } from '../../../gateway/transport/handler.ts';
import {
  ActionsService,
  WatchForUpdatesRequestSchema,
} from '../../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import {
  SelectClusterRequest_Operation as Operation,
  SelectClusterRequestSchema,
  type SelectClusterResponse,
} from '../../../proto/gen/flyteidl2/cluster/payload_pb.js';
import { ClusterService } from '../../../proto/gen/flyteidl2/cluster/service_pb.js';
import { InternalRunService } from '../../../proto/gen/flyteidl2/workflow/internal_run_service_pb.js';
import { StatusSchema } from '../../../proto/gen/google/rpc/status_pb.js';
import {
  Health,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
} from '../../../proto/gen/grpc/health/v1/health_pb.js';
import { closeGateways, envelope, startGateway, until } from './gateway.ts';

const run = promisify(execFile);
const buf = fileURLToPath(new URL('../../../node_modules/.bin/buf', import.meta.url));

const clients: grpc.Client[] = [];
const clientOf = (port: number): grpc.Client => {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  clients.push(client);
  return client;
};
const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

function unary<O extends Message>(
  client: grpc.Client,
  method: DescMethod,
  request: Message,
  options: grpc.CallOptions = {},
): Promise<O> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      pathOf(method),
      (message: Message) => Buffer.from(toBinary(method.input, message)),
      bytes => fromBinary(method.output, bytes) as O,
      request,
      new grpc.Metadata(),
      options,
      (error, answer) => (error ? reject(error) : resolve(answer!)),
    );
  });
}

const stream = <O extends Message>(
  client: grpc.Client,
  method: DescMethod,
  request: Message,
  options: grpc.CallOptions = {},
) =>
  client.makeServerStreamRequest(
    pathOf(method),
    (message: Message) => Buffer.from(toBinary(method.input, message)),
    bytes => fromBinary(method.output, bytes) as O,
    request,
    options,
  );

const failure = (pending: Promise<unknown>): Promise<grpc.ServiceError> =>
  pending.then(
    () => expect.fail('expected an error'),
    error => error,
  );

const select = create(SelectClusterRequestSchema, {
  resource: { case: 'projectId', value: { name: 'p', domain: 'd' } },
  operation: Operation.GET_IMAGE,
});
const watchRequest = create(WatchForUpdatesRequestSchema, {
  filter: { case: 'parentActionId', value: { run: { project: 'p', domain: 'd', name: 'r1' }, name: 'a0' } },
});
const update = (outputUri: string) => ({
  message: { case: 'actionUpdate' as const, value: { outputUri, actionId: { name: 'a1' } } },
});
const { selectCluster } = ClusterService.method;
const { watchForUpdates } = ActionsService.method;

describe('gRPC', () => {
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await closeGateways();
  });

  it('still finds the door of grpc-js that takes one stream', () => {
    const server = new grpc.Server() as unknown as { _streamHandler?: { length: number } };
    expect(server._streamHandler?.length, 'grpc-js moved it: see gateway/transport/grpc-bridge.ts').to.equal(3);
  });

  it('is answered by the same handlers, with the headers and the peer of the caller', async () => {
    const { port, finished } = await startGateway([
      implement(ClusterService, {
        selectCluster: async (_, { peer, protocol, headers }) => ({
          cluster: `${protocol} ${peer.split(':')[0]} ${headers.get('x-nothing')}`,
        }),
      }),
    ]);
    const answer = await unary<SelectClusterResponse>(clientOf(port), selectCluster, select);
    expect(answer.cluster).to.equal('grpc 127.0.0.1 null');
    expect(finished[0]).to.include({ protocol: 'grpc', code: 'ok', method: 'SelectCluster' });
  });

  it('carries codes, texts and details', async () => {
    const { port, logged } = await startGateway([
      implement(ClusterService, {
        async selectCluster({ operation }) {
          if (operation === Operation.GET_IMAGE) throw notFound('run', 'r1');
          throw new Error('password=hunter2');
        },
      }),
    ]);
    const client = clientOf(port);
    const missing = await failure(unary(client, selectCluster, select));
    expect(missing.code).to.equal(grpc.status.NOT_FOUND);
    expect(missing.details).to.equal('run "r1" does not exist');
    const unexpected = await failure(
      unary(client, selectCluster, create(SelectClusterRequestSchema, { ...select, operation: Operation.TAIL_LOGS })),
    );
    expect(unexpected.code).to.equal(grpc.status.INTERNAL);
    expect(unexpected.details).not.to.contain('hunter2');
    expect(JSON.stringify(logged)).to.contain('hunter2');
    const invalid = await failure(unary(client, selectCluster, create(SelectClusterRequestSchema, {})));
    expect(invalid.code).to.equal(grpc.status.INVALID_ARGUMENT);
    const [details] = invalid.metadata.get('grpc-status-details-bin');
    expect(fromBinary(StatusSchema, details as Buffer).details[0]!.typeUrl).to.contain('buf.validate.Violations');
  });

  it('is unimplemented for what nobody serves, in every kind of call, and for what does not exist', async () => {
    const { port } = await startGateway([]);
    const client = clientOf(port);
    const missing = await failure(unary(client, selectCluster, select));
    expect(missing.code).to.equal(grpc.status.UNIMPLEMENTED);
    expect(missing.details).to.equal('flyteidl2.cluster.ClusterService.SelectCluster is not served yet');
    const [error] = await once(stream(client, watchForUpdates, watchRequest).resume(), 'error');
    expect(error.code).to.equal(grpc.status.UNIMPLEMENTED);
    const unknown = await failure(unary(client, { ...selectCluster, name: 'Nope' } as unknown as DescMethod, select));
    expect(unknown.code).to.equal(grpc.status.UNIMPLEMENTED);
    const bytes = (value: Buffer) => value;
    const { recordActionStream } = InternalRunService.method;
    const both = client.makeBidiStreamRequest(pathOf(recordActionStream), bytes, bytes);
    const [refused] = await once(both.resume(), 'error');
    expect(refused.code).to.equal(grpc.status.UNIMPLEMENTED);
  });

  it('keeps deadlines in unary calls and streams', async () => {
    const { port, finished } = await startGateway([
      implement(ClusterService, { selectCluster: () => new Promise(() => undefined) }),
      implement(ActionsService, {
        async *watchForUpdates() {
          yield update('one');
          await new Promise(() => undefined);
        },
      }),
    ]);
    const client = clientOf(port);
    const deadline = () => ({ deadline: Date.now() + 100 });
    const late = await failure(unary(client, selectCluster, select, deadline()));
    expect(late.code).to.equal(grpc.status.DEADLINE_EXCEEDED);
    const [error] = await once(stream(client, watchForUpdates, watchRequest, deadline()).resume(), 'error');
    expect(error.code).to.equal(grpc.status.DEADLINE_EXCEEDED);
    await until('both are counted', () => finished.length === 2);
    // The caller's own clock may be first; it then says so by cancelling.
    for (const { code } of finished) expect(code).to.be.oneOf(['deadline_exceeded', 'canceled']);
  });

  it('lets a caller wait for months', async () => {
    const { port } = await startGateway([
      implement(ClusterService, { selectCluster: async () => ({ cluster: 'here' }) }),
    ]);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const message = toBinary(SelectClusterRequestSchema, select);
    const framed = envelope(message);
    const call = session.request({
      ':method': 'POST',
      ':path': pathOf(selectCluster),
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': '99999999H',
    });
    call.end(framed);
    const [trailers] = await once(call.resume(), 'trailers');
    expect(trailers['grpc-status']).to.equal('0');
    session.close();
  });

  it('streams with back-pressure and stops its handler when the caller cancels', async () => {
    let yielded = 0;
    let cleaned = false;
    const chunk = 'x'.repeat(64 * 1024);
    const { port, finished } = await startGateway([
      implement(ActionsService, {
        async *watchForUpdates() {
          try {
            for (; yielded < 5_000; yielded++) yield update(chunk);
          } finally {
            cleaned = true;
          }
        },
      }),
    ]);
    // The client of grpc-js reads ahead without bound, so this one is bare HTTP/2.
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const call = session.request({
      ':method': 'POST',
      ':path': pathOf(watchForUpdates),
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    call.on('error', () => undefined);
    call.end(envelope(toBinary(WatchForUpdatesRequestSchema, watchRequest)));
    let before = -1;
    let quietTurns = 0;
    await until('the handler pauses', () => {
      quietTurns = yielded === before ? quietTurns + 1 : 0;
      before = yielded;
      return quietTurns > 40;
    });
    expect(yielded).to.be.lessThan(300);
    call.close(constants.NGHTTP2_CANCEL);
    await until('the clean-up', () => cleaned && finished.length === 1);
    expect(finished[0]!.code).to.equal('canceled');
    session.close();
  });

  it('ends its streams with unavailable when the gateway shuts down', async () => {
    const { port, server } = await startGateway([
      implement(ActionsService, {
        async *watchForUpdates(_, { signal }) {
          yield update('one');
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
      }),
    ]);
    const call = stream(clientOf(port), watchForUpdates, watchRequest);
    const failed = once(call, 'error');
    await once(call, 'data');
    const closed = server.close({ graceMs: 5_000 });
    const [error] = await failed;
    expect(error.code).to.equal(grpc.status.UNAVAILABLE);
    await closed;
  });

  it('refuses what is too large and what is no message', async () => {
    const { port } = await startGateway([implement(ClusterService, { selectCluster: async () => ({}) })], {
      limits: { bodyBytes: 10_000 },
    });
    const client = clientOf(port);
    const big = create(SelectClusterRequestSchema, {
      resource: { case: 'projectId', value: { name: 'p'.repeat(20_000), domain: 'd' } },
      operation: Operation.GET_IMAGE,
    });
    expect((await failure(unary(client, selectCluster, big))).code).to.equal(grpc.status.RESOURCE_EXHAUSTED);
    const broken = await failure(
      new Promise((resolve, reject) =>
        client.makeUnaryRequest(
          pathOf(selectCluster),
          () => Buffer.from('ffffff', 'hex'),
          bytes => bytes,
          null,
          (error, answer) => (error ? reject(error) : resolve(answer)),
        ),
      ),
    );
    expect(broken.code).to.equal(grpc.status.INVALID_ARGUMENT);
  });

  it('shares one connection with Connect calls', async () => {
    const { port } = await startGateway([
      implement(ClusterService, { selectCluster: async () => ({ cluster: 'here' }) }),
    ]);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const message = toBinary(SelectClusterRequestSchema, select);
    const ask = async (type: string, body: Buffer): Promise<string> => {
      const call = session.request({
        ':method': 'POST',
        ':path': pathOf(selectCluster),
        'content-type': type,
        te: 'trailers',
      });
      call.end(body);
      const chunks: Buffer[] = [];
      for await (const chunk of call) chunks.push(chunk);
      return Buffer.concat(chunks).toString();
    };
    const framed = envelope(message);
    const answers = await Promise.all([
      ask('application/grpc', framed),
      ask('application/proto', Buffer.from(message)),
      ask('application/grpc+proto', framed),
      ask('application/grpc-web+proto', framed),
    ]);
    for (const answer of answers) expect(answer).to.contain('here');
    session.close();
  });

  it('reports health, and hears of a drain', async () => {
    const { port, server } = await startGateway([]);
    const client = clientOf(port);
    const ask = (service: string) =>
      unary<HealthCheckResponse>(client, Health.method.check, create(HealthCheckRequestSchema, { service }));
    expect((await ask('')).status).to.equal(1);
    expect((await ask('flyteidl2.workflow.RunService')).status).to.equal(1);
    expect((await failure(ask('nope'))).code).to.equal(grpc.status.NOT_FOUND);
    const watching = stream<HealthCheckResponse>(client, Health.method.watch, create(HealthCheckRequestSchema, {}));
    watching.on('error', () => undefined);
    const statuses: number[] = [];
    watching.on('data', (answer: HealthCheckResponse) => statuses.push(answer.status));
    await until('the first status', () => statuses.length === 1);
    server.setServing(false);
    await until('the change', () => statuses.length === 2);
    expect(statuses).to.deep.equal([1, 2]);
  });

  it('can be explored and called by a tool that has no .proto files', async () => {
    const { port } = await startGateway([
      implement(ClusterService, { selectCluster: async () => ({ cluster: 'here' }) }),
    ]);
    const url = `http://127.0.0.1:${port}`;
    const listed = await run(buf, ['curl', '--http2-prior-knowledge', '--protocol', 'grpc', '--list-services', url]);
    expect(listed.stdout).to.contain('flyteidl2.workflow.RunService').and.to.contain('grpc.health.v1.Health');
    for (const protocol of ['grpc', 'connect', 'grpcweb']) {
      const { stdout } = await run(buf, [
        'curl',
        '--http2-prior-knowledge',
        '--protocol',
        protocol,
        '-d',
        '{"projectId":{"name":"p","domain":"d"},"operation":"OPERATION_GET_IMAGE"}',
        `${url}${pathOf(selectCluster)}`,
      ]);
      expect(JSON.parse(stdout), protocol).to.deep.equal({ cluster: 'here' });
    }
  });
});
