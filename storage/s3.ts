/** The object store on S3 itself, or on anything that speaks its protocol. */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { resolveRange } from './byte-range.ts';
import { ObjectNotFound, ObjectRangeNotSatisfiable, ObjectTooLarge } from './object-errors.ts';
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
import { S3Links } from './s3-links.ts';
import { putToS3, type S3Location, unquoted } from './s3-upload.ts';
import { awsEncodePath } from './sigv4.ts';

const DELETE_BATCH = 1_000;

export interface S3StoreOptions {
  /** Region, endpoint, credentials… as the AWS SDK takes them; without credentials its default chain applies. Path style when an endpoint is set. */
  readonly client: S3ClientConfig;
  readonly now?: () => Date;
}

export class S3Store implements ObjectStore {
  readonly #client: S3Client;
  readonly #links: S3Links;

  constructor({ client, now = () => new Date() }: S3StoreOptions) {
    const config: S3ClientConfig = {
      // With the default WHEN_SUPPORTED a presigned PUT carries the CRC32 of an empty body (libraries.md §10).
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      forcePathStyle: client.endpoint !== undefined,
      ...client,
    };
    this.#client = new S3Client(config);
    this.#links = new S3Links(config, now);
  }

  async put(uri: string, body: Bytes, options: PutOptions = {}): Promise<{ etag: string; size: number }> {
    const at = locationOf(uri);
    checkPutOptions(options);
    return putToS3(this.#client, uri, at, body, options);
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
    return this.#call(uri, () => this.#links.signUpload(at, options));
  }

  async signDownload(uri: string, options: SignDownloadOptions): Promise<{ url: string; expiresAt: Date }> {
    const at = locationOf(uri);
    return this.#call(uri, () => this.#links.signDownload(at, options));
  }

  async close(): Promise<void> {
    this.#client.destroy();
    this.#links.close();
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

  async #call<T>(uri: string, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw fromS3(error, uri);
    }
  }
}

function locationOf(uri: string): S3Location {
  const { bucket, key }: ObjectLocation = parseObjectUri(uri);
  return { Bucket: bucket, Key: key };
}

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
