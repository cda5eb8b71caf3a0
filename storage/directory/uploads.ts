/**
 * Multipart uploads of the directory store: `uploads/<id>/` holds a record and one object file per part, `<id>/<number>`.
 *
 *   begun → (parts arrive, in any order, again and again) → completed | aborted | abandoned
 *
 * Entry: begin(). Exits: complete() joins the parts into the object and removes the upload; abort() removes it; an upload untouched for
 * seven days is removed by the next sweep (at start, and at most hourly when new uploads begin). Uploads outlive the process. Parts are
 * not flushed one by one: the client asked for durability of the whole, which complete() gives; a part that a power cut damaged is
 * found by its header and refused as missing.
 *
 * U1  Nothing of an upload is visible as an object before complete(), all of it afterwards.
 * U2  A completion repeated after its answer was lost succeeds: the object remembers which upload made it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ObjectStoreError, ObjectTooLarge } from '../object-errors.ts';
import type { Bytes, PutOptions } from '../object-store.ts';
import { disk, errnoOf } from './disk-errors.ts';
import { KeyLock } from './key-lock.ts';
import {
  glimpse,
  type HeaderDraft,
  type ObjectHeader,
  openObjectFile,
  readContent,
  writeObjectFile,
} from './object-file.ts';
import type { Scratch } from './scratch.ts';

export const MAX_PARTS = 10_000;
const CHECK_PARALLEL = 32;
const PART_HEADER_BYTES = 128;
const ABANDONED_AFTER_MS = 7 * 24 * 3600 * 1000;
const SWEEP_EVERY_MS = 3600 * 1000;

/** The upload was never begun, or is completed or aborted. */
export class UploadNotFound extends ObjectStoreError {
  constructor(id: string, uri: string) {
    super(
      'not-found',
      `no upload ${JSON.stringify(id.slice(0, 64))} of ${uri}: completed, aborted or never begun; begin a new one`,
    );
  }
}

/** The completion names a part that is not there, has another etag, or comes out of order. */
export class InvalidUploadPart extends ObjectStoreError {
  readonly outOfOrder: boolean;
  constructor(message: string, outOfOrder: boolean) {
    super('invalid-argument', message);
    this.outOfOrder = outOfOrder;
  }
}

export interface UploadedPart {
  readonly number: number;
  /** Without quotes. */
  readonly etag: string;
}

/** What the directory store lends to its uploads. */
export interface UploadHost {
  readonly scratch: Scratch;
  readonly maxObjectBytes: number;
  now(): Date;
  /** Header of the object stored at the URI, if any. */
  header(uri: string): ObjectHeader | undefined;
  /** Gives a finished draft its name, durably. */
  publish(draft: string, uri: string, onlyIf: PutOptions['onlyIf']): Promise<void>;
}

interface UploadRecord {
  readonly uri: string;
  readonly contentType?: string;
  readonly metadata: Record<string, string>;
}

export class Uploads {
  readonly #root: string;
  readonly #host: UploadHost;
  readonly #completing = new KeyLock();
  #sweptAtMs = 0;

  constructor(root: string, host: UploadHost) {
    this.#root = root;
    this.#host = host;
  }

