import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Secrets of one data directory. They never leave this machine, except as signatures. */
export interface Keys {
  /** Of the embedded object store; tasks get them as their S3 credentials. */
  accessKeyId: string;
  secretAccessKey: string;
  /** Signs URLs of our own; 32 bytes in hexadecimal. */
  signingKey: string;
}

/** Reads the secrets of the data directory; makes them at its first start. Only this user may read the file. */
export function dataDirKeys(dataDir: string): Keys {
  const file = path.join(dataDir, 'keys.json');
  if (!existsSync(file)) {
    const keys: Keys = {
      accessKeyId: `STARLING${randomBytes(6).toString('hex').toUpperCase()}`,
      secretAccessKey: randomBytes(20).toString('hex'),
      signingKey: randomBytes(32).toString('hex'),
    };
    writeFileSync(`${file}.new`, `${JSON.stringify(keys)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Keys;
}
