/** Signed links to S3: presigned PUT and GET. */
import { GetObjectCommand, PutObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { SignDownloadOptions, SignedUpload, SignUploadOptions } from './object-store.ts';
import { checkPutOptions } from './put-options.ts';
import type { S3Location } from './s3-upload.ts';
import { expirySeconds, MD5_METADATA, uploadHeaders } from './signed-upload.ts';

export class S3Links {
  readonly #config: S3ClientConfig;
  readonly #now: () => Date;
  /** Clients that only sign, one per public URL; the empty one is for the store's own endpoint. */
  readonly #signers = new Map<string, S3Client>();

  constructor(config: S3ClientConfig, now: () => Date) {
    this.#config = config;
    this.#now = now;
  }

  async signUpload(at: S3Location, options: SignUploadOptions): Promise<SignedUpload> {
    checkPutOptions(options);
    const headers = uploadHeaders(options);
    const md5 = headers['Content-MD5'];
    const command = new PutObjectCommand({
      ...at,
      ...(md5 !== undefined && { ContentMD5: md5 }),
      ...(options.contentLength !== undefined && { ContentLength: options.contentLength }),
      ...(options.contentType !== undefined && { ContentType: options.contentType }),
      ...(md5 !== undefined && options.addMd5Metadata && { Metadata: { [MD5_METADATA]: md5 } }),
    });
    // Signed as headers, not moved into the query: clients send exactly the headers of our answer.
    const names = new Set(Object.keys(headers).map(name => name.toLowerCase()));
    const { expiresIn, signingDate, expiresAt } = this.#life(options.expiresInMs);
    const url = await getSignedUrl(this.#signer(options.publicUrl), command, {
      expiresIn,
      signingDate,
      unhoistableHeaders: names,
      signableHeaders: new Set([...names, 'host']),
    });
    return { url, headers, expiresAt };
  }

  async signDownload(at: S3Location, options: SignDownloadOptions): Promise<{ url: string; expiresAt: Date }> {
    checkPutOptions(options);
    const { contentType, publicUrl } = options;
    const command = new GetObjectCommand({
      ...at,
      ...(contentType !== undefined && { ResponseContentType: contentType }),
    });
    const { expiresIn, signingDate, expiresAt } = this.#life(options.expiresInMs);
    return { url: await getSignedUrl(this.#signer(publicUrl), command, { expiresIn, signingDate }), expiresAt };
  }

  close(): void {
    for (const signer of this.#signers.values()) signer.destroy();
  }

  #life(expiresInMs: number): { expiresIn: number; signingDate: Date; expiresAt: Date } {
    const expiresIn = expirySeconds(expiresInMs);
    const signingDate = this.#now();
    return { expiresIn, signingDate, expiresAt: new Date(signingDate.getTime() + expiresIn * 1000) };
  }

  #signer(publicUrl = ''): S3Client {
    let signer = this.#signers.get(publicUrl);
    if (!signer) {
      signer = new S3Client({
        ...this.#config,
        ...(publicUrl !== '' && { endpoint: publicUrl, forcePathStyle: true }),
      });
      this.#signers.set(publicUrl, signer);
    }
    return signer;
  }
}
