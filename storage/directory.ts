/**
 * The object store of the embedded default: objects in a local directory, owned by one process.
 *
 *   <root>/objects/<bucket>/…   one file per object (directory/object-file.ts, directory/key-path.ts)
 *   <root>/uploads/<id>/…       multipart uploads under way (directory/uploads.ts)
 *   <root>/scratch/<process>/…  drafts, swept after a crash (directory/scratch.ts)
 *
 * D1  An object changes by one rename: readers see the old or the new, never a mixture, and an open one stays readable.
 * D2  When put, copy, complete or delete resolve, the change is on the disk (content flushed before the rename, directory after it).
 * D3  Conditions are checked and the rename is made under one lock per key.
 * D4  No key can reach a path outside its bucket's directory: names are encoded, never joined raw.
 * Buckets come into being with their first object.
 */
import { constants, copyFile, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { resolveRange } from './byte-range.ts';
import { disk, diskError, errnoOf } from './directory/disk-errors.ts';
import { Durability } from './directory/durability.ts';
import { KeyLock } from './directory/key-lock.ts';
import { objectPath, toBinary } from './directory/key-path.ts';
import { entries, headerAt } from './directory/listing.ts';
import {
  type Glimpse,
  glimpse,
  type ObjectHeader,
  type OpenFile,
  openObjectFile,
  readContent,
  restamp,
  writeObjectFile,
} from './directory/object-file.ts';
import { inParallel } from './directory/parallel.ts';
import { Scratch } from './directory/scratch.ts';
import { signDownload, signUpload } from './directory/signed-links.ts';
import { Uploads } from './directory/uploads.ts';
import { walk } from './directory/walk.ts';
import { ObjectNotFound, ObjectPreconditionFailed, ObjectTooLarge } from './object-errors.ts';
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
  WriteCondition,
} from './object-store.ts';
import { type ObjectLocation, parseObjectUri } from './object-uri.ts';
import { checkPutOptions } from './put-options.ts';
import type { SigV4Credentials } from './sigv4.ts';

/** S3's own limit for one object. */
const MAX_OBJECT_BYTES = 5 * 1024 ** 4;
export interface DirectoryStoreOptions {
  /** Directory of the store; created if missing. Only one process at a time may open it. */
  readonly root: string;
  /** Key pair of the embedded endpoint, which signs the links. */
  readonly credentials: SigV4Credentials;
  /** Where clients reach the embedded endpoint, e.g. `http://localhost:8090/s3`. */
  readonly publicUrl: string;
  readonly maxObjectBytes?: number;
  readonly now?: () => Date;
}

export class DirectoryStore implements ObjectStore {
  readonly uploads: Uploads;
  readonly maxObjectBytes: number;
  readonly #objects: string;
  readonly #options: DirectoryStoreOptions;
  readonly #scratch: Scratch;
  readonly #now: () => Date;
  readonly #durability = new Durability();
  readonly #publishing = new KeyLock();

  private constructor(options: DirectoryStoreOptions, scratch: Scratch) {
    this.#options = options;
    this.#scratch = scratch;
    this.#objects = join(options.root, 'objects');
    this.#now = options.now ?? (() => new Date());
    this.maxObjectBytes = options.maxObjectBytes ?? MAX_OBJECT_BYTES;
    this.uploads = new Uploads(join(options.root, 'uploads'), {
      scratch,
      maxObjectBytes: this.maxObjectBytes,
      now: this.#now,
      header: uri => headerAt(this.#path(parseObjectUri(uri))),
      publish: (draft, uri, onlyIf) => this.#publish(draft, uri, this.#path(parseObjectUri(uri)), onlyIf),
    });
  }

  /** Opens the directory and removes what a crash left in it. Throws ObjectStoreUnavailable or ObjectStoreFull when it cannot be used. */
  static async open(options: DirectoryStoreOptions): Promise<DirectoryStore> {
    const store = new DirectoryStore(options, await Scratch.open(join(options.root, 'scratch')));
    await store.uploads.sweep();
    return store;
  }

  async put(uri: string, body: Bytes, options: PutOptions = {}): Promise<{ etag: string; size: number }> {
    const path = this.#path(parseObjectUri(uri));
    checkPutOptions(options);
    const { contentType, metadata = {}, contentMd5, onlyIf } = options;
    const header = { metadata, modifiedMs: this.#now().getTime(), ...(contentType !== undefined && { contentType }) };
    return this.#draft(async draft => {
      const limits = { maxBytes: this.maxObjectBytes, contentMd5, durable: true };
      const written = await writeObjectFile(draft, uri, header, body, limits);
      await this.#publish(draft, uri, path, onlyIf);
      return written;
    });
  }

  async read(uri: string, { maxBytes }: { maxBytes: number }): Promise<Uint8Array> {
    const opened = await this.open(uri);
    if (opened.info.size > maxBytes) {
      await opened.close();
      throw new ObjectTooLarge(uri, opened.info.size, maxBytes);
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of opened.body) chunks.push(chunk);
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  }

  async open(uri: string, { range }: { range?: ByteRange } = {}): Promise<OpenObject> {
    const path = this.#path(parseObjectUri(uri));
    let small: Glimpse;
    try {
      small = glimpse(path);
    } catch (error) {
      throw notFoundOr(error, uri, path);
    }
    const { offset, length } = resolveRange(uri, small.header.size, range);
    if (offset + length <= small.head.length) {
      const body = once(small.head.subarray(offset, offset + length));
      return { info: infoOf(uri, small.header), offset, length, body, close: async () => {} };
    }
    return this.#openLarge(uri, path, range);
  }

