/** Upload and download links of the directory store: presigned SigV4 URLs that the embedded endpoint verifies. */

import type { SignDownloadOptions, SignedUpload, SignUploadOptions } from '../object-store.ts';
import type { ObjectLocation } from '../object-uri.ts';
import { checkPutOptions } from '../put-options.ts';
import { expirySeconds, uploadHeaders } from '../signed-upload.ts';
import { presign, type SigV4Credentials } from '../sigv4.ts';

export interface LinkSigner {
  readonly credentials: SigV4Credentials;
  readonly publicUrl: string;
  readonly now: Date;
}

/** The endpoint accepts any region; this one is what the pods are told. */
const REGION = 'us-east-1';

export function signUpload(at: ObjectLocation, options: SignUploadOptions, signer: LinkSigner): SignedUpload {
  checkPutOptions(options);
  const headers = uploadHeaders(options);
  return { ...link(at, 'PUT', options, signer, { headers }), headers };
}

export function signDownload(
  at: ObjectLocation,
  options: SignDownloadOptions,
  signer: LinkSigner,
): { url: string; expiresAt: Date } {
  checkPutOptions(options);
  const query = options.contentType === undefined ? [] : [['response-content-type', options.contentType] as const];
  return link(at, 'GET', options, signer, { query });
}

function link(
  { bucket, key }: ObjectLocation,
  method: 'GET' | 'PUT',
  options: { expiresInMs: number; publicUrl?: string },
  signer: LinkSigner,
  extra: { headers?: Record<string, string>; query?: ReadonlyArray<readonly [string, string]> },
): { url: string; expiresAt: Date } {
  const expiresSeconds = expirySeconds(options.expiresInMs);
  const { credentials, now } = signer;
  const headers = Object.fromEntries(
    Object.entries(extra.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const url = presign({
    credentials,
    region: REGION,
    method,
    baseUrl: options.publicUrl ?? signer.publicUrl,
    path: `/${bucket}/${key}`,
    query: extra.query ?? [],
    headers,
    expiresSeconds,
    now,
  });
  return { url, expiresAt: new Date(now.getTime() + expiresSeconds * 1000) };
}
