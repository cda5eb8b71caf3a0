import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { notImplemented } from './s3-error.ts';

/** A running checksum; `value()` is the base64 text that S3's `x-amz-checksum-…` headers carry. */
export interface Checksum {
  update(chunk: Uint8Array): void;
  value(): string;
}

export const CHECKSUM_PREFIX = 'x-amz-checksum-';

/** For a header name like `x-amz-checksum-sha256`. Throws S3Error 501 for the algorithms Node has no native code for. */
export function checksumFor(header: string): Checksum {
  const algorithm = header.slice(CHECKSUM_PREFIX.length);
  if (algorithm === 'sha256' || algorithm === 'sha1') {
    const hash = createHash(algorithm);
    return { update: chunk => void hash.update(chunk), value: () => hash.digest('base64') };
  }
  if (algorithm === 'crc32') {
    let crc = 0;
    return {
      update: chunk => {
        crc = crc32(chunk, crc);
      },
      value: () => {
        const bytes = Buffer.alloc(4);
        bytes.writeUInt32BE(crc);
        return bytes.toString('base64');
      },
    };
  }
  throw notImplemented(`the checksum algorithm ${algorithm} (use CRC32, SHA1 or SHA256)`);
}