  async head(uri: string): Promise<ObjectInfo | undefined> {
    const header = headerAt(this.#path(parseObjectUri(uri)));
    return header && infoOf(uri, header);
  }

  async *list(prefixUri: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    for await (const entry of entries(this.#objects, prefixUri, options, false))
      if ('object' in entry) yield entry.object;
  }

  listFolder(prefixUri: string, options: ListOptions = {}): AsyncIterable<FolderEntry> {
    return entries(this.#objects, prefixUri, options, true);
  }

  async copy(fromUri: string, toUri: string): Promise<{ etag: string; size: number }> {
    const from = this.#path(parseObjectUri(fromUri));
    const to = this.#path(parseObjectUri(toUri));
    return this.#draft(async draft => {
      try {
        await copyFile(from, draft, constants.COPYFILE_FICLONE);
      } catch (error) {
        throw notFoundOr(error, fromUri, from);
      }
      await disk(restamp(draft, this.#now().getTime()), draft);
      const { etag, size } = glimpse(draft).header;
      await this.#publish(draft, toUri, to);
      return { etag, size };
    });
  }

  async delete(uri: string): Promise<void> {
    const path = this.#path(parseObjectUri(uri));
    if (await this.#unlink(path)) await this.#deleted(dirname(path));
  }

  async deletePrefix(uri: string): Promise<number> {
    const folder = parseObjectUri(uri.endsWith('/') ? uri.slice(0, -1) : uri);
    const bucketPath = `${this.#objects}/${folder.bucket}/`;
    const directories = new Set<string>();
    let count = 0;
    const found = walk(bucketPath, { prefix: `${toBinary(folder.key)}/`, after: '', rollUp: false });
    await inParallel(found, async ({ path }) => {
      if (!(await this.#unlink(path))) return;
      directories.add(dirname(path));
      count++;
    });
    await inParallel(directories, directory => this.#deleted(directory));
    return count;
  }

  async signUpload(uri: string, options: SignUploadOptions): Promise<SignedUpload> {
    return signUpload(parseObjectUri(uri), options, { ...this.#options, now: this.#now() });
  }

  async signDownload(uri: string, options: SignDownloadOptions): Promise<{ url: string; expiresAt: Date }> {
    return signDownload(parseObjectUri(uri), options, { ...this.#options, now: this.#now() });
  }

  async close(): Promise<void> {
    await this.#scratch.close();
  }

  #path({ bucket, key }: ObjectLocation): string {
    return `${this.#objects}/${bucket}/${objectPath(toBinary(key))}`;
  }

  /** The file may be another one than the glimpse saw: header and content come from the same open file. */
  async #openLarge(uri: string, path: string, range: ByteRange | undefined): Promise<OpenObject> {
    let opened: OpenFile;
    try {
      opened = await openObjectFile(path);
    } catch (error) {
      throw notFoundOr(error, uri, path);
    }
    const close = (): Promise<void> => opened.file.close();
    try {
      const { offset, length } = resolveRange(uri, opened.header.size, range);
      return {
        info: infoOf(uri, opened.header),
        offset,
        length,
        body: readContent(path, opened, offset, length),
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  }

  /** Lends a scratch path to `use`, which renames it away; removes it when it does not. */
  async #draft<T>(use: (draft: string) => Promise<T>): Promise<T> {
    const draft = this.#scratch.draft();
    try {
      return await use(draft);
    } catch (error) {
      await this.#scratch.discard(draft);
      throw error;
    }
  }

  async #publish(draft: string, uri: string, path: string, onlyIf?: WriteCondition): Promise<void> {
    const change = async (): Promise<void> => {
      if (onlyIf !== undefined) this.#check(uri, path, onlyIf);
      await rename(draft, path);
    };
    const directory = dirname(path);
    await disk(
      this.#durability.changeIn(directory, () => this.#publishing.run(path, change)),
      directory,
    );
  }

  #check(uri: string, path: string, onlyIf: WriteCondition): void {
    const etag = headerAt(path)?.etag;
    if (onlyIf === 'absent') {
      if (etag !== undefined) throw new ObjectPreconditionFailed(uri, 'the object does not exist');
    } else if (etag === undefined) throw new ObjectNotFound(uri);
    else if (etag !== onlyIf.etag) throw new ObjectPreconditionFailed(uri, `the etag is ${onlyIf.etag}`);
  }

  async #unlink(path: string): Promise<boolean> {
    return this.#publishing.run(path, async () => {
      try {
        await unlink(path);
        return true;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return false;
        return disk(Promise.reject(error), path);
      }
    });
  }

  /** Makes unlinks in the directory durable and removes it and its parents, up to the buckets, as far as they are empty. */
  async #deleted(directory: string): Promise<void> {
    await this.#durability.flush(directory);
    for (let each = directory; each.length > this.#objects.length; each = dirname(each)) {
      try {
        await rmdir(each);
      } catch {
        return; // in use again, or already gone: a put that loses its directory to us makes it anew
      }
    }
  }
}

function infoOf(uri: string, header: ObjectHeader): ObjectInfo {
  const { size, etag, modifiedMs, contentType, metadata } = header;
  return {
    uri,
    size,
    etag,
    lastModified: new Date(modifiedMs),
    metadata,
    ...(contentType !== undefined && { contentType }),
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

const notFoundOr = (error: unknown, uri: string, path: string): unknown =>
  errnoOf(error) === 'ENOENT' ? new ObjectNotFound(uri, { cause: error }) : diskError(error, path);
