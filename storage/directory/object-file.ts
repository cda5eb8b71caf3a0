/**
 * An object is one file: a header, then the content. One open and one read therefore answer a HEAD or a small GET, and content and
 * metadata can never disagree. Header: magic 8 · JSON length u32 · reserved u32 · content size u64 · modified ms f64 · etag 48 ASCII
 * bytes, zero padded · JSON {type?, meta?, upload?}. All numbers little endian.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { ObjectDigestMismatch, ObjectStoreUnavailable, ObjectTooLarge } from '../object-errors.ts';
import type { Bytes } from '../object-store.ts';
import { flushContent, openDescriptor, withFile, writeAll } from './descriptor.ts';
import { disk } from './disk-errors.ts';

const MAGIC = Buffer.from('STARLOB1', 'latin1');
const FIXED_BYTES = 80;
const MODIFIED_AT = 24;
const ETAG_BYTES = 48;
/** Enough for the header and the whole of a typical literal, so that most reads are one system call. */
const FIRST_READ_BYTES = 16 * 1024;
/** The fixed part, 2 KiB of metadata and a content type, even if every character of them is escaped in JSON. */
const MAX_HEADER_BYTES = 32 * 1024;
/** Reading must not write: without this, the first read of every new file would dirty its inode for the access time. */
const READ_FLAGS = constants.O_RDONLY | (constants.O_NOATIME ?? 0);
/** Bodies up to this size are written with one call; larger ones in batches of about it. */
const WRITE_BATCH_BYTES = 256 * 1024;

export interface ObjectHeader {
  readonly size: number;
  readonly etag: string;
  readonly modifiedMs: number;
  readonly contentType?: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The multipart upload that made this object: a repeated completion of it is recognised by this (see uploads.ts). */
  readonly uploadId?: string;
}

/** What is known of an object before its content is. */
export type HeaderDraft = Pick<ObjectHeader, 'contentType' | 'metadata' | 'uploadId' | 'modifiedMs'>;

export interface WriteLimits {
  readonly maxBytes: number;
  readonly contentMd5?: Uint8Array | undefined;
  /** Set for multipart objects; otherwise the etag is the MD5 of the content. */
  readonly etag?: string;
  /** Flush to the disk before returning. */
  readonly durable: boolean;
}

/**
 * Writes a new object file at `path` (which must not exist) and returns size and etag. When it throws, the file may be half written:
 * the caller removes it. Throws ObjectDigestMismatch, ObjectTooLarge (both naming `uri`), ObjectStoreFull, and whatever `body` throws.
 */
export async function writeObjectFile(
  path: string,
  uri: string,
  draft: HeaderDraft,
  body: Bytes,
  limits: WriteLimits,
): Promise<{ size: number; etag: string }> {
  const json = encodeJson(draft);
  const md5 = limits.etag === undefined || limits.contentMd5 ? createHash('md5') : undefined;
  const fd = await disk(openDescriptor(path, 'wx'), path);
  try {
    let batch: Uint8Array[] = [Buffer.alloc(FIXED_BYTES + json.length)];
    let batched = 0;
    let size = 0;
    let position = 0;
    const flush = async (): Promise<void> => {
      const bytes = batch.length === 1 ? batch[0]! : Buffer.concat(batch);
      await disk(writeAll(fd, bytes, position), path);
      position += bytes.length;
      batch = [];
      batched = 0;
    };
    for await (const chunk of body instanceof Uint8Array ? [body] : body) {
      size += chunk.length;
      if (size > limits.maxBytes) throw new ObjectTooLarge(uri, undefined, limits.maxBytes);
      md5?.update(chunk);
      batch.push(chunk);
      batched += chunk.length;
      if (batched > WRITE_BATCH_BYTES) await flush();
    }
    const digest = md5?.digest();
    if (limits.contentMd5 && digest && !digest.equals(limits.contentMd5)) throw new ObjectDigestMismatch(uri, 'MD5');
    const etag = limits.etag ?? digest!.toString('hex');
    const header = encodeHeader({ ...draft, size, etag }, json);
    if (position === 0) {
      batch[0] = header;
      await flush();
    } else {
      if (batched > 0) await flush();
      await disk(writeAll(fd, header, 0), path);
    }
    if (limits.durable) await disk(flushContent(fd), path);
    return { size, etag };
  } finally {
    closeSync(fd);
  }
}

