/** Writing to S3: one PUT for what fits into memory at once, a multipart upload for longer streams. */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { ObjectDigestMismatch } from './object-errors.ts';
import type { Bytes, PutOptions } from './object-store.ts';
import { fromS3 } from './s3-errors.ts';

/** Streams up to this size are one PUT; longer ones go as parts of it, so that a stream of unknown length costs this much memory. */
const PART_BYTES = 8 * 1024 * 1024;
/** A stream that needs more than S3's 10,000 parts of PART_BYTES gets larger parts as it goes: the size doubles every this many parts. */
const PARTS_PER_SIZE = 1_000;
export interface S3Location {
  readonly Bucket: string;
  readonly Key: string;
}

type Written = { etag: string; size: number };

/** Stores the body at the location (`uri` names it in errors). The caller has checked the options. Throws as ObjectStore.put does. */
export async function putToS3(
  client: S3Client,
  uri: string,
  at: S3Location,
  body: Bytes,
  options: PutOptions,
): Promise<Written> {
  const upload = new S3Upload(client, uri, at, options);
  if (body instanceof Uint8Array) return upload.whole(body);
  const parts = cut(body);
  const first = await parts.next();
  const second = first.done ? first : await parts.next();
  if (first.done || second.done) return upload.whole(first.value ?? new Uint8Array());
  try {
    return await upload.inParts([first.value, second.value], parts);
  } finally {
    await parts.return(undefined);
  }
}

class S3Upload {
  readonly #client: S3Client;
  readonly #uri: string;
  readonly #at: S3Location;
  readonly #options: PutOptions;

  constructor(client: S3Client, uri: string, at: S3Location, options: PutOptions) {
    this.#client = client;
    this.#uri = uri;
    this.#at = at;
    this.#options = options;
  }

  async whole(bytes: Uint8Array): Promise<Written> {
    const { contentMd5 } = this.#options;
    const input = {
      ...this.#at,
      ...stored(this.#options),
      ...condition(this.#options),
      Body: bytes,
      ContentLength: bytes.length,
      ...(contentMd5 && { ContentMD5: Buffer.from(contentMd5).toString('base64') }),
    };
    const { ETag } = await this.#call(() => this.#client.send(new PutObjectCommand(input)));
    return { etag: unquoted(ETag), size: bytes.length };
  }

  /** One part at a time: the next is gathered from the stream only when the last is stored, so memory stays at two parts. */
  async inParts(ready: Uint8Array[], rest: AsyncIterable<Uint8Array>): Promise<Written> {
    const { contentMd5 } = this.#options;
    const begin = new CreateMultipartUploadCommand({ ...this.#at, ...stored(this.#options) });
    const { UploadId } = await this.#call(() => this.#client.send(begin));
    const upload = { ...this.#at, UploadId };
    const md5 = contentMd5 && createHash('md5');
    const Parts: CompletedPart[] = [];
    let size = 0;
    const send = async (part: Uint8Array): Promise<void> => {
      md5?.update(part);
      size += part.length;
      const PartNumber = Parts.length + 1;
      const input = { ...upload, PartNumber, Body: part, ContentLength: part.length };
      const { ETag } = await this.#call(() => this.#client.send(new UploadPartCommand(input)));
      Parts.push({ PartNumber, ...(ETag !== undefined && { ETag }) });
    };
    try {
      for (const part of ready.splice(0)) await send(part);
      for await (const part of rest) await send(part);
      if (md5 && !md5.digest().equals(contentMd5!)) throw new ObjectDigestMismatch(this.#uri, 'MD5');
      const input = { ...upload, ...condition(this.#options), MultipartUpload: { Parts } };
      const { ETag } = await this.#call(() => this.#client.send(new CompleteMultipartUploadCommand(input)));
      return { etag: unquoted(ETag), size };
    } catch (error) {
      // Should this fail too, the bucket's lifecycle rule for incomplete uploads finishes the work.
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
      throw error;
    }
  }

  async #call<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw fromS3(error, this.#uri);
    }
  }
}

/** An etag as S3 writes it, without its quotes. */
export const unquoted = (etag = ''): string => etag.replace(/^"(.*)"$/, '$1');

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
