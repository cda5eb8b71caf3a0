/** Single objects: get, head, put, copy, delete (sdk.md §6.3). */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { parseRange } from '../byte-range.ts';
import { ObjectNotFound } from '../object-errors.ts';
import type { ObjectInfo, OpenObject, PutOptions, WriteCondition } from '../object-store.ts';
import { formatObjectUri } from '../object-uri.ts';
import { contentMd5Of } from './body.ts';
import { type Call, objectUri, quoted, sendEmpty, sendXml, unquoted } from './call.ts';
import { badRequest, notImplemented, S3Error } from './s3-error.ts';
import { queryValue } from './target.ts';
import { element, xmlDocument } from './xml.ts';

const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';
const METADATA_PREFIX = 'x-amz-meta-';

export async function getObject(call: Call): Promise<void> {
  const { req, res, store } = call;
  const range = parseRange(req.headers.range);
  const opened = await store.open(objectUri(call), range && { range });
  try {
    const { info, offset, length } = opened;
    const unmet = unmetCondition(req.headers, info);
    if (unmet) return answerUnmet(res, unmet, info);
    res.writeHead(range ? 206 : 200, {
      ...objectHeaders(call, info),
      'content-length': length,
      ...(range && { 'content-range': `bytes ${offset}-${offset + length - 1}/${info.size}` }),
    });
    await sendBody(res, opened);
  } finally {
    await opened.close();
  }
}

export async function headObject(call: Call): Promise<void> {
  const uri = objectUri(call);
  const info = await call.store.head(uri);
  if (!info) throw new ObjectNotFound(uri);
  const unmet = unmetCondition(call.req.headers, info);
  if (unmet) return answerUnmet(call.res, unmet, info);
  call.res.writeHead(200, { ...objectHeaders(call, info), 'content-length': info.size });
  call.res.end();
}

export async function putObject(call: Call): Promise<void> {
  const { req, res, store } = call;
  const contentMd5 = contentMd5Of(req.headers);
  const onlyIf = writeCondition(req.headers);
  const options = { ...storedHeaders(req.headers), ...(contentMd5 && { contentMd5 }), ...(onlyIf && { onlyIf }) };
  refuseTooLarge(call);
  const { etag } = await store.put(objectUri(call), call.body(), options);
  sendEmpty(res, 200, { etag: quoted(etag) });
}

/** Refuses by the announced length, before a byte of the body is read. */
export function refuseTooLarge({ req, store }: Call): void {
  const announced = Number(req.headers['x-amz-decoded-content-length'] ?? req.headers['content-length'] ?? 0);
  if (announced > store.maxObjectBytes) {
    throw new S3Error(400, 'EntityTooLarge', `${announced} bytes are announced, the limit is ${store.maxObjectBytes}`);
  }
}

export async function copyObject(call: Call): Promise<void> {
  const { req, res, store } = call;
  const from = copySource(String(req.headers['x-amz-copy-source']));
  const conditional = Object.keys(req.headers).find(
    name => name.startsWith('x-amz-copy-source-') || name === 'if-none-match',
  );
  if (conditional) throw notImplemented(`a copy with the header ${conditional}`);
  const to = objectUri(call);
  const replace = req.headers['x-amz-metadata-directive'] === 'REPLACE';
  const { etag } = replace ? await rewrite(call, from, to) : await store.copy(from, to);
  const document = xmlDocument(
    'CopyObjectResult',
    element('LastModified', new Date((await store.head(to))?.lastModified ?? 0).toISOString()),
    element('ETag', quoted(etag)),
  );
  sendXml(res, 200, document);
}

/** A copy with the content of one object and the headers of this request. */
async function rewrite({ req, store }: Call, from: string, to: string): Promise<{ etag: string }> {
  const opened = await store.open(from);
  try {
    return await store.put(to, opened.body, storedHeaders(req.headers));
  } finally {
    await opened.close();
  }
}

export async function deleteObject(call: Call): Promise<void> {
  await call.store.delete(objectUri(call));
  sendEmpty(call.res, 204);
}

