/**
 * Who may do what: every request carries a SigV4 signature made with the one static key pair, in the Authorization header or in the
 * query (a presigned URL). The signature covers method, path, query, host and every x-amz header; the body is covered by the payload
 * hash it contains, which body.ts checks while the body arrives.
 */
import { type KeyObject, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import {
  ALGORITHM,
  amzDate,
  MAX_EXPIRES_SECONDS,
  parseAmzDate,
  type SigningScope,
  type SigV4Credentials,
  signature,
  signingKey,
  UNSIGNED_PAYLOAD,
} from '../sigv4.ts';
import { S3Error } from './s3-error.ts';
import { queryValue, type Target } from './target.ts';

/** How the body is protected. */
export type Payload =
  | { readonly kind: 'unsigned' }
  | { readonly kind: 'sha256'; readonly hex: string }
  | { readonly kind: 'chunked'; readonly chain?: ChunkChain };

/** What signing of single chunks starts from. */
export interface ChunkChain {
  readonly key: KeyObject;
  readonly at: string;
  readonly scope: SigningScope;
  readonly seed: string;
}

const MAX_SKEW_MS = 15 * 60 * 1000;
const SIGNABLE_WORDS = /^(?:[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]+)$/;

export class Authenticator {
  readonly #credentials: SigV4Credentials;
  readonly #now: () => Date;
  /** The derived key of the last scope seen: one per day and region, and deriving it costs four HMACs. */
  #cached: { scope: string; key: KeyObject } | undefined;

  constructor(credentials: SigV4Credentials, now: () => Date) {
    this.#credentials = credentials;
    this.#now = now;
  }

  /** Throws S3Error (400, 403, 501) unless the request is signed by our key pair and in time. */
  verify(method: string, target: Target, headers: IncomingHttpHeaders): Payload {
    if (headers.authorization !== undefined) return this.#verifyHeader(method, target, headers, headers.authorization);
    if (queryValue(target, 'X-Amz-Signature') !== undefined) return this.#verifyQuery(method, target, headers);
    throw denied('the request is not signed; configure the access key of this store');
  }

  #verifyHeader(method: string, target: Target, headers: IncomingHttpHeaders, authorization: string): Payload {
    const match =
      /^AWS4-HMAC-SHA256\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/.exec(
        authorization,
      );
    if (!match)
      throw malformed('the Authorization header must be AWS4-HMAC-SHA256 with Credential, SignedHeaders and Signature');
    const at = single(headers['x-amz-date']) ?? dateHeader(headers.date);
    const signedAt = at === undefined ? undefined : parseAmzDate(at);
    if (at === undefined || signedAt === undefined)
      throw denied('the request needs an x-amz-date header like 20260131T235959Z');
    if (Math.abs(this.#now().getTime() - signedAt.getTime()) > MAX_SKEW_MS) {
      throw new S3Error(
        403,
        'RequestTimeTooSkewed',
        `signed at ${at}, the server has ${amzDate(this.#now())}; set the clocks`,
      );
    }
    const payload = single(headers['x-amz-content-sha256']);
    if (payload === undefined) throw new S3Error(400, 'InvalidRequest', 'the header x-amz-content-sha256 is missing');
    return this.#verify(method, target, target.query, headers, {
      credential: match[1]!,
      signedHeaders: match[2]!,
      signature: match[3]!,
      at,
      payload,
    });
  }

  #verifyQuery(method: string, target: Target, headers: IncomingHttpHeaders): Payload {
    const parameter = (name: string): string => {
      const value = queryValue(target, name);
      if (value === undefined) throw queryError(`the query parameter ${name} is missing`);
      return value;
    };
    if (parameter('X-Amz-Algorithm') !== ALGORITHM) throw queryError(`X-Amz-Algorithm must be ${ALGORITHM}`);
    const at = parameter('X-Amz-Date');
    const signedAt = parseAmzDate(at);
    if (signedAt === undefined) throw queryError('X-Amz-Date must look like 20260131T235959Z');
    const expires = Number(parameter('X-Amz-Expires'));
    if (!(Number.isInteger(expires) && expires >= 1 && expires <= MAX_EXPIRES_SECONDS)) {
      throw queryError(`X-Amz-Expires must be 1 to ${MAX_EXPIRES_SECONDS} seconds`);
    }
    const payload = this.#verify(
      method,
      target,
      target.query.filter(([name]) => name !== 'X-Amz-Signature'),
      headers,
      {
        credential: parameter('X-Amz-Credential'),
        signedHeaders: parameter('X-Amz-SignedHeaders'),
        signature: parameter('X-Amz-Signature'),
        at,
        payload: queryValue(target, 'X-Amz-Content-Sha256') ?? UNSIGNED_PAYLOAD,
      },
    );
    const nowMs = this.#now().getTime();
    if (signedAt.getTime() - nowMs > MAX_SKEW_MS) throw denied('Request is not valid yet; set the clocks');
    // The SDK looks for these words to tell an expired URL from a wrong one (sdk-2.12.md §1, row "4.1 PUT").
    if (nowMs >= signedAt.getTime() + expires * 1000) throw denied('Request has expired');
    return payload;
  }

  #verify(
    method: string,
    target: Target,
    query: Target['query'],
    headers: IncomingHttpHeaders,
    claim: { credential: string; signedHeaders: string; signature: string; at: string; payload: string },
  ): Payload {
    const [accessKeyId, day, region, service, end, ...more] = claim.credential.split('/');
    if (!region || service !== 's3' || end !== 'aws4_request' || more.length > 0 || day !== claim.at.slice(0, 8)) {
      throw malformed('the credential must be <access key>/<day of x-amz-date>/<region>/s3/aws4_request');
    }
    if (accessKeyId !== this.#credentials.accessKeyId) {
      throw new S3Error(403, 'InvalidAccessKeyId', 'this store does not know the access key; configure its key pair');
    }
    if (!SIGNABLE_WORDS.test(claim.payload)) {
      throw badPayload('x-amz-content-sha256 must be a hex SHA-256, UNSIGNED-PAYLOAD or a STREAMING- word');
    }
    const scope: SigningScope = { day, region, service };
    const key = this.#key(scope);
    const signed = signedHeaders(headers, claim.signedHeaders.split(';'));
    const expected = signature(
      key,
      { method, path: target.path, query, headers: signed, payload: claim.payload },
      claim.at,
      scope,
    );
    if (
      expected.length !== claim.signature.length ||
      !timingSafeEqual(Buffer.from(expected), Buffer.from(claim.signature))
    ) {
      throw new S3Error(
        403,
        'SignatureDoesNotMatch',
        'the signature does not match the request; check the secret key, and that no proxy changed method, host, path or headers',
      );
    }
    return payloadOf(claim.payload, { key, at: claim.at, scope, seed: claim.signature });
  }

  #key(scope: SigningScope): KeyObject {
    const name = `${scope.day}/${scope.region}`;
    if (this.#cached?.scope !== name) {
      this.#cached = { scope: name, key: signingKey(this.#credentials.secretAccessKey, scope) };
    }
    return this.#cached.key;
  }
}

