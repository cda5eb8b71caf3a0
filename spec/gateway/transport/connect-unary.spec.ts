import { request as httpRequest } from 'node:http';
import { gunzipSync, gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { failedPrecondition, notFound } from '../../../gateway/errors.ts';
import { implement, type RpcContext } from '../../../gateway/transport/handler.ts';
import {
  SelectClusterRequest_Operation as Operation,
  SelectClusterRequestSchema,
  SelectClusterResponseSchema,
} from '../../../proto/gen/flyteidl2/cluster/payload_pb.js';
import { ClusterService } from '../../../proto/gen/flyteidl2/cluster/service_pb.js';
import { closeGateways, send, startGateway, until, wire } from './gateway.ts';

const PATH = '/flyteidl2.cluster.ClusterService/SelectCluster';
const PROTO = { 'content-type': 'application/proto', 'connect-protocol-version': '1' };
const JSON_TYPE = { 'content-type': 'application/json' };
const GZIP = { ...PROTO, 'content-encoding': 'gzip', 'accept-encoding': 'gzip,identity' };

const request = toBinary(
  SelectClusterRequestSchema,
  create(SelectClusterRequestSchema, {
    resource: { case: 'projectId', value: { name: 'p', domain: 'development' } },
    operation: Operation.UPLOAD_INPUTS,
  }),
);

type Handler = (context: RpcContext) => Promise<{ cluster?: string; clusterEndpoint?: string }>;
const serving = (handler: Handler) => [implement(ClusterService, { selectCluster: (_, context) => handler(context) })];
const answering = serving(async () => ({ cluster: 'here' }));

describe('a Connect unary call', () => {
  afterEach(closeGateways);

  it('is answered in the binary codec with exactly application/proto', async () => {
    const { port, finished } = await startGateway(answering);
    const answer = await send(port, PATH, PROTO, request);
    expect(answer.status).to.equal(200);
    expect(answer.headers['content-type']).to.equal('application/proto');
    expect(fromBinary(SelectClusterResponseSchema, answer.body).cluster).to.equal('here');
    expect(finished).to.have.length(1);
    expect(finished[0]).to.include({
      service: 'flyteidl2.cluster.ClusterService',
      method: 'SelectCluster',
      protocol: 'connect',
      code: 'ok',
    });
    expect(finished[0]!.durationMs).to.be.within(0, 5_000);
  });

  it('is answered in JSON, ignoring fields it does not know and parameters of the media type', async () => {
    const { port } = await startGateway(answering);
    const body = JSON.stringify({ projectId: { name: 'p', domain: 'd' }, operation: 'OPERATION_GET_IMAGE', later: 1 });
    const answer = await send(port, PATH, { 'content-type': 'application/json; charset=utf-8' }, body);
    expect(answer.status).to.equal(200);
    expect(answer.headers['content-type']).to.equal('application/json');
    expect(answer.json()).to.deep.equal({ cluster: 'here' });
  });

  it('may be compressed, and takes a plain body under a gzip label', async () => {
    const { port } = await startGateway(answering);
    expect((await send(port, PATH, GZIP, gzipSync(request, { level: 6 }))).status).to.equal(200);
    expect((await send(port, PATH, GZIP, request)).status).to.equal(200);
  });

  it('is answered compressed only when that is worth it and asked for', async () => {
    const long = 'x'.repeat(100_000);
    const { port } = await startGateway(serving(async () => ({ cluster: long })));
    const zipped = await send(port, PATH, GZIP, gzipSync(request));
    expect(zipped.headers['content-encoding']).to.equal('gzip');
    expect(fromBinary(SelectClusterResponseSchema, gunzipSync(zipped.body)).cluster).to.equal(long);
    const plain = await send(port, PATH, PROTO, request);
    expect(plain.headers['content-encoding']).to.equal(undefined);
    expect(plain.body.length).to.be.greaterThan(100_000);
  });

  it('keeps an idle connection longer than the 90 s after which clients drop theirs', async () => {
    const { port } = await startGateway(answering);
    const answer = await send(port, PATH, { ...PROTO, connection: 'keep-alive' }, request);
    expect(Number(/timeout=(\d+)/.exec(answer.headers['keep-alive'] as string)?.[1])).to.be.greaterThan(90);
  });

  it('tells the handler who calls, with which request id, until when', async () => {
    let seen: RpcContext | undefined;
    const { port } = await startGateway(
      serving(async context => {
        seen = context;
        return {};
      }),
    );
    await send(port, PATH, { ...PROTO, 'x-request-id': 'id-1', 'connect-timeout-ms': '5000' }, request);
    expect(seen!.requestId).to.equal('id-1');
    expect(seen!.peer).to.match(/^127\.0\.0\.1:\d+$/);
    expect(seen!.headers.get('Content-Type')).to.equal('application/proto');
    expect(seen!.headers.get('x-nothing')).to.equal(null);
    expect(seen!.deadline!.getTime() - Date.now()).to.be.within(1, 5_000);
    expect(seen!.protocol).to.equal('connect');
  });

  describe('that is refused', () => {
    it('carries the code and the text of the catalogue under the status of the code', async () => {
      const { port, finished } = await startGateway(serving(() => Promise.reject(notFound('run', 'r1'))));
      const answer = await send(port, PATH, PROTO, request);
      expect(answer.status).to.equal(404);
      expect(answer.headers['content-type']).to.equal('application/json');
      expect(answer.json()).to.deep.equal({ code: 'not_found', message: 'run "r1" does not exist' });
      expect(finished[0]!.code).to.equal('not_found');
    });

    it('says which field breaks which rule of the contract', async () => {
      const { port } = await startGateway(answering);
      const answer = await send(port, PATH, JSON_TYPE, '{"projectId":{"name":"p"},"operation":"OPERATION_GET_IMAGE"}');
      expect(answer.status).to.equal(400);
      expect(answer.json().code).to.equal('invalid_argument');
      expect(answer.json().message).to.contain('project_id.domain').and.to.contain('string.min_len');
    });

    it('is internal without a word of what happened when nobody foresaw it, and the log has it under the same id', async () => {
      const { port, logged } = await startGateway(serving(() => Promise.reject(new Error('password=hunter2'))));
      const answer = await send(port, PATH, { ...PROTO, 'x-request-id': 'id-9' }, request);
      expect(answer.status).to.equal(500);
      expect(answer.json().code).to.equal('internal');
      expect(answer.json().message).to.contain('id-9').and.not.to.contain('hunter2');
      const line = logged.find(entry => entry.requestId === 'id-9')!;
      expect((line.err as { stack: string }).stack)
        .to.contain('password=hunter2')
        .and.to.contain('connect-unary.spec');
    });

    it('is unimplemented with the name of the method when nobody serves it', async () => {
      const { port } = await startGateway([]);
      const answer = await send(port, PATH, PROTO, request);
      expect(answer.status).to.equal(501);
      expect(answer.json()).to.deep.equal({
        code: 'unimplemented',
        message: 'flyteidl2.cluster.ClusterService.SelectCluster is not served yet',
      });
    });

    it('is unimplemented with 404 when there is no such method or service', async () => {
      const { port } = await startGateway(answering);
      for (const path of ['/flyteidl2.cluster.ClusterService/Nope', '/flyteidl2.nope.Nope/Nope']) {
        const answer = await send(port, path, PROTO, request);
        expect(answer.status).to.equal(404);
        expect(answer.json().code).to.equal('unimplemented');
      }
    });

    const malformed: [string, Record<string, string>, Uint8Array | string][] = [
      ['broken protobuf', PROTO, Buffer.from('ffffffff', 'hex')],
      ['broken JSON', JSON_TYPE, '{"operation":'],
      ['an empty JSON body', JSON_TYPE, ''],
      ['JSON of the wrong type', JSON_TYPE, '[1]'],
      ['a truncated gzip body', GZIP, gzipSync(request).subarray(0, 15)],
      ['gzip of something else', GZIP, gzipSync(Buffer.from('ffffffff', 'hex'))],
      ['a timeout that is no number', { ...PROTO, 'connect-timeout-ms': 'soon' }, request],
      ['a timeout of 11 digits', { ...PROTO, 'connect-timeout-ms': '12345678901' }, request],
    ];
    for (const [what, headers, body] of malformed) {
      it(`is invalid_argument for ${what}`, async () => {
        const { port } = await startGateway(answering);
        const answer = await send(port, PATH, headers, body);
        expect(answer.status, answer.body.toString()).to.equal(400);
        expect(answer.json().code).to.equal('invalid_argument');
      });
    }

    it('is 415 for a media type that is no RPC, 405 for a method that may not be read by GET', async () => {
      const { port } = await startGateway(answering);
      expect((await send(port, PATH, { 'content-type': 'text/plain' }, request)).status).to.equal(415);
      expect((await send(port, PATH, {}, '', 'DELETE')).status).to.equal(405);
      const enqueue = '/flyteidl2.actions.ActionsService/Enqueue';
      expect((await send(port, `${enqueue}?encoding=json&message=%7B%7D`, {}, '', 'GET')).status).to.equal(405);
    });

    it('is unimplemented for a compression nobody speaks', async () => {
      const { port } = await startGateway(answering);
      const answer = await send(port, PATH, { ...PROTO, 'content-encoding': 'zstd' }, request);
      expect(answer.json().code).to.equal('unimplemented');
    });
  });

  describe('that is too large', () => {
    const limits = { bodyBytes: 10_000 };

    it('is resource_exhausted by its declared length, before it is read', async () => {
      const { port } = await startGateway(answering, { limits });
      const line = await wire(port);
      line.socket.write(
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 10001\r\n\r\n`,
      );
      await until('the refusal', () => line.heard().includes('resource_exhausted'));
      expect(line.heard()).to.match(/^HTTP\/1\.1 429 /);
      line.socket.destroy();
    });

    it('is resource_exhausted while it streams in, and the client reads so', async () => {
      const { port } = await startGateway(answering, { limits });
      const answer = await send(port, PATH, { ...PROTO, 'transfer-encoding': 'chunked' }, Buffer.alloc(200_000));
      expect(answer.status).to.equal(429);
      expect(answer.json().code).to.equal('resource_exhausted');
    });

    it('is resource_exhausted when a few bytes inflate to many, however small the bomb', async () => {
      const { port } = await startGateway(answering, { limits });
      for (const size of [20_000, 50 * 1024 * 1024]) {
        const bomb = gzipSync(Buffer.alloc(size));
        expect(bomb.length).to.be.lessThan(60_000);
        const answer = await send(port, PATH, GZIP, bomb.length > 10_000 ? bomb.subarray(0, 9_000) : bomb);
        expect(answer.json().code).to.equal('resource_exhausted');
      }
    });

    it('is accepted up to the limit', async () => {
      const seen: number[] = [];
      const { port } = await startGateway(
        [
          implement(ClusterService, {
            async selectCluster(message) {
              seen.push(message.resource.case === 'projectId' ? message.resource.value.name.length : 0);
              return {};
            },
          }),
        ],
        { limits: { bodyBytes: 2_000_000 } },
      );
      const big = toBinary(
        SelectClusterRequestSchema,
        create(SelectClusterRequestSchema, {
          resource: { case: 'projectId', value: { name: 'p'.repeat(1_500_000), domain: 'd' } },
          operation: Operation.GET_IMAGE,
        }),
      );
      expect((await send(port, PATH, PROTO, big)).status).to.equal(200);
      expect((await send(port, PATH, GZIP, gzipSync(big))).status).to.equal(200);
      expect(seen).to.deep.equal([1_500_000, 1_500_000]);
    });
  });

  describe('that does not go to its end', () => {
    const hanging = (signals: AbortSignal[]) =>
      serving(({ signal }) => {
        signals.push(signal);
        return new Promise(() => undefined);
      });

    it('is deadline_exceeded at its deadline even if the handler never looks at its signal', async () => {
      const signals: AbortSignal[] = [];
      const { port, finished } = await startGateway(hanging(signals));
      const answer = await send(port, PATH, { ...PROTO, 'connect-timeout-ms': '30' }, request);
      expect(answer.status).to.equal(504);
      expect(answer.json().code).to.equal('deadline_exceeded');
      expect(signals[0]!.aborted).to.equal(true);
      expect(finished[0]!.code).to.equal('deadline_exceeded');
    });

    it('has no deadline when the caller would wait for months', async () => {
      const { port } = await startGateway(serving(async context => ({ cluster: String(context.deadline) })));
      const answer = await send(
        port,
        PATH,
        { ...JSON_TYPE, 'connect-timeout-ms': '9999999999' },
        '{"orgId":{},"operation":1}',
      );
      expect(answer.json()).to.deep.equal({ cluster: 'undefined' });
    });

    it('aborts its handler when the caller goes away', async () => {
      const signals: AbortSignal[] = [];
      const { port, finished, logged } = await startGateway(hanging(signals));
      const leaving = httpRequest({ host: '127.0.0.1', port, path: PATH, method: 'POST', headers: PROTO });
      leaving.on('error', () => undefined);
      leaving.end(request);
      await until('the handler runs', () => signals.length === 1);
      leaving.destroy();
      await until('the signal', () => signals[0]!.aborted);
      await until('the count', () => finished.length === 1);
      expect(finished[0]!.code).to.equal('canceled');
      expect(logged).to.deep.equal([]);
    });

    it('costs nothing when the caller leaves in the middle of its body', async () => {
      const { port, finished, logged } = await startGateway(answering);
      const line = await wire(port);
      line.socket.write(
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 50\r\n\r\nabc`,
      );
      await until('the gateway waits', () => line.socket.bytesWritten > 0);
      line.socket.destroy();
      await until('the count', () => finished.length === 1);
      expect(finished[0]!.code).to.equal('canceled');
      expect(logged).to.deep.equal([]);
      expect((await send(port, PATH, PROTO, request)).status).to.equal(200);
    });

    it('is deadline_exceeded when its body does not arrive', async () => {
      const { port } = await startGateway(answering, { limits: { bodyTimeoutMs: 30 } });
      const line = await wire(port);
      line.socket.write(
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 50\r\n\r\nabc`,
      );
      await until('the refusal', () => line.heard().includes('deadline_exceeded'));
      line.socket.destroy();
    });

    it('is answered when the caller has closed its sending side', async () => {
      const { port } = await startGateway(answering);
      const line = await wire(port, true);
      line.socket.end(
        Buffer.concat([
          Buffer.from(
            `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: ${request.length}\r\n\r\n`,
          ),
          request,
        ]),
      );
      await until('the answer', () => line.heard().includes('here'));
      line.socket.destroy();
    });
  });

  it('may follow another on the same connection before that one is answered', async () => {
    let n = 0;
    const { port } = await startGateway(serving(async () => ({ cluster: `c${n++}` })));
    const line = await wire(port);
    const one = Buffer.concat([
      Buffer.from(
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: ${request.length}\r\n\r\n`,
      ),
      request,
    ]);
    line.socket.write(Buffer.concat([one, one, one]));
    await until('three answers', () => ['c0', 'c1', 'c2'].every(word => line.heard().includes(word)));
    line.socket.destroy();
  });

  it('of a handler that throws at once does not end the process', async () => {
    const { port } = await startGateway([
      implement(ClusterService, {
        selectCluster() {
          throw failedPrecondition('not now');
        },
      }),
    ]);
    expect((await send(port, PATH, PROTO, request)).json().code).to.equal('failed_precondition');
  });
});
