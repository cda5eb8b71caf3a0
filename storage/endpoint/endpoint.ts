/**
 * The S3 endpoint of the embedded default: the operations that the SDK's object store client, its signed links and the AWS SDK use
 * (sdk.md §6.3), over a directory store, path style, every request signed. Everything else is refused by name.
 *
 * E1  No request can crash the process, and none leaves more than one error document behind.
 * E2  Memory does not grow with the size of a body in either direction.
 * E3  A request that fails or is cut off changes nothing.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { DirectoryStore } from '../directory.ts';
import type { SigV4Credentials } from '../sigv4.ts';
import { Authenticator } from './authentication.ts';
import { DEFAULT_STALL_TIMEOUT_MS, receiveBody } from './body.ts';
import { deleteObjects, listObjects } from './bucket.ts';
import type { Call } from './call.ts';
import { abortUpload, completeUpload, createUpload, uploadPart } from './multipart.ts';
import { copyObject, deleteObject, getObject, headObject, putObject } from './objects.ts';
import { asS3Error, errorDocument, notImplemented, S3Error } from './s3-error.ts';
import { parseTarget, queryValue, type Target } from './target.ts';

export interface S3EndpointOptions {
  readonly store: DirectoryStore;
  /** The one key pair that may do everything; the same the store signs its links with. */
  readonly credentials: SigV4Credentials;
  /** Where the handler is mounted, e.g. `/s3`, or empty. It must see the URL as the client sent it: the path is part of the signature. */
  readonly pathPrefix: string;
  readonly logger: Logger;
  readonly now?: () => Date;
  readonly stallTimeoutMs?: number;
}

/** How long a refused client may go on sending before its connection is cut, so that it reads the answer rather than a reset. */
const LINGER_MS = 2_000;

export function s3Endpoint(options: S3EndpointOptions): (req: IncomingMessage, res: ServerResponse) => void {
  const authenticator = new Authenticator(options.credentials, options.now ?? (() => new Date()));
  const run = randomBytes(4).toString('hex');
  let requests = 0;
  return (req, res) => {
    const requestId = `${run}-${++requests}`;
    req.on('error', () => {});
    res.on('error', () => {});
    res.setHeader('x-amz-request-id', requestId);
    serve(options, authenticator, req, res).catch(error => refuse(options.logger, req, res, requestId, error));
  };
}

async function serve(
  options: S3EndpointOptions,
  authenticator: Authenticator,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const target = parseTarget(req.url ?? '', options.pathPrefix);
  const payload = authenticator.verify(req.method ?? '', target, req.headers);
  const stallTimeoutMs = options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS;
  const body = (): AsyncIterable<Uint8Array> => receiveBody(req, payload, stallTimeoutMs);
  await route(req, target)({ req, res, store: options.store, target, body });
}

type Operation = (call: Call) => Promise<void>;

const LIST_PARAMETERS = [
  'list-type',
  'prefix',
  'delimiter',
  'continuation-token',
  'start-after',
  'max-keys',
  'encoding-type',
  'fetch-owner',
];
const GET_PARAMETERS = ['response-content-type', 'response-content-disposition'];

function route(req: IncomingMessage, target: Target): Operation {
  const has = (name: string): boolean => queryValue(target, name) !== undefined;
  const allow = (operation: Operation, ...parameters: string[]): Operation => {
    const other = target.query.find(
      ([name]) => !parameters.includes(name) && name !== 'x-id' && !/^x-amz-/i.test(name),
    );
    if (other) throw notImplemented(`the query parameter ${other[0]} on ${req.method}`);
    return operation;
  };
  if (target.key === '') {
    if (req.method === 'GET') return allow(listObjects, ...LIST_PARAMETERS);
    if (req.method === 'POST' && has('delete')) return allow(deleteObjects, 'delete');
    throw notImplemented(`${req.method} on a bucket`);
  }
  switch (req.method) {
    case 'GET':
      return allow(getObject, ...GET_PARAMETERS);
    case 'HEAD':
      return allow(headObject, ...GET_PARAMETERS);
    case 'PUT':
      if (req.headers['x-amz-copy-source'] !== undefined) return allow(copyObject);
      return has('uploadId') ? allow(uploadPart, 'uploadId', 'partNumber') : allow(putObject);
    case 'POST':
      if (has('uploads')) return allow(createUpload, 'uploads');
      return has('uploadId') ? allow(completeUpload, 'uploadId') : notPossible(req);
    case 'DELETE':
      return has('uploadId') ? allow(abortUpload, 'uploadId') : allow(deleteObject);
    default:
      return notPossible(req);
  }
}

function notPossible(req: IncomingMessage): never {
  throw new S3Error(405, 'MethodNotAllowed', `${req.method} is not possible on an object`);
}

function refuse(logger: Logger, req: IncomingMessage, res: ServerResponse, requestId: string, error: unknown): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    logger.debug({ err: error, requestId }, 'object request was cut off');
    return;
  }
  let known = asS3Error(error);
  if (!known || known.status === 503 || known.status === 507) {
    logger.error({ err: error, requestId, method: req.method }, 'object request failed');
    known ??= new S3Error(
      500,
      'InternalError',
      `the object store failed; its log has the cause under request ${requestId}`,
    );
  }
  const document = Buffer.from(errorDocument(known, (req.url ?? '').split('?', 1)[0]!, requestId));
  const unread = !req.complete;
  res.writeHead(known.status, {
    ...known.headers,
    ...(req.method !== 'HEAD' && { 'content-type': 'application/xml', 'content-length': document.length }),
    ...(unread && { connection: 'close' }),
  });
  if (!unread) {
    res.end(document);
    return;
  }
  // The answer is complete on the wire with its last byte; the connection stays until the client has finished or lingered enough.
  res.write(document);
  const end = (): void => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, known.code === 'RequestTimeout' ? 0 : LINGER_MS);
  req.once('end', end).once('close', end);
  req.removeAllListeners('readable');
  req.resume();
}
