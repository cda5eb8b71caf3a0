/** The errors of the S3 wire: status, code, message; and how the errors of the store become them. */
import { InvalidUploadPart, UploadNotFound } from '../directory/uploads.ts';
import { ObjectRangeNotSatisfiable, ObjectStoreError } from '../object-errors.ts';
import { element, xmlDocument } from './xml.ts';

export class S3Error extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.name = 'S3Error';
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

export const badRequest = (message: string): S3Error => new S3Error(400, 'InvalidArgument', message);
export const notImplemented = (what: string): S3Error =>
  new S3Error(501, 'NotImplemented', `${what} is not part of this embedded S3 endpoint; use S3 itself for it`);

/** Undefined for anything unforeseen: the caller answers 500 and logs. */
export function asS3Error(error: unknown): S3Error | undefined {
  if (error instanceof S3Error) return error;
  if (error instanceof UploadNotFound) return new S3Error(404, 'NoSuchUpload', error.message);
  if (error instanceof InvalidUploadPart) {
    return new S3Error(400, error.outOfOrder ? 'InvalidPartOrder' : 'InvalidPart', error.message);
  }
  if (error instanceof ObjectRangeNotSatisfiable) {
    return new S3Error(416, 'InvalidRange', error.message, { 'content-range': `bytes */${error.sizeBytes}` });
  }
  if (!(error instanceof ObjectStoreError)) return undefined;
  const [status, code] = STATUS_OF[error.code];
  return new S3Error(status, code, error.message);
}

const STATUS_OF: Readonly<Record<ObjectStoreError['code'], readonly [number, string]>> = {
  'invalid-uri': [400, 'InvalidArgument'],
  'invalid-argument': [400, 'InvalidArgument'],
  'not-found': [404, 'NoSuchKey'],
  'too-large': [400, 'EntityTooLarge'],
  'precondition-failed': [412, 'PreconditionFailed'],
  'digest-mismatch': [400, 'BadDigest'],
  'range-not-satisfiable': [416, 'InvalidRange'],
  unavailable: [503, 'ServiceUnavailable'],
  // As MinIO answers; clients retry it like any 5xx and then report the text.
  full: [507, 'InsufficientStorage'],
};

export function errorDocument(error: S3Error, resource: string, requestId: string): string {
  return xmlDocument(
    'Error',
    element('Code', error.code),
    element('Message', error.message),
    element('Resource', resource),
    element('RequestId', requestId),
  );
}
