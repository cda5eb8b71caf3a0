/**
 * Postgres refuses to run as root. An ordinary user just runs it; root needs somebody else to run it as:
 *
 * 1. the system user `postgres`, if that user can reach the server's files and the data directory;
 * 2. else a user namespace in which our own files seem to belong to a system user (nothing on the machine changes);
 * 3. else a `postgres` user that is made now, as Debian's package would, if only the user was missing.
 */
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import path from 'node:path';
import { StartError } from '../start-error.ts';

/** How to start a command so that Postgres accepts it. */
export interface RunAs {
  /** Goes before the command. */
  prefix: readonly string[];
  /** Present when the server runs as this user, who must then own its directories. */
  owner?: { uid: number; gid: number };
}

/** Root has nobody to run Postgres as: the message says why and what to do. */
export class PostgresUserError extends StartError {
  override name = 'PostgresUserError';
}

/**
 * @param mustReach directories and files that the server has to get at
 * @throws PostgresUserError
 */
export function postgresUser(isRoot: boolean, mustReach: readonly string[]): RunAs {
  if (!isRoot) return { prefix: [] };
  const known = systemUser('postgres');
  const blocked = known && mustReach.map(file => blockingDirectory(file, known)).find(Boolean);
  if (known && !blocked) return { prefix: [], owner: known };

  const namespace = ['unshare', '--user', `--map-user=${(known ?? systemUser('daemon'))?.uid ?? 1}`];
  if (runs([...namespace, 'true'])) return { prefix: namespace };
  if (blocked) {
    throw new PostgresUserError(
      `PostgreSQL does not run as root, and the system user "postgres" may not enter ${blocked}. Run Starling as an ordinary ` +
        `user, keep the clone and --data-dir outside of ${blocked}, or allow it with: chmod o+x ${blocked}`,
    );
  }
  if (runs(['groupadd', '--system', 'postgres']) && runs(['useradd', '--system', '-g', 'postgres', 'postgres'])) {
    return postgresUser(isRoot, mustReach);
  }
  throw new PostgresUserError(
    'PostgreSQL does not run as root, and no system user "postgres" exists or can be made. Run Starling as an ordinary user, or make one: useradd --system postgres',
  );
}

function systemUser(name: string): { uid: number; gid: number } | undefined {
  try {
    const id = (flag: string) => Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' }));
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}

/** The topmost directory on the way to the file that the user may not pass. */
function blockingDirectory(file: string, user: { uid: number; gid: number }): string | undefined {
  const steps = path.dirname(file).split(path.sep);
  for (let n = 1; n <= steps.length; n++) {
    const directory = steps.slice(0, n).join(path.sep) || path.sep;
    const { mode, uid, gid } = statSync(directory);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return directory;
  }
  return undefined;
}

function runs([command, ...args]: readonly string[]): boolean {
  try {
    execFileSync(command!, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
