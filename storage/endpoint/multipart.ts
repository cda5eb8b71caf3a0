/** Multipart uploads over HTTP (sdk.md §6.3); the work is in directory/uploads.ts. */
import { MAX_PARTS, type UploadedPart } from '../directory/uploads.ts';
import { checkPutOptions } from '../put-options.ts';
import { contentMd5Of, readText } from './body.ts';
import { type Call, objectUri, quoted, sendEmpty, sendXml, unquoted } from './call.ts';
import { refuseTooLarge, storedHeaders, writeCondition } from './objects.ts';
import { badRequest, S3Error } from './s3-error.ts';
import { queryValue } from './target.ts';
import { childrenOf, element, parseXml, textOf, xmlDocument } from './xml.ts';

/** 10,000 parts with etag, number and checksum, generously. */
const MAX_COMPLETION_BYTES = 4 * 1024 * 1024;

export async function createUpload(call: Call): Promise<void> {
  const uri = objectUri(call);
  const stored = storedHeaders(call.req.headers);
  checkPutOptions(stored);
  const id = await call.store.uploads.begin(uri, stored);
  const { bucket, key } = call.target;
  const document = xmlDocument(
    'InitiateMultipartUploadResult',
    element('Bucket', bucket),
    element('Key', key),
    element('UploadId', id),
  );
  sendXml(call.res, 200, document);
}

export async function uploadPart(call: Call): Promise<void> {
  const number = Number(queryValue(call.target, 'partNumber'));
  if (!(Number.isInteger(number) && number >= 1 && number <= MAX_PARTS))
    throw badRequest(`partNumber must be 1 to ${MAX_PARTS}`);
  refuseTooLarge(call);
  const md5 = contentMd5Of(call.req.headers);
  const { etag } = await call.store.uploads.putPart(uploadId(call), objectUri(call), number, call.body(), md5);
  sendEmpty(call.res, 200, { etag: quoted(etag) });
}

export async function completeUpload(call: Call): Promise<void> {
  const onlyIf = writeCondition(call.req.headers);
  const parts = partsOf(await readText(call.body(), call.req.headers, MAX_COMPLETION_BYTES));
  const { etag } = await call.store.uploads.complete(uploadId(call), objectUri(call), parts, onlyIf);
  const { bucket, key, path } = call.target;
  const document = xmlDocument(
    'CompleteMultipartUploadResult',
    element('Location', path),
    element('Bucket', bucket),
    element('Key', key),
    element('ETag', quoted(etag)),
  );
  sendXml(call.res, 200, document);
}

export async function abortUpload(call: Call): Promise<void> {
  await call.store.uploads.abort(uploadId(call), objectUri(call));
  sendEmpty(call.res, 204);
}

const uploadId = ({ target }: Call): string => queryValue(target, 'uploadId') ?? '';

function partsOf(text: string): UploadedPart[] {
  const parts = childrenOf(parseXml(text)?.CompleteMultipartUpload, 'Part').map(part => {
    const number = Number(textOf(part, 'PartNumber'));
    const etag = textOf(part, 'ETag');
    if (!Number.isInteger(number) || etag === undefined) throw malformed();
    return { number, etag: unquoted(etag) };
  });
  if (parts.length === 0 || parts.length > MAX_PARTS) throw malformed();
  return parts;
}

const malformed = (): S3Error =>
  new S3Error(
    400,
    'MalformedXML',
    `the document must be CompleteMultipartUpload with 1 to ${MAX_PARTS} Part{ETag,PartNumber}`,
  );
