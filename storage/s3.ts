/** The object store on S3 itself, or on anything that speaks its protocol. */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { resolveRange } from './byte-range.ts';
import { ObjectDigestMismatch, ObjectNotFound, ObjectRangeNotSatisfiable, ObjectTooLarge } from './object-errors.ts';
import type {
  ByteRange,
  Bytes,
  FolderEntry,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  OpenObject,
  PutOptions,
  SignDownloadOptions,
  SignedUpload,
  SignUploadOptions,
} from './object-store.ts';
import { type ObjectLocation, parseObjectPrefix, parseObjectUri } from './object-uri.ts';
import { checkPutOptions } from './put-options.ts';
import { fromS3, isMissing } from './s3-errors.ts';
import { expirySeconds, MD5_METADATA, uploadHeaders } from './signed-upload.ts';
import { awsEncodePath } from './sigv4.ts';

/** Streams up to this size are one PUT; longer ones go as parts of it, so that a stream of unknown length costs this much memory. */
const PART_BYTES = 8 * 1024 * 1024;
/** A stream that needs more than S3's 10,000 parts of PART_BYTES gets larger parts as it goes: the size doubles every this many parts. */
const PARTS_PER_SIZE = 1_000;
const DELETE_BATCH = 1_000;

export interface S3StoreOptions {
  /** Region, endpoint, credentials… as the AWS SDK takes them; without credentials its default chain applies. Path style when an endpoint is set. */
  readonly client: S3ClientConfig;
  readonly now?: () => Date;
}

export class S3Store implements ObjectStore {
  readonly #client: S3Client;
  readonly #config: S3ClientConfig;
  readonly #now: () => Date;
  /** Clients that only sign, one per public URL. */
  readonly #signers = new Map<string, S3Client>();

