/** Requests on a bucket: list (version 2) and batch deletion (sdk.md §6.3). */
import { InvalidObjectUri } from '../object-errors.ts';
import type { FolderEntry, ObjectInfo } from '../object-store.ts';
import { formatObjectUri } from '../object-uri.ts';
import { awsEncodePath } from '../sigv4.ts';
import { readText } from './body.ts';
import { type Call, quoted, sendXml } from './call.ts';
import { asS3Error, badRequest, notImplemented, S3Error } from './s3-error.ts';
import { queryValue } from './target.ts';
import { childrenOf, element, nested, parseXml, textOf, xmlDocument } from './xml.ts';

const MAX_KEYS = 1000;
const MAX_DELETION_BYTES = 4 * 1024 * 1024;
const PARALLEL_DELETIONS = 16;

/** Sorts behind every key of a folder; object-uri.ts keeps it out of keys. */
const BEHIND_ALL = '\u{10ffff}';

export async function listObjects(call: Call): Promise<void> {
  const { bucket } = call.target;
  const query = (name: string): string | undefined => queryValue(call.target, name);
  if (query('list-type') !== '2') throw notImplemented('the first version of listing (use list-type=2)');
  const prefix = query('prefix') ?? '';
  const delimiter = query('delimiter') ?? '';
  if (delimiter !== '' && delimiter !== '/') throw notImplemented('a delimiter other than /');
  const maxKeys = Math.min(maxKeysOf(query('max-keys')), MAX_KEYS);
  const token = query('continuation-token');
  const after = token === undefined ? (query('start-after') ?? '') : readToken(token);
  const encode = query('encoding-type') === 'url' ? awsEncodePath : (text: string): string => text;
  const keyOf = (uri: string): string => uri.slice(`s3://${bucket}/`.length);

  const page = maxKeys === 0 ? [] : await firstOf(call, prefix, delimiter, after, maxKeys + 1);
  const shown = page.slice(0, maxKeys);
  const last = shown.at(-1);
  const isTruncated = page.length > maxKeys;
  const document = xmlDocument(
    'ListBucketResult',
    element('Name', bucket),
    element('Prefix', encode(prefix)),
    element('KeyCount', shown.length),
    element('MaxKeys', maxKeys),
    ...(delimiter === '' ? [] : [element('Delimiter', delimiter)]),
    ...(encode === awsEncodePath ? [element('EncodingType', 'url')] : []),
    ...(token === undefined ? [] : [element('ContinuationToken', token)]),
    element('IsTruncated', isTruncated),
    ...(isTruncated && last ? [element('NextContinuationToken', tokenBehind(last, keyOf))] : []),
    ...shown.map(entry =>
      'object' in entry
        ? contents(entry.object, encode(keyOf(entry.object.uri)))
        : nested('CommonPrefixes', element('Prefix', encode(keyOf(entry.folder)))),
    ),
  );
  sendXml(call.res, 200, document);
}

export async function deleteObjects(call: Call): Promise<void> {
  const text = await readText(call.body(), call.req.headers, MAX_DELETION_BYTES);
  const root = parseXml(text)?.Delete;
  const keys = childrenOf(root, 'Object').map(each => textOf(each, 'Key'));
  if (keys.length === 0 || keys.length > MAX_KEYS || keys.includes(undefined)) {
    throw new S3Error(400, 'MalformedXML', `the document must be Delete with 1 to ${MAX_KEYS} Object{Key}`);
  }
  const results: string[] = new Array(keys.length);
  const quiet = textOf(root, 'Quiet') === 'true';
  const pending = keys.entries();
  const work = async (): Promise<void> => {
    for (const [index, key] of pending) {
      const failure = await deleteOne(call, key!);
      results[index] = failure ?? (quiet ? '' : nested('Deleted', element('Key', key!)));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_DELETIONS }, work));
  sendXml(call.res, 200, xmlDocument('DeleteResult', ...results));
}

/** Undefined when the object is gone, its Error element otherwise: one bad key does not stop the others. */
async function deleteOne({ store, target: { bucket } }: Call, key: string): Promise<string | undefined> {
  try {
    await store.delete(formatObjectUri({ bucket, key }));
    return undefined;
  } catch (error) {
    const known = asS3Error(error);
    if (!known) throw error;
    return nested('Error', element('Key', key), element('Code', known.code), element('Message', known.message));
  }
}

/** A prefix that no key can have (`a//`, `/`) lists nothing. */
async function firstOf(
  call: Call,
  prefix: string,
  delimiter: string,
  after: string,
  limit: number,
): Promise<FolderEntry[]> {
  const uri = `s3://${call.target.bucket}/${prefix}`;
  try {
    const entries: FolderEntry[] = [];
    if (delimiter === '/') for await (const entry of call.store.listFolder(uri, { after, limit })) entries.push(entry);
    else for await (const object of call.store.list(uri, { after, limit })) entries.push({ object });
    return entries;
  } catch (error) {
    if (error instanceof InvalidObjectUri && prefix !== '') {
      formatObjectUri({ bucket: call.target.bucket, key: 'any' });
      return [];
    }
    throw error;
  }
}

const contents = (object: ObjectInfo, key: string): string =>
  nested(
    'Contents',
    element('Key', key),
    element('LastModified', object.lastModified.toISOString()),
    element('ETag', quoted(object.etag)),
    element('Size', object.size),
    element('StorageClass', 'STANDARD'),
  );

function maxKeysOf(text: string | undefined): number {
  const maxKeys = text === undefined ? MAX_KEYS : Number(text);
  if (!Number.isInteger(maxKeys) || maxKeys < 0)
    throw badRequest(`max-keys is ${text}; it must be a whole number from 0`);
  return maxKeys;
}

const tokenBehind = (entry: FolderEntry, keyOf: (uri: string) => string): string =>
  Buffer.from('object' in entry ? keyOf(entry.object.uri) : `${keyOf(entry.folder)}${BEHIND_ALL}`).toString(
    'base64url',
  );

const readToken = (token: string): string => Buffer.from(token, 'base64url').toString('utf8');
