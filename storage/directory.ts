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
import { disk, errnoOf } from './directory/disk-errors.ts';
import { Durability } from './directory/durability.ts';
import { KeyLock } from './directory/key-lock.ts';
import { fromBinary, objectPath, toBinary } from './directory/key-path.ts';
import { type ObjectHeader, openObjectFile, readContent, restamp, writeObjectFile } from './directory/object-file.ts';
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
import { type ObjectLocation, parseObjectPrefix, parseObjectUri } from './object-uri.ts';
import { checkPutOptions } from './put-options.ts';
import type { SigV4Credentials } from './sigv4.ts';

/** S3's own limit for one object. */
const MAX_OBJECT_BYTES = 5 * 1024 ** 4;
/** Headers read ahead of a listing's reader. */
const LIST_READ_AHEAD = 16;
/** Flushes of different directories share one journal commit when they run together. */
const DELETE_PARALLEL = 16;
/** Enough of a file for its header. */
const HEADER_READ_BYTES = 1024;

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
      header: async uri => (await this.#header(this.#path(parseObjectUri(uri))))?.header,
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
    const opened = await disk(openObjectFile(path).catch(asNotFound(uri)), path);
    const info = infoOf(uri, opened.header);
    try {
      const { offset, length } = resolveRange(uri, info.size, range);
      const close = (): Promise<void> => opened.file.close();
      if (offset + length > opened.head.length) {
        return { info, offset, length, body: readContent(path, opened, offset, length), close };
      }
      await close();
      return { info, offset, length, body: once(opened.head.subarray(offset, offset + length)), close };
    } catch (error) {
      await opened.file.close();
      throw error;
    }
  }

  async head(uri: string): Promise<ObjectInfo | undefined> {
    const found = await this.#header(this.#path(parseObjectUri(uri)));
    return found && infoOf(uri, found.header);
  }

  async *list(prefixUri: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    for await (const entry of this.#entries(prefixUri, options, false)) if ('object' in entry) yield entry.object;
  }

  listFolder(prefixUri: string, options: ListOptions = {}): AsyncIterable<FolderEntry> {
    return this.#entries(prefixUri, options, true);
  }

  async copy(fromUri: string, toUri: string): Promise<{ etag: string; size: number }> {
    const from = this.#path(parseObjectUri(fromUri));
    const to = this.#path(parseObjectUri(toUri));
    return this.#draft(async draft => {
      await disk(copyFile(from, draft, constants.COPYFILE_FICLONE).catch(asNotFound(fromUri)), from);
      await disk(restamp(draft, this.#now().getTime()), draft);
      const copied = await this.#header(draft);
      await this.#publish(draft, toUri, to);
      return { etag: copied!.header.etag, size: copied!.header.size };
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

  async #header(path: string): Promise<{ header: ObjectHeader } | undefined> {
    try {
      const { file, header } = await openObjectFile(path, HEADER_READ_BYTES);
      await file.close();
      return { header };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      return disk(Promise.reject(error), path);
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
      if (onlyIf !== undefined) await this.#check(uri, path, onlyIf);
      await rename(draft, path);
    };
    const directory = dirname(path);
    await disk(
      this.#durability.changeIn(directory, () => this.#publishing.run(path, change)),
      directory,
    );
  }

  async #check(uri: string, path: string, onlyIf: WriteCondition): Promise<void> {
    const etag = (await this.#header(path))?.header.etag;
    if (onlyIf === 'absent') {
      if (etag !== undefined) throw new ObjectPreconditionFailed(uri, 'the object does not exist');
    } else if (etag === undefined) throw new ObjectNotFound(uri);
    else if (etag !== onlyIf.etag) throw new ObjectPreconditionFailed(uri, `the etag is ${onlyIf.etag}`);
  }

  async *#entries(
    prefixUri: string,
    { limit = Infinity, after = '' }: ListOptions,
    rollUp: boolean,
  ): AsyncGenerator<FolderEntry> {
    const { bucket, key } = parseObjectPrefix(prefixUri);
    const options = { prefix: toBinary(key), after: toBinary(after), rollUp };
    const ahead: Array<Promise<FolderEntry | undefined>> = [];
    let left = limit;
    for await (const found of walk(`${this.#objects}/${bucket}/`, options)) {
      if (left-- <= 0) break;
      const uri = `s3://${bucket}/${fromBinary(found.binaryKey)}`;
      ahead.push(
        found.kind === 'folder'
          ? Promise.resolve({ folder: uri })
          : this.#header(found.path).then(entry => entry && { object: listed(uri, entry.header) }),
      );
      ahead.at(-1)!.catch(() => {});
      if (ahead.length < LIST_READ_AHEAD) continue;
      const entry = await ahead.shift()!;
      if (entry) yield entry;
    }
    for (const promise of ahead) {
      const entry = await promise;
      if (entry) yield entry;
    }
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

const listed = (uri: string, { size, etag, modifiedMs }: ObjectHeader): ObjectInfo => ({
  uri,
  size,
  etag,
  lastModified: new Date(modifiedMs),
  metadata: {},
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

/** Works through the items, DELETE_PARALLEL at a time; the first failure ends it. */
async function inParallel<T>(items: AsyncIterable<T> | Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const pending = new Set<Promise<void>>();
  for await (const item of items) {
    const one = work(item).finally(() => pending.delete(one));
    one.catch(() => {});
    pending.add(one);
    if (pending.size >= DELETE_PARALLEL) await Promise.race(pending);
  }
  await Promise.all(pending);
}

const asNotFound =
  (uri: string) =>
  (error: unknown): never => {
    throw errnoOf(error) === 'ENOENT' ? new ObjectNotFound(uri, { cause: error }) : error;
  };
