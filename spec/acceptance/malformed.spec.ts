import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { GetRunDetailsRequestSchema } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { eventually } from '../support/eventually.ts';
import { MAX_REQUEST_BYTES, useStarling } from './starling.ts';
import { domain, project } from './tasks.ts';

const SERVICE = '/flyteidl2.workflow.RunService';
const PROTO = { 'content-type': 'application/proto', 'connect-protocol-version': '1' };
const STREAM = { 'content-type': 'application/connect+proto', 'connect-protocol-version': '1' };

describe('acceptance: requests that are broken', () => {
  const starling = useStarling();
  const good = toBinary(
    GetRunDetailsRequestSchema,
    create(GetRunDetailsRequestSchema, { runId: { project, domain, name: 'nobody' } }),
  );
  const post = async (
    path: string,
    headers: Record<string, string>,
    body: Uint8Array<ArrayBuffer> | string,
  ): Promise<{ status: number; code: string; message: string; type: string | null; bytes: Buffer }> => {
    const answer = await fetch(`${starling().url}${path}`, { method: 'POST', headers, body });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const type = answer.headers.get('content-type');
    const { code = '', message = '' } = type === 'application/json' ? JSON.parse(bytes.toString()) : {};
    return { status: answer.status, code, message, type, bytes };
  };
  const bytes = (data: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(data);

  it('a body that is no message', async () => {
    const { status, code, message } = await post(`${SERVICE}/GetRunDetails`, PROTO, bytes(Buffer.from('no protobuf')));
    expect({ status, code }).to.deep.equal({ status: 400, code: 'invalid_argument' });
    expect(message).to.include('GetRunDetailsRequest');
  });

  it('a message cut in the middle', async () => {
    const answer = await post(`${SERVICE}/GetRunDetails`, PROTO, bytes(good.subarray(0, -3)));
    expect(answer).to.include({ status: 400, code: 'invalid_argument' });
  });

  it('JSON that is none, or has a field nobody knows', async () => {
    const json = { 'content-type': 'application/json' };
    expect(await post(`${SERVICE}/GetRunDetails`, json, '{"runId":')).to.include({
      status: 400,
      code: 'invalid_argument',
    });
    const wrong = await post(`${SERVICE}/GetRunDetails`, json, '{"runId":{"name":7}}');
    expect(wrong).to.include({ status: 400, code: 'invalid_argument' });
    expect(wrong.message).to.include('name');
  });

  it('a body labelled gzip that is cut short, and one that is none', async () => {
    const gzip = { ...PROTO, 'content-encoding': 'gzip' };
    const cut = await post(`${SERVICE}/GetRunDetails`, gzip, bytes(gzipSync(good).subarray(0, 20)));
    expect(cut).to.include({ status: 400, code: 'invalid_argument' });
    expect(cut.message).to.include('gzip');
    // Some HTTP layers leave the label on after they have inflated.
    expect(await post(`${SERVICE}/GetRunDetails`, gzip, bytes(good))).to.include({ status: 404, code: 'not_found' });
    expect(await post(`${SERVICE}/GetRunDetails`, { ...PROTO, 'content-encoding': 'zstd' }, bytes(good))).to.include({
      code: 'unimplemented',
    });
  });

  it('a content type of another world', async () => {
    for (const type of ['text/html', 'application/x-www-form-urlencoded', 'application/xml']) {
      const { status } = await post(`${SERVICE}/GetRunDetails`, { 'content-type': type }, 'x=1');
      expect(status, type).to.equal(415);
    }
  });

  it('an unknown method or service: 404 that Connect clients read as unimplemented', async () => {
    for (const path of [`${SERVICE}/MakeCoffee`, '/flyteidl2.kitchen.CoffeeService/Make']) {
      const answer = await post(path, PROTO, bytes(good));
      expect(answer).to.include({ status: 404, code: 'unimplemented' });
      expect(answer.message).to.include(path.slice(1));
    }
  });

  it('a service of the contract that is not built yet says so in a sentence', async () => {
    const answer = await post('/flyteidl2.secret.SecretService/ListSecrets', PROTO, '');
    expect(answer.code).to.equal('unimplemented');
    expect(answer.message).to.include('SecretService.ListSecrets is not served yet');
  });

  it('a GET where only POST is served, and a page nobody has', async () => {
    expect((await fetch(`${starling().url}${SERVICE}/CreateRun`)).status).to.equal(405);
    const page = await fetch(`${starling().url}/nothing/here`);
    expect(page.status).to.equal(404);
    expect(await page.text()).to.include('/nothing/here');
  });

  it('a body beyond the limit is refused at its announcement, and a bomb when it bursts', async () => {
    const tooLong = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { ...PROTO, 'content-length': String(MAX_REQUEST_BYTES + 1) };
      const request = httpRequest(
        `${starling().url}${SERVICE}/GetRunDetails`,
        { method: 'POST', headers },
        response => {
          response.resume();
          resolve(response.statusCode);
          request.destroy();
        },
      );
      request.on('error', reject);
      request.flushHeaders();
    });
    expect(tooLong).to.equal(429);
    const bomb = gzipSync(Buffer.alloc(MAX_REQUEST_BYTES * 2));
    const answer = await post(`${SERVICE}/GetRunDetails`, { ...PROTO, 'content-encoding': 'gzip' }, bytes(bomb));
    expect(answer.code).to.equal('resource_exhausted');
    expect(answer.message).to.include(String(MAX_REQUEST_BYTES));
  });

  it('a body that stops half-way costs a connection and no more', async () => {
    const before = await starling().metric('starling_gateway_requests_total', {
      method: 'GetRunDetails',
      code: 'canceled',
    });
    const socket = connect(starling().server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      `POST ${SERVICE}/GetRunDetails HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 1000\r\n\r\nhalf`,
    );
    await new Promise(resolve => setTimeout(resolve, 50));
    socket.destroy();
    await eventually(
      async () =>
        (await starling().metric('starling_gateway_requests_total', { method: 'GetRunDetails', code: 'canceled' })) ===
        before + 1,
    );
  });

  it('a stream request that is none: the error stands in the end of the stream', async () => {
    for (const body of [
      Buffer.from('garbage'),
      Buffer.concat([Buffer.from([0, 0, 0, 0, 3]), Buffer.from('abc')]),
      Buffer.alloc(0),
    ]) {
      const answer = await post(`${SERVICE}/WatchActionDetails`, STREAM, bytes(body));
      expect(answer.status).to.equal(200);
      expect(answer.type).to.equal('application/connect+proto');
      expect(answer.bytes[0]).to.equal(2);
      const end = JSON.parse(answer.bytes.subarray(5).toString());
      expect(end.error.code).to.be.oneOf(['invalid_argument', 'unimplemented', 'resource_exhausted']);
    }
  });

  it('a stream method called as a unary one, and the other way round', async () => {
    expect((await post(`${SERVICE}/WatchActionDetails`, PROTO, bytes(good))).status).to.equal(415);
    expect((await post(`${SERVICE}/GetRunDetails`, STREAM, bytes(good))).status).to.equal(415);
  });

  it('a time-out that is none', async () => {
    for (const timeout of ['soon', '-1', '99999999999999']) {
      const answer = await post(`${SERVICE}/GetRunDetails`, { ...PROTO, 'connect-timeout-ms': timeout }, bytes(good));
      expect(answer.code, timeout).to.equal('invalid_argument');
    }
  });

  it('bytes that are no HTTP at all', async () => {
    const heard = await new Promise<string>(resolve => {
      const socket = connect(starling().server.port, '127.0.0.1');
      let text = '';
      socket.on('data', chunk => (text += chunk));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(text));
      socket.write('\x16\x03\x01 this is TLS, is it not?\r\n\r\n');
    });
    expect(heard).to.match(/^(HTTP\/1.1 400|$)/);
  });

  it('none of it is a fault of the server, and it still serves', async () => {
    expect(await starling().metric('starling_gateway_requests_total', { code: 'internal' })).to.equal(0);
    expect((await fetch(`${starling().url}/readyz`)).status).to.equal(200);
  });
});
