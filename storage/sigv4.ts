/**
 * AWS Signature Version 4 for S3, the pure part: canonical requests, signatures, presigned URLs. Shared by the embedded endpoint,
 * which verifies, and by the directory store, which signs upload and download links for that endpoint.
 */
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';

export interface SigV4Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Everything of a request that a signature covers. Path and query values are decoded; header names are in lower case. */
export interface SignableRequest {
  readonly method: string;
  readonly path: string;
  readonly query: ReadonlyArray<readonly [name: string, value: string]>;
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** Hex SHA-256 of the body, `UNSIGNED-PAYLOAD`, or one of the `STREAMING-…` words. */
  readonly payload: string;
}

/** What a credential is scoped to: `<yyyymmdd>/<region>/<service>/aws4_request`. */
export interface SigningScope {
  readonly day: string;
  readonly region: string;
  readonly service: string;
}

export const ALGORITHM = 'AWS4-HMAC-SHA256';
export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** SigV4 refuses longer-lived URLs. */
export const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

/** RFC 3986 encoding as AWS wants it: everything but letters, digits and `-._~`. */
export const awsEncode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

export const awsEncodePath = (path: string): string => path.split('/').map(awsEncode).join('/');

/** `20261124T131800Z` */
export const amzDate = (at: Date): string => `${at.toISOString().replace(/[-:]/g, '').slice(0, 15)}Z`;

/** The inverse of amzDate; undefined when the text is no such date. */
export function parseAmzDate(text: string): Date | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const at = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(at.getTime()) ? undefined : at;
}

export const scopeText = (scope: SigningScope): string => `${scope.day}/${scope.region}/${scope.service}/aws4_request`;

export const sha256Hex = (data: string | Uint8Array): string => hash('sha256', data);

const hmac = (key: string | Buffer | KeyObject, data: string): Buffer =>
  createHmac('sha256', key).update(data).digest();

/** The key that signs everything of one day, region and service; worth keeping, as a KeyObject signs six times as fast as a Buffer. */
export function signingKey(secret: string, scope: SigningScope): KeyObject {
  return createSecretKey(
    hmac(hmac(hmac(hmac(`AWS4${secret}`, scope.day), scope.region), scope.service), 'aws4_request'),
  );
}

export const signText = (key: KeyObject, text: string): string => hmac(key, text).toString('hex');

/** The hex signature of a request whose `headers` are exactly the signed ones. `at` is its amzDate. */
export function signature(key: KeyObject, request: SignableRequest, at: string, scope: SigningScope): string {
  return signText(key, [ALGORITHM, at, scopeText(scope), sha256Hex(canonicalRequest(request))].join('\n'));
}

export interface PresignOptions {
  readonly credentials: SigV4Credentials;
  readonly region: string;
  readonly method: 'GET' | 'PUT';
  /** Where clients reach the endpoint, a path included: `http://localhost:8090/s3`. */
  readonly baseUrl: string;
  /** Decoded path below baseUrl, starting with a slash. */
  readonly path: string;
  readonly query?: ReadonlyArray<readonly [string, string]>;
  /** Headers the client has to send as given, names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly expiresSeconds: number;
  readonly now: Date;
}

/** A URL carrying its own signature. */
export function presign(options: PresignOptions): string {
  const base = new URL(options.baseUrl);
  const path = `${decodeURIComponent(base.pathname).replace(/\/+$/, '')}${options.path}`;
  const at = amzDate(options.now);
  const scope: SigningScope = { day: at.slice(0, 8), region: options.region, service: 's3' };
  const headers = Object.entries({ ...options.headers, host: base.host });
  const query: Array<readonly [string, string]> = [
    ...(options.query ?? []),
    ['X-Amz-Algorithm', ALGORITHM],
    ['X-Amz-Credential', `${options.credentials.accessKeyId}/${scopeText(scope)}`],
    ['X-Amz-Date', at],
    ['X-Amz-Expires', String(options.expiresSeconds)],
    ['X-Amz-SignedHeaders', signedNames(headers)],
  ];
  const request: SignableRequest = { method: options.method, path, query, headers, payload: UNSIGNED_PAYLOAD };
  const key = signingKey(options.credentials.secretAccessKey, scope);
  query.push(['X-Amz-Signature', signature(key, request, at, scope)]);
  return `${base.origin}${awsEncodePath(path)}?${canonicalQuery(query)}`;
}

function canonicalRequest(request: SignableRequest): string {
  const headers = [...request.headers]
    .map(([name, value]) => [name, value.trim().replace(/ +/g, ' ')] as const)
    .sort(byText);
  return [
    request.method,
    awsEncodePath(request.path),
    canonicalQuery(request.query),
    ...headers.map(([name, value]) => `${name}:${value}`),
    '',
    signedNames(headers),
    request.payload,
  ].join('\n');
}

function canonicalQuery(query: ReadonlyArray<readonly [string, string]>): string {
  return query
    .map(([name, value]) => [awsEncode(name), awsEncode(value)] as const)
    .sort(byText)
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

const signedNames = (headers: ReadonlyArray<readonly [string, string]>): string =>
  headers
    .map(([name]) => name)
    .sort()
    .join(';');

type Pair = readonly [string, string];
const byText = (a: Pair, b: Pair): number => (a[0] === b[0] ? compare(a[1], b[1]) : compare(a[0], b[0]));
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