  /** Starts an upload of the object and returns its id. The caller has checked URI and metadata. */
  async begin(uri: string, options: Pick<PutOptions, 'contentType' | 'metadata'>): Promise<string> {
    if (this.#host.now().getTime() - this.#sweptAtMs > SWEEP_EVERY_MS) await this.sweep();
    const id = randomBytes(16).toString('hex');
    const { contentType, metadata = {} } = options;
    const record: UploadRecord = { uri, metadata, ...(contentType !== undefined && { contentType }) };
    await disk(mkdir(join(this.#root, id), { recursive: true }), this.#root);
    await disk(writeFile(join(this.#root, id, 'upload.json'), JSON.stringify(record), { flush: true }), this.#root);
    return id;
  }

  /** Stores one part, replacing an earlier one of the same number. Throws UploadNotFound, ObjectDigestMismatch, ObjectTooLarge. */
  async putPart(
    id: string,
    uri: string,
    number: number,
    body: Bytes,
    contentMd5?: Uint8Array,
  ): Promise<{ etag: string }> {
    await this.#record(id, uri);
    const draft = this.#host.scratch.draft();
    const header: HeaderDraft = { metadata: {}, modifiedMs: this.#host.now().getTime() };
    const limits = { maxBytes: this.#host.maxObjectBytes, contentMd5, durable: false };
    try {
      const { etag } = await writeObjectFile(draft, uri, header, body, limits);
      await disk(rename(draft, this.#partPath(id, number)).catch(asUploadNotFound(id, uri)), this.#root);
      return { etag };
    } catch (error) {
      await this.#host.scratch.discard(draft);
      throw error;
    }
  }

  /** Joins the listed parts, in ascending order, into the object. Throws UploadNotFound, InvalidUploadPart, ObjectPreconditionFailed, ObjectTooLarge. */
  complete(
    id: string,
    uri: string,
    parts: readonly UploadedPart[],
    onlyIf?: PutOptions['onlyIf'],
  ): Promise<{ etag: string }> {
    return this.#completing.run(id, async () => {
      let record: UploadRecord;
      try {
        record = await this.#record(id, uri);
      } catch (error) {
        const existing = error instanceof UploadNotFound ? this.#host.header(uri) : undefined;
        if (existing?.uploadId === id) return { etag: existing.etag };
        throw error;
      }
      const etag = await this.#check(id, uri, parts);
      const draft = this.#host.scratch.draft();
      const header: HeaderDraft = { ...record, uploadId: id, modifiedMs: this.#host.now().getTime() };
      try {
        const limits = { maxBytes: this.#host.maxObjectBytes, etag, durable: true };
        await writeObjectFile(draft, uri, header, this.#join(id, parts), limits);
        await this.#host.publish(draft, uri, onlyIf);
      } catch (error) {
        await this.#host.scratch.discard(draft);
        throw error;
      }
      await this.#remove(id);
      return { etag };
    });
  }

  /** Forgets the upload and its parts. Throws UploadNotFound. */
  async abort(id: string, uri: string): Promise<void> {
    await this.#record(id, uri);
    await this.#remove(id);
  }

  /** Removes abandoned uploads. */
  async sweep(): Promise<void> {
    const nowMs = this.#host.now().getTime();
    this.#sweptAtMs = nowMs;
    await disk(mkdir(this.#root, { recursive: true }), this.#root);
    for (const id of await disk(readdir(this.#root), this.#root)) {
      const touched = await stat(join(this.#root, id)).catch(() => undefined);
      if (touched && nowMs - touched.mtimeMs > ABANDONED_AFTER_MS) await this.#remove(id);
    }
  }

  async #record(id: string, uri: string): Promise<UploadRecord> {
    if (!/^[0-9a-f]{32}$/.test(id)) throw new UploadNotFound(id, uri);
    const json = await disk(
      readFile(join(this.#root, id, 'upload.json'), 'utf8').catch(asUploadNotFound(id, uri)),
      this.#root,
    );
    const record = JSON.parse(json) as UploadRecord;
    if (record.uri !== uri) throw new UploadNotFound(id, uri);
    return record;
  }

  /** Checks the list against what is there; returns the etag of the whole: MD5 of the parts' MD5s, and their number. */
  async #check(id: string, uri: string, parts: readonly UploadedPart[]): Promise<string> {
    if (parts.length === 0) throw new InvalidUploadPart('a completion must list at least one part', false);
    const whole = createHash('md5');
    let size = 0;
    let last = 0;
    for (let at = 0; at < parts.length; at += CHECK_PARALLEL) {
      const some = parts.slice(at, at + CHECK_PARALLEL);
      const headers = await Promise.all(some.map(({ number }) => this.#partHeader(id, number)));
      for (const [index, { number, etag }] of some.entries()) {
        if (number <= last) {
          throw new InvalidUploadPart(
            `part ${number} is listed after part ${last}; list parts in ascending order`,
            true,
          );
        }
        last = number;
        const header = headers[index];
        if (header?.etag !== etag) {
          throw new InvalidUploadPart(`part ${number} with etag ${etag} was not uploaded; upload it again`, false);
        }
        size += header.size;
        if (size > this.#host.maxObjectBytes) throw new ObjectTooLarge(uri, size, this.#host.maxObjectBytes);
        whole.update(Buffer.from(etag, 'hex'));
      }
    }
    return `${whole.digest('hex')}-${parts.length}`;
  }

  async #partHeader(id: string, number: number): Promise<ObjectHeader | undefined> {
    const path = this.#partPath(id, number);
    try {
      const { header, contentAt } = glimpse(path, PART_HEADER_BYTES);
      const { size } = await stat(path);
      return size === contentAt + header.size ? header : undefined;
    } catch {
      return undefined;
    }
  }

  async *#join(id: string, parts: readonly UploadedPart[]): AsyncGenerator<Uint8Array> {
    for (const { number } of parts) {
      const path = this.#partPath(id, number);
      const part = await disk(openObjectFile(path), path);
      yield* readContent(path, part, 0, part.header.size);
    }
  }

  #partPath(id: string, number: number): string {
    return join(this.#root, id, String(number));
  }

  async #remove(id: string): Promise<void> {
    const path = join(this.#root, id);
    // The record goes first: a part that arrives meanwhile must find no upload rather than half of one.
    await rm(join(path, 'upload.json'), { force: true });
    await disk(rm(path, { recursive: true, force: true, maxRetries: 3 }), path);
  }
}

const asUploadNotFound =
  (id: string, uri: string) =>
  (error: unknown): never => {
    throw errnoOf(error) === 'ENOENT' ? new UploadNotFound(id, uri) : error;
  };
