import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import express from 'express';
import { implement } from '../../../gateway/transport/handler.ts';
import {
  AuthMetadataService,
  GetPublicClientConfigRequestSchema,
} from '../../../proto/gen/flyteidl2/auth/auth_service_pb.js';
import {
  SelectClusterRequest_Operation as Operation,
  SelectClusterRequestSchema,
} from '../../../proto/gen/flyteidl2/cluster/payload_pb.js';
import { ClusterService } from '../../../proto/gen/flyteidl2/cluster/service_pb.js';
import { closeGateways, envelope, envelopes, send, startGateway, until, wire } from './gateway.ts';

const PATH = '/flyteidl2.cluster.ClusterService/SelectCluster';
const request = toBinary(
  SelectClusterRequestSchema,
  create(SelectClusterRequestSchema, {
    resource: { case: 'projectId', value: { name: 'p', domain: 'd' } },
    operation: Operation.GET_IMAGE,
  }),
);
const answering = [implement(ClusterService, { selectCluster: async () => ({ cluster: 'here' }) })];
const head = (extra = ''): string =>
  `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: ${request.length}\r\n${extra}\r\n`;
const whole = Buffer.concat([Buffer.from(head()), request]);

/** One request over HTTP/2 and what came back. */
async function sendHttp2(port: number, headers: Record<string, string>, body: Uint8Array | string = '') {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const stream = session.request({ ':method': 'POST', ...headers });
  session.on('error', () => undefined);
  if (headers[':method'] !== 'GET') stream.end(body);
  const [answer] = await once(stream, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  session.close();
  return { status: answer[':status'], headers: answer, body: Buffer.concat(chunks) };
}

describe('the one port', () => {
  afterEach(closeGateways);

  it('serves Connect over HTTP/2 as over HTTP/1.1, errors included', async () => {
    const { port } = await startGateway(answering);
    const answer = await sendHttp2(port, { ':path': PATH, 'content-type': 'application/proto' }, request);
    expect(answer.status).to.equal(200);
    expect(answer.body.toString()).to.contain('here');
    const refused = await sendHttp2(port, { ':path': PATH, 'content-type': 'application/proto' }, 'nonsense');
    expect(refused.status).to.equal(400);
    expect(JSON.parse(refused.body.toString()).code).to.equal('invalid_argument');
  });

  it('refuses a body that is too large over HTTP/2 while it is being sent', async () => {
    const { port } = await startGateway(answering, { limits: { bodyBytes: 10_000 } });
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on('error', () => undefined);
    const stream = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/proto' });
    stream.on('error', () => undefined);
    stream.write(Buffer.alloc(200_000));
    const [answer] = await once(stream, 'response');
    expect(answer[':status']).to.equal(429);
    session.destroy();
  });

  it('answers a Connect GET of a method without side effects', async () => {
    const { port } = await startGateway([
      implement(AuthMetadataService, { getPublicClientConfig: async () => ({ clientId: 'cli' }) }),
    ]);
    const path = '/flyteidl2.auth.AuthMetadataService/GetPublicClientConfig';
    const message = Buffer.from(
      toBinary(GetPublicClientConfigRequestSchema, create(GetPublicClientConfigRequestSchema, {})),
    );
    const query = `?connect=v1&encoding=json&message=${encodeURIComponent('{}')}`;
    const json = await send(port, `${path}${query}`, {}, '', 'GET');
    expect(json.status).to.equal(200);
    expect(json.json()).to.deep.equal({ clientId: 'cli' });
    const binary = `?connect=v1&encoding=proto&base64=1&message=${message.toString('base64url')}`;
    const proto = await send(port, `${path}${binary}`, {}, '', 'GET');
    expect(proto.headers['content-type']).to.equal('application/proto');
    const bad = await send(port, `${path}?encoding=json&message=%7B`, {}, '', 'GET');
    expect(bad.status).to.equal(400);
  });

  it('speaks gRPC-Web, with its errors in the trailer frame', async () => {
    const { port } = await startGateway(answering);
    const type = { 'content-type': 'application/grpc-web+proto' };
    const answer = envelopes((await send(port, PATH, type, envelope(request))).body);
    expect(answer[0]!.data.toString()).to.contain('here');
    expect(answer[1]!.data.toString()).to.contain('grpc-status: 0');
    const refused = await send(port, PATH, { ...type, 'grpc-timeout': '1S' }, envelope(Buffer.alloc(0)));
    const status = refused.headers['grpc-status'] ?? envelopes(refused.body).at(-1)!.data.toString();
    expect(status).to.contain('3');
  });

  it('gives everything that is no RPC to the fallback, over HTTP/1.1 and HTTP/2, bodies and all', async () => {
    const app = express();
    app.get('/healthz', (_, response) => {
      response.send('OK');
    });
    app.post('/echo', express.text({ type: '*/*', limit: '5mb' }), (incoming, response) => {
      response
        .status(201)
        .set('x-peer', incoming.socket.remoteAddress ?? '')
        .send(incoming.body);
    });
    const { port } = await startGateway(answering, { fallback: app });
    expect((await send(port, '/healthz', {}, '', 'GET')).body.toString()).to.equal('OK');
    const got = await sendHttp2(port, { ':method': 'GET', ':path': '/healthz' });
    expect(got.status).to.equal(200);
    expect(got.body.toString()).to.equal('OK');
    const long = 'x'.repeat(3_000_000);
    const posted = await sendHttp2(port, { ':path': '/echo', 'content-type': 'text/plain' }, long);
    expect(posted.status).to.equal(201);
    expect(posted.headers['x-peer']).to.equal('127.0.0.1');
    expect(posted.body.toString()).to.equal(long);
    expect((await sendHttp2(port, { ':method': 'GET', ':path': '/nowhere' })).status).to.equal(404);
  });

  it('takes first bytes that dribble in, for both versions of HTTP', async () => {
    const { port } = await startGateway(answering);
    const line = await wire(port);
    for (const byte of whole) line.socket.write(Uint8Array.of(byte));
    await until('the answer', () => line.heard().includes('here'));
    line.socket.destroy();
    const http2 = await wire(port);
    for (const part of ['P', 'R', 'I * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\0\0\0\x04\0\0\0\0\0']) {
      http2.socket.write(part, 'latin1');
      await new Promise(resolve => setImmediate(resolve));
    }
    await until('settings of the server', () => http2.heard().length >= 9);
    expect(http2.heard().charCodeAt(3)).to.equal(4);
    http2.socket.destroy();
  });

  describe('meets trouble and', () => {
    const trouble: [string, Buffer | string][] = [
      ['noise', Buffer.from('00ff00ff00ff0a0a0a', 'hex')],
      ['a half request line', 'POST /flyte'],
      ['a preface and noise', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\xff'.repeat(100)}`],
      ['headers beyond all measure', `GET / HTTP/1.1\r\nhost: x\r\nx-long: ${'y'.repeat(100_000)}\r\n\r\n`],
      ['no host', `POST ${PATH} HTTP/1.1\r\n\r\n`],
      ['a length that is no number', head().replace(String(request.length), 'many')],
      ['two lengths', head('content-length: 3\r\n')],
      [
        'a broken chunk',
        `POST ${PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-type: application/proto\r\n\r\nzz\r\n`,
      ],
      [
        'an odd host',
        `POST ${PATH} HTTP/1.1\r\nhost: a b:c\r\ncontent-type: application/connect+proto\r\ncontent-length: 0\r\n\r\n`,
      ],
      ['a path that is no URL', 'GET //[ HTTP/1.1\r\nhost: x\r\n\r\n'],
      ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n'],
      ['an upgrade', `GET ${PATH} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`],
      ['header bytes above ASCII', head('x-request-id: \xe9\xff\r\n')],
    ];
    for (const [what, bytes] of trouble) {
      it(`goes on after ${what}`, async () => {
        const { port, logged } = await startGateway(answering);
        const line = await wire(port);
        line.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
        line.socket.end();
        await line.closed;
        expect((await send(port, PATH, { 'content-type': 'application/proto' }, request)).status).to.equal(200);
        expect(logged.filter(entry => Number(entry.level) >= 50)).to.deep.equal([]);
      });
    }

    it('answers 500 when the fallback throws', async () => {
      const { port, logged } = await startGateway(answering, {
        fallback() {
          throw new Error('page broke');
        },
      });
      expect((await send(port, '/page', {}, '', 'GET')).status).to.equal(500);
      expect(JSON.stringify(logged)).to.contain('page broke');
    });

    it('closes a connection that never says anything', async () => {
      const { port } = await startGateway(answering, { limits: { headersTimeoutMs: 30 } });
      const line = await wire(port);
      await line.closed;
      expect(line.heard()).to.equal('');
    });

    it('closes a connection whose headers never end', async () => {
      const { port } = await startGateway(answering, { limits: { headersTimeoutMs: 50 } });
      const line = await wire(port);
      line.socket.write('POST / HTTP/1.1\r\nhost: x\r\nx-slow: ');
      await line.closed;
      expect(line.heard()).to.contain('408');
    });

    it('refuses content that is no RPC of this method', async () => {
      const { port } = await startGateway(answering);
      expect((await send(port, PATH, { 'content-type': 'application/connect+proto' }, request)).status).to.equal(415);
      expect((await send(port, PATH, { 'content-type': 'application/grpc-web-nonsense' }, request)).status).to.equal(
        415,
      );
      expect((await send(port, PATH, {}, request)).status).to.equal(415);
    });
  });

  describe('closes and', () => {
    it('lets a unary call finish, then ends its connection', async () => {
      let release = (): void => undefined;
      let running = false;
      const { port, server } = await startGateway([
        implement(ClusterService, {
          async selectCluster() {
            running = true;
            await new Promise<void>(resolve => {
              release = resolve;
            });
            return { cluster: 'here' };
          },
        }),
      ]);
      const line = await wire(port);
      line.socket.write(whole);
      await until('the handler runs', () => running);
      const closed = server.close({ graceMs: 10_000 });
      release();
      await line.closed;
      expect(line.heard()).to.contain('200 OK').and.to.contain('here').and.to.contain('Connection: close');
      await closed;
    });

    it('closes what is idle or silent at once', async () => {
      const { port, server } = await startGateway(answering);
      const silent = await wire(port);
      const idle = await wire(port);
      idle.socket.write(whole);
      await until('the answer', () => idle.heard().includes('here'));
      const session = connectHttp2(`http://127.0.0.1:${port}`);
      await once(session, 'connect');
      await server.close({ graceMs: 10_000 });
      await Promise.all([silent.closed, idle.closed]);
      if (!session.closed) await once(session, 'close');
    });

    it('cuts a handler that outlives the grace period, with unavailable', async () => {
      let running = false;
      const { port, server } = await startGateway([
        implement(ClusterService, {
          selectCluster() {
            running = true;
            return new Promise(() => undefined);
          },
        }),
      ]);
      const pending = send(port, PATH, { 'content-type': 'application/proto' }, request);
      await until('the handler runs', () => running);
      await server.close({ graceMs: 20 });
      const answer = await pending;
      expect(answer.status).to.equal(503);
      expect(answer.json().code).to.equal('unavailable');
    });

    it('refuses new connections, and may be asked to close twice', async () => {
      const { port, server } = await startGateway(answering);
      await Promise.all([server.close({ graceMs: 100 }), server.close({ graceMs: 100 })]);
      const refused = await send(port, PATH, {}, '').catch(error => error.code);
      expect(refused).to.equal('ECONNREFUSED');
    });
  });

  it('says which port it has, and fails to listen where somebody else does', async () => {
    const { port, server } = await startGateway(answering);
    expect(server.address!.port).to.equal(port);
    const second = await startGateway(answering);
    await second.server.close({ graceMs: 0 });
    const taken = await second.server.listen({ host: '127.0.0.1', port }).catch(error => error.code);
    expect(taken).to.equal('EADDRINUSE');
  });
});
