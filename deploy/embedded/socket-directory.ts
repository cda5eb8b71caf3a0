import { createHash } from 'node:crypto';
import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';
import path from 'node:path';

/** The kernel takes 108 bytes on Linux and 104 on macOS, the closing zero included; some clients take less. */
const LONGEST_SOCKET_PATH_BYTES = 100;
const LONGEST_SOCKET_NAME = '.s.PGSQL.5432.lock';

/**
 * The private directory for the sockets of one embedded server: in the data directory, or under the system's temporary
 * directory when that path would be too long for a socket. Only `owner` (a uid; default: this user) may enter it.
 * @throws Error when somebody else made a directory of that name
 */
export function socketDirectory(
  where: { dataDir: string; tmpDir: string; uid: number },
  server: string,
  owner?: { uid: number; gid: number },
): string {
  const name = createHash('sha256').update(where.dataDir).digest('hex').slice(0, 12);
  const inside = path.join(where.dataDir, 'run');
  const fits = Buffer.byteLength(path.join(inside, server, LONGEST_SOCKET_NAME)) <= LONGEST_SOCKET_PATH_BYTES;
  const parent = fits ? inside : path.join(where.tmpDir, `starling-${where.uid}-${name}`);
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  const found = lstatSync(parent);
  if (!found.isDirectory() || found.uid !== where.uid) {
    throw new Error(`${parent} belongs to somebody else: remove it, or choose a shorter data directory.`);
  }
  // Another user may pass through to its own directory, and see nothing on the way. Never closed again here: a server of
  // that user may have its directory beside this one.
  if (owner) chmodSync(parent, 0o711);
  const directory = path.join(parent, server);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (owner) chownSync(directory, owner.uid, owner.gid);
  return directory;
}
