/**
 * What can go wrong in an object store, for every implementation. `code` is stable and machine readable; the message names the
 * object and the remedy. The gateway turns these into protocol errors at its edge, the S3 endpoint into S3 error documents.
 */
export type ObjectErrorCode =
  | 'invalid-uri'
  | 'invalid-argument'
  | 'not-found'
  | 'too-large'
  | 'precondition-failed'
  | 'digest-mismatch'
  | 'range-not-satisfiable'
  | 'unavailable'
  | 'full';

export class ObjectStoreError extends Error {
  readonly code: ObjectErrorCode;
  constructor(code: ObjectErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** The URI, bucket or key is not one this project accepts (see object-uri.ts). */
export class InvalidObjectUri extends ObjectStoreError {
  readonly uri: string;
  constructor(uri: string, why: string) {
    super('invalid-uri', `object URI ${JSON.stringify(uri.slice(0, 200))} ${why}`);
    this.uri = uri;
  }
}

/** An argument other than the URI is unusable: metadata that no HTTP header can carry, an expiry of zero, a bad digest length. */
export class InvalidObjectArgument extends ObjectStoreError {
  constructor(field: string, why: string) {
    super('invalid-argument', `${field} ${why}`);
  }
}

export class ObjectNotFound extends ObjectStoreError {
  readonly uri: string;
  constructor(uri: string, options?: ErrorOptions) {
    super('not-found', `no object at ${uri}`, options);
    this.uri = uri;
  }
}

/** The object is larger than the reader (or the store) allows; nothing was returned or stored. */
export class ObjectTooLarge extends ObjectStoreError {
  readonly uri: string;
  readonly maxBytes: number;
  constructor(uri: string, sizeBytes: number | undefined, maxBytes: number) {
    const size = sizeBytes === undefined ? 'more' : `${sizeBytes} bytes`;
    super('too-large', `${uri} has ${size}, the limit here is ${maxBytes} bytes`);
    this.uri = uri;
    this.maxBytes = maxBytes;
  }
}

/** A conditional write met another state than the one it was conditional on; the store is unchanged. */
export class ObjectPreconditionFailed extends ObjectStoreError {
  readonly uri: string;
  constructor(uri: string, condition: string, options?: ErrorOptions) {
    super('precondition-failed', `${uri}: condition "${condition}" does not hold`, options);
    this.uri = uri;
  }
}

/** The body is not the one whose digest was announced; nothing was stored. */
export class ObjectDigestMismatch extends ObjectStoreError {
  constructor(what: string, algorithm: string, options?: ErrorOptions) {
    super('digest-mismatch', `${what}: the ${algorithm} digest does not match the body; send it again`, options);
  }
}

export class ObjectRangeNotSatisfiable extends ObjectStoreError {
  readonly sizeBytes: number;
  constructor(uri: string, sizeBytes: number) {
    super('range-not-satisfiable', `${uri} has ${sizeBytes} bytes; the range asked for starts behind its end`);
    this.sizeBytes = sizeBytes;
  }
}

/** The store cannot be reached or refuses to work; worth a retry later. */
export class ObjectStoreUnavailable extends ObjectStoreError {
  constructor(message: string, options?: ErrorOptions, code: 'unavailable' | 'full' = 'unavailable') {
    super(code, message, options);
  }
}

/** No space left. A retry helps only after somebody made room. */
export class ObjectStoreFull extends ObjectStoreUnavailable {
  constructor(where: string, options?: ErrorOptions) {
    super(`no space left in ${where}: free disk space or raise the quota, then retry`, options, 'full');
  }
}