/** The header of an object file and the beginning of its content. */
export interface Glimpse {
  readonly header: ObjectHeader;
  /** Offset of the content in the file. */
  readonly contentAt: number;
  /** The first bytes of the content; all of it for small objects. */
  readonly head: Uint8Array;
}

/**
 * Reads header and beginning of an object file synchronously: a HEAD or a small GET is this one call, usually from the page cache, and
 * the thread pool would cost ten times as much (descriptor.ts). Throws the errno of open(), and ObjectStoreUnavailable for a damaged file.
 */
export function glimpse(path: string, readBytes = FIRST_READ_BYTES): Glimpse {
  const fd = openSync(path, READ_FLAGS);
  try {
    let bytes = readStart(fd, readBytes);
    if (bytes.length < FIXED_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) throw damaged(path);
    const contentAt = FIXED_BYTES + bytes.readUInt32LE(8);
    if (bytes.length < contentAt) bytes = readStart(fd, contentAt);
    if (bytes.length < contentAt) throw damaged(path);
    const header = decodeHeader(bytes, contentAt);
    return { header, contentAt, head: bytes.subarray(contentAt, contentAt + header.size) };
  } finally {
    closeSync(fd);
  }
}

function readStart(fd: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  return buffer.subarray(0, readSync(fd, buffer, 0, length, 0));
}

/** An object file kept open, for content that a glimpse does not hold. */
export interface OpenFile {
  readonly file: FileHandle;
  readonly header: ObjectHeader;
  readonly contentAt: number;
}

/** Opens an object file; whoever does closes it. Rejects as glimpse throws. */
export async function openObjectFile(path: string): Promise<OpenFile> {
  const file = await open(path, READ_FLAGS);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0);
    if (bytesRead < FIXED_BYTES || !buffer.subarray(0, 8).equals(MAGIC)) throw damaged(path);
    const contentAt = FIXED_BYTES + buffer.readUInt32LE(8);
    if (bytesRead < contentAt) throw damaged(path);
    return { file, header: decodeHeader(buffer, contentAt), contentAt };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Replaces the modification time in a file that was copied as a whole, and flushes it. */
export async function restamp(path: string, modifiedMs: number): Promise<void> {
  const stamp = Buffer.alloc(8);
  stamp.writeDoubleLE(modifiedMs);
  await withFile(path, 'r+', async fd => {
    await writeAll(fd, stamp, MODIFIED_AT);
    await flushContent(fd);
  });
}

/** Streams `length` bytes of content from `offset`, and closes the file at the end, on error and on early return. */
export async function* readContent(
  path: string,
  opened: OpenFile,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  try {
    let position = opened.contentAt + offset;
    const end = position + length;
    while (position < end) {
      const want = Math.min(WRITE_BATCH_BYTES, end - position);
      const { buffer, bytesRead } = await disk(opened.file.read(Buffer.allocUnsafe(want), 0, want, position), path);
      if (bytesRead === 0) throw damaged(path);
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await opened.file.close();
  }
}

const damaged = (path: string): ObjectStoreUnavailable =>
  new ObjectStoreUnavailable(`the object file ${path} is damaged; restore it from a backup or delete it`);

function encodeJson({ contentType, metadata, uploadId }: HeaderDraft): Buffer {
  return Buffer.from(JSON.stringify({ type: contentType, meta: metadata, upload: uploadId }));
}

function encodeHeader(header: ObjectHeader, json: Buffer): Buffer {
  const bytes = Buffer.alloc(FIXED_BYTES + json.length);
  MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(json.length, 8);
  bytes.writeBigUInt64LE(BigInt(header.size), 16);
  bytes.writeDoubleLE(header.modifiedMs, MODIFIED_AT);
  bytes.write(header.etag, 32, ETAG_BYTES, 'latin1');
  json.copy(bytes, FIXED_BYTES);
  return bytes;
}

function decodeHeader(bytes: Buffer, contentAt: number): ObjectHeader {
  const json = JSON.parse(bytes.toString('utf8', FIXED_BYTES, contentAt)) as {
    type?: string;
    meta: Record<string, string>;
    upload?: string;
  };
  const etag = bytes.toString('latin1', 32, 32 + ETAG_BYTES);
  const end = etag.indexOf('\0');
  return {
    size: Number(bytes.readBigUInt64LE(16)),
    etag: end < 0 ? etag : etag.slice(0, end),
    modifiedMs: bytes.readDoubleLE(MODIFIED_AT),
    metadata: json.meta,
    ...(json.type !== undefined && { contentType: json.type }),
    ...(json.upload !== undefined && { uploadId: json.upload }),
  };
}