function payloadOf(word: string, chain: ChunkChain): Payload {
  switch (word) {
    case UNSIGNED_PAYLOAD:
      return { kind: 'unsigned' };
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked' };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return { kind: 'chunked', chain };
    default:
      if (word.startsWith('STREAMING-'))
        throw new S3Error(501, 'NotImplemented', `payload signing ${word} is not supported here`);
      return { kind: 'sha256', hex: word };
  }
}

/** The signed headers with their values. Whatever is signed must be there; host and all x-amz headers that are there must be signed. */
function signedHeaders(headers: IncomingHttpHeaders, names: string[]): Array<readonly [string, string]> {
  const all: IncomingHttpHeaders = { ...headers, host: headers.host ?? single(headers[':authority']) };
  const unsigned = Object.keys(all).find(
    name => (name === 'host' || name.startsWith('x-amz-')) && !names.includes(name),
  );
  if (unsigned !== undefined) throw denied(`the header ${unsigned} was sent but not signed`);
  return names.map(name => {
    const value = single(all[name]);
    if (value === undefined)
      throw denied(`the header ${name} was signed but not sent; send the headers that came with the URL`);
    return [name, value] as const;
  });
}

const single = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(',') : value;

function dateHeader(text: string | undefined): string | undefined {
  const at = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) ? undefined : amzDate(new Date(at));
}

const denied = (message: string): S3Error => new S3Error(403, 'AccessDenied', message);
const malformed = (message: string): S3Error => new S3Error(400, 'AuthorizationHeaderMalformed', message);
const queryError = (message: string): S3Error => new S3Error(400, 'AuthorizationQueryParametersError', message);
const badPayload = (message: string): S3Error => new S3Error(400, 'InvalidArgument', message);
