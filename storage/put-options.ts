import { InvalidObjectArgument } from './object-errors.ts';
import type { PutOptions } from './object-store.ts';

/** S3's limit for all names and values of user metadata together. */
const MAX_METADATA_BYTES = 2048;

/** Throws InvalidObjectArgument when the options could not travel as HTTP headers. Metadata names are taken in lower case only. */
export function checkPutOptions({ contentType, metadata = {}, contentMd5 }: PutOptions): void {
  if (contentMd5 && contentMd5.length !== 16) {
    throw new InvalidObjectArgument('contentMd5', `has ${contentMd5.length} bytes; an MD5 has 16`);
  }
  if (contentType !== undefined && !isHeaderText(contentType)) {
    throw new InvalidObjectArgument('contentType', 'must be 1 to 1024 printable ASCII characters');
  }
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9_.-]+$/.test(name)) {
      throw new InvalidObjectArgument(
        `metadata name ${JSON.stringify(name)}`,
        'must consist of lower-case letters, digits and _.-',
      );
    }
    if (value !== '' && !isHeaderText(value)) {
      throw new InvalidObjectArgument(`metadata ${name}`, 'must be printable ASCII; encode other text, e.g. as base64');
    }
    bytes += name.length + value.length;
  }
  if (bytes > MAX_METADATA_BYTES) {
    throw new InvalidObjectArgument('metadata', `has ${bytes} bytes; at most ${MAX_METADATA_BYTES} are allowed`);
  }
}

const isHeaderText = (text: string): boolean => /^[\x20-\x7e]{1,2048}$/.test(text);
