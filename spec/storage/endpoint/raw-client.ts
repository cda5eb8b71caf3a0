/** Sends exactly what a spec says, signed: no client library that would correct it on the way. */
import { type IncomingHttpHeaders, request } from 'node:http';
import {
  amzDate,
  awsEncode,
  awsEncodePath,
  scopeText,
  sha256Hex,
  signature,
  signingKey,
} from '../../../storage/sigv4.ts';
import { credentials, type Embedded } from '../embedded.ts';

export interface RawRequest {
  method: string;
  /** Below the endpoint, decoded: `/bucket/key`. */
  path: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  /** Instead of the hash of the body. */
  payload?: string;
  at?: Date;
  accessKeyId?: string;
  secretAccessKey?: string;
  /** Changes the request after it was signed. */
  tamper?: (wire: { path: string; headers: Record<string, string>; body: Buffer }) => void;
}

export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** `<Code>` of an error document. */
  code: string | undefined;
}

export async function send({ url }: Pick<Embedded, 'url'>, options: RawRequest): Promise<RawAnswer> {
  const base = new URL(url);
  const body = Buffer.from(options.body ?? '');
  const at = amzDate(options.at ?? new Date());
  const path = `${base.pathname}${options.path}`;
  const query = Object.entries(options.query ?? {});
  const payload = options.payload ?? sha256Hex(body);
  const headers: Record<string, string> = {
    host: base.host,
    'x-amz-date': at,
    'x-amz-content-sha256': payload,
    ...options.headers,
  };
  const { accessKeyId, secretAccessKey } = { ...credentials, ...options };
  const scope = { day: at.slice(0, 8), region: 'eu-anywhere-1', service: 's3' };
  const signed = { method: options.method, path, query, headers: Object.entries(headers), payload };
  const mark = signature(signingKey(secretAccessKey, scope), signed, at, scope);
  const names = Object.keys(headers).sort().join(';');
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scopeText(scope)}, SignedHeaders=${names}, Signature=${mark}`;
  const search = query.map(([name, value]) => `${awsEncode(name)}=${awsEncode(value)}`).join('&');
  const wire = { path: `${awsEncodePath(path)}${search === '' ? '' : `?${search}`}`, headers, body };
  options.tamper?.(wire);
  return sendPlain(base, options.method, wire.path, wire.headers, wire.body);
}

/** One request as it stands; `path` goes on the wire unchanged. */
export function sendPlain(
  base: URL,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: Uint8Array = Buffer.alloc(0),
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const req = request({ host: base.hostname, port: base.port, method, path, agent: false }, res => {
      const chunks: Buffer[] = [];
      res.on('data', chunk => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({
          status: res.statusCode!,
          headers: res.headers,
          body: text,
          code: /<Code>(.*?)<\/Code>/.exec(text)?.[1],
        });
      });
    });
    req.on('error', reject);
    for (const [name, value] of Object.entries(headers)) req.setHeader(name, value);
    if (body.length > 0 && !('content-length' in headers)) req.setHeader('content-length', body.length);
    req.end(body);
  });
}
