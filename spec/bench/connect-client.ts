/**
 * A Connect client as lean as a load generator needs: binary, HTTP/1.1, keep-alive, gzip bodies off. It shares the machine
 * with the server it measures, so every cycle it saves is one the server shows.
 */

import http from 'node:http';
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';

type Unary = DescMethod & { methodKind: 'unary' };
type Streaming = DescMethod & { methodKind: 'server_streaming' };

export class BenchClient {
  readonly endpoint: string;
  readonly #host: string;
  readonly #port: number;
  readonly #agent: http.Agent;

  constructor(endpoint: string, maxSockets = 1_024) {
    this.endpoint = endpoint;
    const [host, port] = endpoint.split(':');
    this.#host = host!;
    this.#port = Number(port);
    this.#agent = new http.Agent({ keepAlive: true, maxSockets });
  }

  /** @throws Error with code and message of a Connect error answer */
  call<M extends Unary>(method: M, request: MessageInitShape<M['input']>): Promise<MessageShape<M['output']>> {
    const body = toBinary(method.input, create(method.input, request));
    return new Promise((resolve, reject) => {
      const headers = {
        'content-type': 'application/proto',
        'content-length': body.length,
        'connect-protocol-version': '1',
      };
      const out = http.request(this.#options(method, headers, this.#agent), response => {
        const chunks: Buffer[] = [];
        response.on('data', chunk => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const answer = Buffer.concat(chunks);
          if (response.statusCode === 200) resolve(fromBinary(method.output, answer) as MessageShape<M['output']>);
          else reject(new Error(`${method.name}: ${response.statusCode} ${answer.toString('utf8').slice(0, 300)}`));
        });
      });
      out.on('error', reject);
      out.end(body);
    });
  }

  /** Follows a server stream until it ends or the caller stops iterating; one that is read to its end leaves its connection to others. */
  async *follow<M extends Streaming>(
    method: M,
    request: MessageInitShape<M['input']>,
  ): AsyncGenerator<MessageShape<M['output']>> {
    const response = await this.#stream(method, request);
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of response) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let offset = 0;
      while (rest.length - offset >= 5) {
        const length = rest.readUInt32BE(offset + 1);
        if (rest.length - offset - 5 < length) break;
        const payload = rest.subarray(offset + 5, offset + 5 + length);
        if ((rest[offset]! & 2) !== 0) {
          const end = JSON.parse(payload.toString('utf8')) as { error?: { code: string; message?: string } };
          if (end.error) throw new Error(`${method.name}: ${end.error.code} ${end.error.message ?? ''}`);
          offset += 5 + length;
          continue;
        }
        yield fromBinary(method.output, payload) as MessageShape<M['output']>;
        offset += 5 + length;
      }
      rest = rest.subarray(offset);
    }
  }

  /** Opens a server stream and reads it without looking at it, so that many of them cost this process little; ends with `stop`. */
  async drain<M extends Streaming>(method: M, request: MessageInitShape<M['input']>): Promise<{ stop(): void }> {
    const response = await this.#stream(method, request);
    response.on('error', () => undefined).resume();
    return { stop: () => response.destroy() };
  }

  #stream<M extends Streaming>(method: M, request: MessageInitShape<M['input']>): Promise<http.IncomingMessage> {
    const body = toBinary(method.input, create(method.input, request));
    const frame = Buffer.alloc(5 + body.length);
    frame.writeUInt32BE(body.length, 1);
    frame.set(body, 5);
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/connect+proto', 'connect-protocol-version': '1' };
      const out = http.request(this.#options(method, headers, this.#agent), resolve);
      out.on('error', reject);
      out.end(frame);
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #options(method: DescMethod, headers: http.OutgoingHttpHeaders, agent: http.Agent | false): http.RequestOptions {
    const path = `/${method.parent.typeName}/${method.name}`;
    return { host: this.#host, port: this.#port, method: 'POST', path, headers, agent };
  }
}
