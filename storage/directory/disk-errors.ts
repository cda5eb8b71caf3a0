import { ObjectStoreFull, ObjectStoreUnavailable } from '../object-errors.ts';

/** The errno name of a failed system call, if the error is one. */
export const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && 'syscall' in error ? (error as NodeJS.ErrnoException).code : undefined;

/**
 * Awaits a file-system call; a failing disk becomes ObjectStoreFull or ObjectStoreUnavailable. Only for calls on our own files: an
 * error of a caller's body stream must pass through as it is.
 */
export async function disk<T>(call: Promise<T>, where: string): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw diskError(error, where);
  }
}

export function diskError(error: unknown, where: string): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return new ObjectStoreFull(where, { cause: error });
  return new ObjectStoreUnavailable(
    `the object directory ${where} failed with ${errno}; check disk, mount and permissions`,
    {
      cause: error,
    },
  );
}