  constructor({ client, now }: S3StoreOptions) {
    // With the default WHEN_SUPPORTED a presigned PUT carries the CRC32 of an empty body (libraries.md §10).
    this.#config = {
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      forcePathStyle: client.endpoint !== undefined,
      ...client,
    };
    this.#client = new S3Client(this.#config);
    this.#now = now ?? (() => new Date());
  }

  async put(uri: string, body: Bytes, options: PutOptions = {}): Promise<{ etag: string; size: number }> {
    const at = locationOf(uri);
    checkPutOptions(options);
    if (body instanceof Uint8Array) return this.#putWhole(uri, at, body, options);
    const parts = cut(body);
    const first = await parts.next();
    const second = first.done ? first : await parts.next();
    if (first.done || second.done) return this.#putWhole(uri, at, first.value ?? new Uint8Array(), options);
    return this.#putParts(uri, at, [first.value, second.value], parts, options);
  }

  async read(uri: string, { maxBytes }: { maxBytes: number }): Promise<Uint8Array> {
    const opened = await this.open(uri);
    if (opened.info.size > maxBytes) {
      await opened.close();
      throw new ObjectTooLarge(uri, opened.info.size, maxBytes);
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of opened.body) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async open(uri: string, { range }: { range?: ByteRange } = {}): Promise<OpenObject> {
    const at = locationOf(uri);
    const output = await this.#get(uri, { ...at, ...(range && { Range: rangeHeader(range) }) });
    const total = output.ContentRange?.split('/')[1];
    const info = infoOf(uri, output, total === undefined ? (output.ContentLength ?? 0) : Number(total));
    const { offset, length } = resolveRange(uri, info.size, range);
    const stream = output.Body as (AsyncIterable<Uint8Array> & { destroy(): void }) | undefined;
    return {
      info,
      offset,
      length,
      body: mapped(stream ?? none(), uri),
      close: async () => stream?.destroy(),
    };
  }

  async head(uri: string): Promise<ObjectInfo | undefined> {
    const at = locationOf(uri);
    try {
      const output = await this.#client.send(new HeadObjectCommand(at));
      return infoOf(uri, output, output.ContentLength ?? 0);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw fromS3(error, uri);
    }
  }

  async *list(prefixUri: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    for await (const entry of this.#entries(prefixUri, options, undefined)) if ('object' in entry) yield entry.object;
  }

  listFolder(prefixUri: string, options: ListOptions = {}): AsyncIterable<FolderEntry> {
    return this.#entries(prefixUri, options, '/');
  }

  async copy(fromUri: string, toUri: string): Promise<{ etag: string; size: number }> {
    const from = parseObjectUri(fromUri);
    const to = locationOf(toUri);
    const CopySource = awsEncodePath(`${from.bucket}/${from.key}`);
    await this.#call(fromUri, () => this.#client.send(new CopyObjectCommand({ ...to, CopySource })));
    const copied = await this.head(toUri);
    if (!copied) throw new ObjectNotFound(toUri);
    return { etag: copied.etag, size: copied.size };
  }

  async delete(uri: string): Promise<void> {
    const at = locationOf(uri);
    await this.#call(uri, () => this.#client.send(new DeleteObjectCommand(at)));
  }

  async deletePrefix(uri: string): Promise<number> {
    const folder = uri.endsWith('/') ? uri : `${uri}/`;
    const { bucket } = parseObjectUri(folder.slice(0, -1));
    let keys: string[] = [];
    let count = 0;
    const flush = async (): Promise<void> => {
      const Delete = { Objects: keys.map(Key => ({ Key })), Quiet: true };
      const { Errors } = await this.#call(uri, () =>
        this.#client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete })),
      );
      const failed = Errors?.[0];
      if (failed)
        throw fromS3(
          Object.assign(new Error(failed.Message), { name: failed.Code ?? 'Unknown' }),
          `s3://${bucket}/${failed.Key}`,
        );
      count += keys.length;
      keys = [];
    };
    for await (const object of this.list(folder)) {
      keys.push(object.uri.slice(`s3://${bucket}/`.length));
      if (keys.length === DELETE_BATCH) await flush();
    }
    if (keys.length > 0) await flush();
    return count;
  }

  async signUpload(uri: string, options: SignUploadOptions): Promise<SignedUpload> {
    const at = locationOf(uri);
    checkPutOptions(options);
    const headers = uploadHeaders(options);
    const md5 = headers['Content-MD5'];
    const command = new PutObjectCommand({
      ...at,
      ...(md5 !== undefined && { ContentMD5: md5 }),
      ...(options.contentLength !== undefined && { ContentLength: options.contentLength }),
      ...(options.contentType !== undefined && { ContentType: options.contentType }),
      ...(md5 !== undefined && options.addMd5Metadata && { Metadata: { [MD5_METADATA]: md5 } }),
    });
    // Signed as headers, not moved into the query: clients send exactly the headers of our answer.
    const names = new Set(Object.keys(headers).map(name => name.toLowerCase()));
    const expiresIn = expirySeconds(options.expiresInMs);
    const signingDate = this.#now();
    const url = await this.#call(uri, () =>
      getSignedUrl(this.#signer(options.publicUrl), command, {
        expiresIn,
        signingDate,
        unhoistableHeaders: names,
        signableHeaders: new Set([...names, 'host']),
      }),
    );
    return { url, headers, expiresAt: new Date(signingDate.getTime() + expiresIn * 1000) };
  }

  async signDownload(uri: string, options: SignDownloadOptions): Promise<{ url: string; expiresAt: Date }> {
    const at = locationOf(uri);
    checkPutOptions(options);
    const { contentType, publicUrl } = options;
    const command = new GetObjectCommand({
      ...at,
      ...(contentType !== undefined && { ResponseContentType: contentType }),
    });
    const expiresIn = expirySeconds(options.expiresInMs);
    const signingDate = this.#now();
    const url = await this.#call(uri, () => getSignedUrl(this.#signer(publicUrl), command, { expiresIn, signingDate }));
    return { url, expiresAt: new Date(signingDate.getTime() + expiresIn * 1000) };
  }

  async close(): Promise<void> {
    for (const client of [this.#client, ...this.#signers.values()]) client.destroy();
  }

  async #get(uri: string, input: GetObjectCommandInput): Promise<GetObjectCommandOutput> {
    try {
      return await this.#client.send(new GetObjectCommand(input));
    } catch (error) {
      const mapped = fromS3(error, uri);
      // The refusal does not tell the size, which our error should.
      if (mapped instanceof ObjectRangeNotSatisfiable)
        throw new ObjectRangeNotSatisfiable(uri, (await this.head(uri))?.size ?? 0);
      throw mapped;
    }
  }

  async #putWhole(
    uri: string,
    at: S3Location,
    bytes: Uint8Array,
    options: PutOptions,
  ): Promise<{ etag: string; size: number }> {
    const md5 = options.contentMd5;
    const output = await this.#call(uri, () =>
      this.#client.send(
        new PutObjectCommand({
          ...at,
          ...stored(options),
          ...condition(options),
          Body: bytes,
          ContentLength: bytes.length,
          ...(md5 && { ContentMD5: Buffer.from(md5).toString('base64') }),
        }),
      ),
    );
    return { etag: unquoted(output.ETag), size: bytes.length };
  }

  /** One part at a time: the next is gathered from the stream only when the last is stored, so memory stays at two parts. */
  async #putParts(
    uri: string,
    at: S3Location,
    ready: Uint8Array[],
    rest: AsyncGenerator<Uint8Array, undefined>,
    options: PutOptions,
  ): Promise<{ etag: string; size: number }> {
    const { UploadId } = await this.#call(uri, () =>
      this.#client.send(new CreateMultipartUploadCommand({ ...at, ...stored(options) })),
    );
    const upload = { ...at, UploadId };
    const md5 = options.contentMd5 && createHash('md5');
    const Parts: CompletedPart[] = [];
    let size = 0;
    try {
      const send = async (part: Uint8Array): Promise<void> => {
        md5?.update(part);
        size += part.length;
        const PartNumber = Parts.length + 1;
        const input = { ...upload, PartNumber, Body: part, ContentLength: part.length };
        const { ETag } = await this.#call(uri, () => this.#client.send(new UploadPartCommand(input)));
        Parts.push({ PartNumber, ...(ETag !== undefined && { ETag }) });
      };
      for (const part of ready.splice(0)) await send(part);
      for await (const part of rest) await send(part);
      if (md5 && !md5.digest().equals(options.contentMd5!)) throw new ObjectDigestMismatch(uri, 'MD5');
      const input = { ...upload, ...condition(options), MultipartUpload: { Parts } };
      const { ETag } = await this.#call(uri, () => this.#client.send(new CompleteMultipartUploadCommand(input)));
      return { etag: unquoted(ETag), size };
    } catch (error) {
      // Should this fail too, the bucket's lifecycle rule for incomplete uploads finishes the work.
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
      throw error;
    }
  }

  async *#entries(
    prefixUri: string,
    { limit = Infinity, after }: ListOptions,
    delimiter: '/' | undefined,
  ): AsyncGenerator<FolderEntry> {
    const { bucket, key } = parseObjectPrefix(prefixUri);
    let left = limit;
    let token: string | undefined;
    while (left > 0) {
      const page = await this.#call(prefixUri, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: bucket,
            Prefix: key,
            ...(left < 1000 && { MaxKeys: left }),
            ...(delimiter && { Delimiter: delimiter }),
            ...(after !== undefined && token === undefined && { StartAfter: after }),
            ...(token !== undefined && { ContinuationToken: token }),
          }),
        ),
      );
      const entries: Array<[string, FolderEntry]> = [];
      for (const { Key = '', Size = 0, ETag, LastModified = new Date(0) } of page.Contents ?? []) {
        const uri = `s3://${bucket}/${Key}`;
        entries.push([
          Key,
          { object: { uri, size: Size, etag: unquoted(ETag), lastModified: LastModified, metadata: {} } },
        ]);
      }
      for (const { Prefix = '' } of page.CommonPrefixes ?? [])
        entries.push([Prefix, { folder: `s3://${bucket}/${Prefix}` }]);
      if (delimiter) entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      for (const [, entry] of entries) {
        if (left-- <= 0) return;
        yield entry;
      }
      token = page.NextContinuationToken;
      if (!page.IsTruncated || token === undefined) return;
    }
  }

  #signer(publicUrl: string | undefined): S3Client {
    if (publicUrl === undefined) return this.#client;
    let signer = this.#signers.get(publicUrl);
    if (!signer) {
      signer = new S3Client({ ...this.#config, endpoint: publicUrl, forcePathStyle: true });
      this.#signers.set(publicUrl, signer);
    }
    return signer;
  }

  async #call<T>(uri: string, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw fromS3(error, uri);
    }
  }
}

