/**
 * The one face of every object store (a local directory, S3, …). All URIs are full (`s3://bucket/key`, see object-uri.ts); every
 * method throws the errors of object-errors.ts and nothing else that a caller should handle:
 * InvalidObjectUri, ObjectStoreUnavailable and ObjectStoreFull are possible everywhere, the others are named at the method.
 */
export type Bytes = Uint8Array | AsyncIterable<Uint8Array>;

export interface ObjectInfo {
  readonly uri: string;
  readonly size: number;
  /** Without quotes. The hex MD5 of the content, except for multipart objects (`<hex>-<parts>`). */
  readonly etag: string;
  readonly lastModified: Date;
  /** Not known in listings. */
  readonly contentType?: string;
  /** User metadata, names in lower case; e.g. `flytecontentmd5` of uploads (services.md §13.1). Empty in listings. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** What is stored directly under a folder when names are rolled up at `/`: objects, and the folders below (uri ends with `/`). */
export type FolderEntry = { readonly object: ObjectInfo } | { readonly folder: string };

/** Write only if the object is absent, or only if it still has this etag. The check and the write are one step. */
export type WriteCondition = 'absent' | { readonly etag: string };

export interface PutOptions {
  contentType?: string;
  /** Printable ASCII, at most 2 KiB in all. */
  metadata?: Record<string, string>;
  /** 16 raw bytes; another body is refused with ObjectDigestMismatch. */
  contentMd5?: Uint8Array;
  onlyIf?: WriteCondition;
}

/** Bytes `start` to `endInclusive` (default: to the end), or the last `suffix` bytes. Clipped to the object. */
export type ByteRange = { start: number; endInclusive?: number } | { suffix: number };

export interface OpenObject {
  readonly info: ObjectInfo;
  /** Offset and length of `body` within the object. */
  readonly offset: number;
  readonly length: number;
  /** Read once, to its end, or call close(). A replaced or deleted object does not disturb a body already open. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Releases what an unread body holds; harmless afterwards. */
  close(): Promise<void>;
}

export interface ListOptions {
  /** Stop after this many. */
  limit?: number;
  /** Only keys behind this one (exclusive, the whole key, UTF-8 byte order). */
  after?: string;
}

export interface SignUploadOptions {
  /** 1 s to 7 days, whole seconds (rounded up). */
  expiresInMs: number;
  /** 16 raw bytes; bound into the signature and checked against the body on arrival. */
  contentMd5?: Uint8Array;
  /** Bound into the signature when given. */
  contentLength?: number;
  contentType?: string;
  /** Also keep the MD5 as user metadata `flytecontentmd5` (base64), so that head() can tell it for every store. */
  addMd5Metadata?: boolean;
  /** Base URL under which clients reach the store, when it is not the store's own (services.md §13.2). */
  publicUrl?: string;
}

export interface SignedUpload {
  url: string;
  /** To be sent with the PUT exactly as given. */
  headers: Record<string, string>;
  expiresAt: Date;
}

export interface SignDownloadOptions {
  expiresInMs: number;
  publicUrl?: string;
  /** Sent as Content-Type of the answer instead of the stored one. */
  contentType?: string;
}

export interface ObjectStore {
  /**
   * Stores the object durably and atomically: readers see the old one or all of the new one, and after the promise resolves it
   * survives a crash. A body that fails midway stores nothing. Throws ObjectDigestMismatch, ObjectPreconditionFailed,
   * ObjectTooLarge, InvalidObjectArgument.
   */
  put(uri: string, body: Bytes, options?: PutOptions): Promise<{ etag: string; size: number }>;
  /** The whole object. Throws ObjectNotFound, and ObjectTooLarge when it has more than maxBytes. */
  read(uri: string, options: { maxBytes: number }): Promise<Uint8Array>;
  /** Throws ObjectNotFound, ObjectRangeNotSatisfiable. */
  open(uri: string, options?: { range?: ByteRange }): Promise<OpenObject>;
  head(uri: string): Promise<ObjectInfo | undefined>;
  /** Every object whose key starts with the prefix, in UTF-8 byte order of the keys. */
  list(prefixUri: string, options?: ListOptions): AsyncIterable<ObjectInfo>;
  /** One level: what lies directly behind the prefix, deeper keys rolled up to their folder, in byte order. */
  listFolder(prefixUri: string, options?: ListOptions): AsyncIterable<FolderEntry>;
  /** Server side, with content type and metadata. Throws ObjectNotFound. */
  copy(fromUri: string, toUri: string): Promise<{ etag: string; size: number }>;
  /** An absent object is fine. */
  delete(uri: string): Promise<void>;
  /** Deletes everything below the folder `uri` (a missing final slash is added, so `…/r1` never touches `…/r10`); returns the count. */
  deletePrefix(uri: string): Promise<number>;
  /** A URL that lets anybody PUT this one object until it expires. Throws InvalidObjectArgument. */
  signUpload(uri: string, options: SignUploadOptions): Promise<SignedUpload>;
  /** A URL that lets anybody GET this one object until it expires; existence is not checked. Throws InvalidObjectArgument. */
  signDownload(uri: string, options: SignDownloadOptions): Promise<{ url: string; expiresAt: Date }>;
  /** Releases connections and temporary space. Operations under way may fail. */
  close(): Promise<void>;
}
