import { S3ServiceException } from '@aws-sdk/client-s3';
import {
  InvalidObjectArgument,
  ObjectDigestMismatch,
  ObjectNotFound,
  ObjectPreconditionFailed,
  ObjectRangeNotSatisfiable,
  ObjectStoreError,
  ObjectStoreFull,
  ObjectStoreUnavailable,
  ObjectTooLarge,
} from './object-errors.ts';

/** True for the answers that say the object (not the bucket, not the upload) is absent. */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error && /^(NotFound|NoSuchKey)$/.test(error.name);

/** Turns what the AWS SDK throws into this project's errors; ours pass through. */
export function fromS3(error: unknown, uri: string): ObjectStoreError {
  if (error instanceof ObjectStoreError) return error;
  const cause = { cause: error };
  if (!(error instanceof Error)) return new ObjectStoreUnavailable(`${uri}: S3 failed: ${String(error)}`, cause);
  if (isMissing(error)) return new ObjectNotFound(uri, cause);
  switch (error.name) {
    case 'NoSuchBucket':
      return new ObjectStoreUnavailable(`${uri}: the bucket does not exist; create it or configure another`, cause);
    case 'PreconditionFailed':
    case 'ConditionalRequestConflict':
      return new ObjectPreconditionFailed(uri, 'If-Match or If-None-Match', cause);
    case 'BadDigest':
      return new ObjectDigestMismatch(uri, 'MD5', cause);
    case 'InvalidRange':
      return new ObjectRangeNotSatisfiable(uri, 0);
    case 'EntityTooLarge':
      return new ObjectTooLarge(uri, undefined, 5 * 1024 ** 4);
    case 'MetadataTooLarge':
      return new InvalidObjectArgument('metadata', error.message);
    case 'AccessDenied':
    case 'Forbidden':
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return new ObjectStoreUnavailable(
        `${uri}: S3 refuses access (${error.name}); check credentials, policy and clock`,
        cause,
      );
  }
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (status === 507) return new ObjectStoreFull(uri, cause);
  if (status === 412) return new ObjectPreconditionFailed(uri, 'If-Match or If-None-Match', cause);
  return new ObjectStoreUnavailable(`${uri}: S3 failed with ${error.name}: ${error.message}`, cause);
}
