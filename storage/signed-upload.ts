import { InvalidObjectArgument } from './object-errors.ts';
import type { SignUploadOptions } from './object-store.ts';
import { MAX_EXPIRES_SECONDS } from './sigv4.ts';

/** User metadata under which uploads keep the base64 MD5 of their content (services.md §13.1); stores compare names in lower case. */
export const MD5_METADATA = 'flytecontentmd5';

/** The lifetime of a signed URL in whole seconds. Throws InvalidObjectArgument outside 1 s to 7 days. */
export function expirySeconds(expiresInMs: number): number {
  const seconds = Math.ceil(expiresInMs / 1000);
  if (!(seconds >= 1 && seconds <= MAX_EXPIRES_SECONDS)) {
    throw new InvalidObjectArgument('expiresInMs', `is ${expiresInMs}; choose 1 ms to ${MAX_EXPIRES_SECONDS} s`);
  }
  return seconds;
}

/** The headers of a signed upload: every one is covered by the signature and has to be sent as given (services.md §13.2). */
export function uploadHeaders(options: SignUploadOptions): Record<string, string> {
  const { contentMd5, contentLength, contentType, addMd5Metadata } = options;
  if (addMd5Metadata && !contentMd5) throw new InvalidObjectArgument('addMd5Metadata', 'needs contentMd5');
  const md5 = contentMd5 && Buffer.from(contentMd5).toString('base64');
  return {
    ...(md5 !== undefined && { 'Content-MD5': md5 }),
    ...(contentLength !== undefined && { 'Content-Length': String(contentLength) }),
    ...(contentType !== undefined && { 'Content-Type': contentType }),
    ...(md5 !== undefined && addMd5Metadata && { 'x-amz-meta-flyteContentMD5': md5 }),
  };
}
