import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { gunzipSync, gzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { expect } from 'chai';
import { notFound } from '../../../gateway/errors.ts';
import { implement, type RpcContext } from '../../../gateway/transport/handler.ts';
import {
  ActionsService,
  WatchForUpdatesRequestSchema,
  WatchForUpdatesResponseSchema,
} from '../../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { closeGateways, envelope, envelopes, startGateway, until } from './gateway.ts';

const PATH = '/flyteidl2.actions.ActionsService/WatchForUpdates';
const STREAM = { 'content-type': 'application/connect+proto', 'connect-protocol-version': '1' };

const watchRequest = toBinary(
  WatchForUpdatesRequestSchema,
  create(WatchForUpdatesRequestSchema, {
    filter: {
      case: 'parentActionId',
      value: { run: { project: 'p', domain: 'd', name: 'r1' }, name: 'a0' },
    },
  }),
);

interface Update {
  message: { case: 'actionUpdate'; value: { outputUri: string; actionId: { name: string } } };
}
const update = (outputUri: string): Update => ({
  message: { case: 'actionUpdate', value: { outputUri, actionId: { name: 'a1' } } },
});
const serving = (watch: (context: RpcContext) => AsyncIterable<Update>) => [
  implement(ActionsService, { watchForUpdates: (_, context) => watch(context) }),
];
const forever = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

interface Watch {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  received(): Buffer;
  readonly ended: Promise<unknown>;
}

async function watch(
  port: number,
  headers: Record<string, string> = STREAM,
  body = envelope(watchRequest),
): Promise<Watch> {
  const request = httpRequest({ host: '127.0.0.1', port, path: PATH, method: 'POST', headers, agent: false });
  request.on('error', () => undefined);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  const ended = new Promise(resolve => response.once('close', resolve));
  response.on('error', () => undefined);
  return {
    request,
    response,
    ended,
    received: () => {
      for (let chunk = response.read(); chunk; chunk = response.read()) chunks.push(chunk);
      return Buffer.concat(chunks);
    },
  };
}

/** The messages and the end of a stream that is read to its end. */
async function readAll(open: Watch): Promise<{ uris: string[]; end: { error?: { code: string; message: string } } }> {
  const chunks: Buffer[] = [];
  for await (const chunk of open.response) chunks.push(chunk);
  const parts = envelopes(Buffer.concat(chunks));
  const last = parts.pop()!;
  expect(last.flag).to.equal(2);
  return {
    uris: parts.map(({ flag, data }) => {
      const { message } = fromBinary(WatchForUpdatesResponseSchema, flag === 1 ? gunzipSync(data) : data);
      return message.case === 'actionUpdate' ? message.value.outputUri : '';
    }),
    end: JSON.parse(last.data.toString()),
  };
}

describe('a server stream', () => {
  afterEach(closeGateways);

  it('is application/connect+proto to the letter, never compressed as a whole, and ends with an end envelope', async () => {
    const { port, finished } = await startGateway(
      serving(async function* () {
        yield update('one');
        yield update('two');
      }),
    );
    const open = await watch(port, { ...STREAM, 'accept-encoding': 'zstd,gzip,br' });
    expect(open.response.statusCode).to.equal(200);
    expect(open.response.headers['content-type']).to.equal('application/connect+proto');
    expect(open.response.headers['content-encoding']).to.equal(undefined);
    expect(await readAll(open)).to.deep.equal({ uris: ['one', 'two'], end: {} });
    expect(finished).to.have.length(1);
    expect(finished[0]).to.include({ method: 'WatchForUpdates', protocol: 'connect', code: 'ok' });
  });

  it('takes a compressed request, as the SDK always sends it', async () => {
    const { port } = await startGateway(
      serving(async function* () {
        yield update('one');
      }),
    );
    const open = await watch(
      port,
      { ...STREAM, 'connect-content-encoding': 'gzip', 'connect-accept-encoding': 'gzip,identity' },
      envelope(gzipSync(watchRequest), 1),
    );
    expect((await readAll(open)).uris).to.deep.equal(['one']);
  });

  it('sends its head at once, before there is a first message', async () => {
    const { port } = await startGateway(
      serving(async function* ({ signal }) {
        await forever(signal);
        yield update('never');
      }),
    );
    const open = await watch(port);
    expect(open.response.statusCode).to.equal(200);
    open.request.destroy();
  });

  it('ends with the error of the handler after the messages before it', async () => {
    const { port, finished } = await startGateway(
      serving(async function* () {
        yield update('one');
        throw notFound('run', 'r1');
      }),
    );
    expect(await readAll(await watch(port))).to.deep.equal({
      uris: ['one'],
      end: { error: { code: 'not_found', message: 'run "r1" does not exist' } },
    });
    expect(finished[0]!.code).to.equal('not_found');
  });

  it('refuses a request that breaks a rule, one that is no message, and one that is missing', async () => {
    const { port } = await startGateway(
      serving(async function* () {
        yield update('one');
      }),
    );
    const errorOf = async (body: Buffer) => (await readAll(await watch(port, STREAM, body))).end.error;
    expect(await errorOf(envelope(Buffer.alloc(0)))).to.include({ code: 'invalid_argument' });
    expect((await errorOf(envelope(Buffer.alloc(0))))!.message).to.contain('filter');
    expect(await errorOf(envelope(Buffer.from('ffffff', 'hex')))).to.have.property('code');
    expect(await errorOf(Buffer.alloc(0))).to.have.property('code');
    expect(await errorOf(Buffer.from([0, 0, 0, 0, 99, 1]))).to.have.property('code');
    expect(await errorOf(Buffer.from([0, 255, 255, 255, 255, 1]))).to.include({ code: 'resource_exhausted' });
  });

  it('is unimplemented with a sentence when nobody serves it', async () => {
    const { port } = await startGateway([]);
    expect((await readAll(await watch(port))).end.error).to.deep.equal({
      code: 'unimplemented',
      message: 'flyteidl2.actions.ActionsService.WatchForUpdates is not served yet',
    });
  });

  it('never ends with canceled while the caller listens', async () => {
    const { port } = await startGateway(
      serving(async function* () {
        yield update('one');
        throw new ConnectError('inner call canceled', Code.Canceled);
      }),
    );
    expect((await readAll(await watch(port))).end.error!.code).to.equal('unavailable');
  });

  it('ends with deadline_exceeded at its deadline, even in a handler that waits for something else', async () => {
    const { port } = await startGateway(
      serving(async function* () {
        yield update('one');
        await new Promise(() => undefined);
      }),
    );
    const open = await watch(port, { ...STREAM, 'connect-timeout-ms': '50' });
    const { uris, end } = await readAll(open);
    expect(uris).to.deep.equal(['one']);
    expect(end.error!.code).to.equal('deadline_exceeded');
  });

  it('aborts its handler and runs its finally when the caller goes away, without a line in the log', async () => {
    const seen = { aborted: false, cleaned: false };
    const { port, finished, logged } = await startGateway(
      serving(async function* ({ signal }) {
        signal.addEventListener('abort', () => {
          seen.aborted = true;
        });
        try {
          yield update('one');
          await forever(signal);
        } finally {
          seen.cleaned = true;
        }
      }),
    );
    const open = await watch(port);
    await until('the first message', () => open.received().length > 0);
    open.request.destroy();
    await until('abort and clean-up', () => seen.aborted && seen.cleaned && finished.length === 1);
    expect(finished[0]!.code).to.equal('canceled');
    expect(logged).to.deep.equal([]);
  });

  it('stops the handler at its yield while the caller does not read, and goes on when it does', async () => {
    const chunk = 'x'.repeat(64 * 1024);
    const total = 2_000;
    let yielded = 0;
    const { port } = await startGateway(
      serving(async function* () {
        for (; yielded < total; yielded++) yield update(chunk);
      }),
    );
    const open = await watch(port);
    let before = -1;
    let quietTurns = 0;
    await until('the handler pauses', () => {
      quietTurns = yielded === before ? quietTurns + 1 : 0;
      before = yielded;
      return quietTurns > 40;
    });
    expect(yielded).to.be.lessThan(300);
    expect((await readAll(open)).uris).to.have.length(total);
    expect(yielded).to.equal(total);
  });

  it('frees a handler whose caller stopped reading once the deadline has passed', async () => {
    let cleaned = false;
    const chunk = 'x'.repeat(64 * 1024);
    const { port, finished } = await startGateway(
      serving(async function* () {
        try {
          for (;;) yield update(chunk);
        } finally {
          cleaned = true;
        }
      }),
    );
    const open = await watch(port, { ...STREAM, 'connect-timeout-ms': '200' });
    await until('the handler is free', () => cleaned && finished.length === 1);
    expect(finished[0]!.code).to.equal('deadline_exceeded');
    open.request.destroy();
  });

  it('ends with unavailable when the gateway shuts down, so that clients connect again', async () => {
    const { port, server } = await startGateway(
      serving(async function* ({ signal }) {
        yield update('one');
        await forever(signal);
      }),
    );
    const open = await watch(port);
    await until('the first message', () => open.received().length > 0);
    const closed = server.close({ graceMs: 5_000 });
    await until('the end', () => open.received().toString().includes('unavailable'));
    expect(open.received().toString()).not.to.contain('canceled');
    await closed;
  });

  it('keeps back-pressure over HTTP/2 too, and delivers everything', async () => {
    const chunk = 'x'.repeat(64 * 1024);
    let yielded = 0;
    const { port } = await startGateway(
      serving(async function* () {
        for (; yielded < 300; yielded++) yield update(chunk);
      }),
    );
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const open = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/connect+proto' });
    open.end(envelope(watchRequest));
    const [head] = await once(open, 'response');
    expect(head['content-type']).to.equal('application/connect+proto');
    expect(yielded).to.be.lessThan(50);
    const chunks: Buffer[] = [];
    for await (const part of open) chunks.push(part);
    const parts = envelopes(Buffer.concat(chunks));
    expect(parts).to.have.length(301);
    expect(parts.at(-1)!.data.toString()).to.equal('{}');
    session.close();
  });

  it('sends one message to many watches, to each in its own form', async () => {
    const shared = create(WatchForUpdatesResponseSchema, update('x'.repeat(20_000)));
    const other = create(WatchForUpdatesResponseSchema, update('y'));
    const { port } = await startGateway(
      serving(async function* () {
        for (const message of [shared, other, shared]) yield message as unknown as Update;
      }),
    );
    const zipping = { ...STREAM, 'connect-accept-encoding': 'gzip' };
    const watches = await Promise.all(
      [STREAM, STREAM, zipping, zipping].map(headers => watch(port, headers).then(readAll)),
    );
    for (const { uris } of watches) expect(uris).to.deep.equal(['x'.repeat(20_000), 'y', 'x'.repeat(20_000)]);
  });

  it('serves a hundred watches at once', async () => {
    let release = (): void => undefined;
    const go = new Promise<void>(resolve => {
      release = resolve;
    });
    let running = 0;
    const { port } = await startGateway(
      serving(async function* () {
        running++;
        await go;
        yield update('one');
      }),
    );
    const opening = Array.from({ length: 100 }, () => watch(port).then(readAll));
    await until('all run', () => running === 100);
    release();
    for (const { uris } of await Promise.all(opening)) expect(uris).to.deep.equal(['one']);
  });
});