/** Content type and user metadata of a request that creates an object. */
export function storedHeaders(headers: IncomingHttpHeaders): Pick<PutOptions, 'contentType' | 'metadata'> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(METADATA_PREFIX)) metadata[name.slice(METADATA_PREFIX.length)] = String(value);
    if (name.startsWith('x-amz-server-side-encryption')) throw notImplemented(`the header ${name}`);
  }
  return { metadata, ...(headers['content-type'] && { contentType: headers['content-type'] }) };
}

/** `If-None-Match: *` and `If-Match: <etag>` of a write. */
export function writeCondition(headers: IncomingHttpHeaders): WriteCondition | undefined {
  const noneMatch = headers['if-none-match'];
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*') throw notImplemented('If-None-Match with an etag on a write (use *)');
    return 'absent';
  }
  return headers['if-match'] === undefined ? undefined : { etag: unquoted(headers['if-match']) };
}

function copySource(header: string): string {
  const path = header.split('?', 1)[0]!.replace(/^\//, '');
  const slash = path.indexOf('/');
  if (slash < 1) throw badRequest('x-amz-copy-source must be <bucket>/<key>');
  try {
    return formatObjectUri({ bucket: path.slice(0, slash), key: decodeURIComponent(path.slice(slash + 1)) });
  } catch (error) {
    throw error instanceof URIError ? badRequest('x-amz-copy-source is not percent-encoded UTF-8') : error;
  }
}

function objectHeaders({ target }: Call, info: ObjectInfo): Record<string, string> {
  const headers: Record<string, string> = {
    etag: quoted(info.etag),
    'last-modified': info.lastModified.toUTCString(),
    'accept-ranges': 'bytes',
    'content-type': queryValue(target, 'response-content-type') ?? info.contentType ?? DEFAULT_CONTENT_TYPE,
    // Objects are written by user code and may be HTML, served on the console's own origin: never let them act as it.
    'content-security-policy': 'sandbox allow-scripts allow-popups',
    'x-content-type-options': 'nosniff',
  };
  const disposition = queryValue(target, 'response-content-disposition');
  if (disposition !== undefined) headers['content-disposition'] = disposition;
  for (const [name, value] of Object.entries(info.metadata)) headers[`${METADATA_PREFIX}${name}`] = value;
  return headers;
}

/** RFC 9110 §13.2.2: etags before dates. 304 for a reader who has it already, 412 for one who expected another. */
function unmetCondition(headers: IncomingHttpHeaders, { etag, lastModified }: ObjectInfo): 304 | 412 | undefined {
  const match = headers['if-match'];
  const noneMatch = headers['if-none-match'];
  const modifiedMs = Math.floor(lastModified.getTime() / 1000) * 1000;
  if (match !== undefined) {
    if (!names(match, etag)) return 412;
  } else if (modifiedMs > Date.parse(headers['if-unmodified-since'] ?? '')) return 412;
  if (noneMatch !== undefined) return names(noneMatch, etag) ? 304 : undefined;
  return modifiedMs <= Date.parse(headers['if-modified-since'] ?? '') ? 304 : undefined;
}

const names = (list: string, etag: string): boolean =>
  list.split(',').some(each => each.trim() === '*' || unquoted(each.trim().replace(/^W\//, '')) === etag);

function answerUnmet(res: ServerResponse, status: 304 | 412, info: ObjectInfo): void {
  if (status === 412) throw new S3Error(412, 'PreconditionFailed', 'a condition of the request headers does not hold');
  sendEmpty(res, 304, { etag: quoted(info.etag), 'last-modified': info.lastModified.toUTCString() });
}

/** Writes at the pace of the reader. A body that breaks midway destroys the connection: a short answer must never look complete. */
async function sendBody(res: ServerResponse, { body, length }: OpenObject): Promise<void> {
  try {
    let left = length;
    for await (const chunk of body) {
      left -= chunk.length;
      // The last piece goes with the end: a small answer is then one write to the socket.
      if (left === 0) res.end(chunk);
      else if (!res.write(chunk)) await drained(res);
      if (res.destroyed) return;
    }
    if (!res.writableEnded) res.end();
  } catch (error) {
    res.destroy();
    throw error;
  }
}

/** Until the client has taken what is buffered, or is gone. */
function drained(res: ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    res.off('drain', done).off('close', done);
    resolve();
  };
  res.on('drain', done).on('close', done);
  if (res.destroyed) done();
  return promise;
}