interface S3Location {
  readonly Bucket: string;
  readonly Key: string;
}

function locationOf(uri: string): S3Location {
  const { bucket, key }: ObjectLocation = parseObjectUri(uri);
  return { Bucket: bucket, Key: key };
}

const stored = ({
  contentType,
  metadata,
}: PutOptions): { ContentType?: string; Metadata?: Record<string, string> } => ({
  ...(contentType !== undefined && { ContentType: contentType }),
  ...(metadata && { Metadata: metadata }),
});

function condition({ onlyIf }: PutOptions): { IfNoneMatch?: string; IfMatch?: string } {
  if (onlyIf === undefined) return {};
  return onlyIf === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: `"${onlyIf.etag}"` };
}

const unquoted = (etag = ''): string => etag.replace(/^"(.*)"$/, '$1');

function infoOf(
  uri: string,
  output: Pick<HeadObjectCommandOutput, 'ETag' | 'LastModified' | 'ContentType' | 'Metadata'>,
  size: number,
): ObjectInfo {
  const { ETag, LastModified = new Date(0), ContentType, Metadata = {} } = output;
  const metadata = Object.fromEntries(Object.entries(Metadata).map(([name, value]) => [name.toLowerCase(), value]));
  return {
    uri,
    size,
    etag: unquoted(ETag),
    lastModified: LastModified,
    metadata,
    ...(ContentType !== undefined && { contentType: ContentType }),
  };
}

const rangeHeader = (range: ByteRange): string =>
  'suffix' in range ? `bytes=-${range.suffix}` : `bytes=${range.start}-${range.endInclusive ?? ''}`;

async function* none(): AsyncGenerator<Uint8Array> {}

async function* mapped(body: AsyncIterable<Uint8Array>, uri: string): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw fromS3(error, uri);
  }
}

/** Regroups a stream into parts, all but the last of at least PART_BYTES. */
async function* cut(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  let parts = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < PART_BYTES * 2 ** Math.floor(parts / PARTS_PER_SIZE)) continue;
    yield Buffer.concat(chunks);
    chunks = [];
    bytes = 0;
    parts++;
  }
  if (bytes > 0) yield Buffer.concat(chunks);
}
