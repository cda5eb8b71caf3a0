import type { ListRequest } from '../../proto/gen/flyteidl2/common/list_pb.js';
import { invalidArgument } from '../errors.ts';
import type { Sorting } from './sorting.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1000;

/**
 * How many entries a page holds: 50 when nothing is asked for. More than 1000 are given as 1000, because a page with a
 * token is a right answer to any larger wish (services.md §5.2; the SDK asks for up to 1000 tasks at once).
 */
export function limitOf(request: ListRequest | undefined): number {
  const asked = request?.limit ?? 0;
  return asked === 0 ? DEFAULT_LIMIT : Math.min(asked, MAX_LIMIT);
}

/**
 * A page token is opaque to clients: the sort order it belongs to and the sort keys of the last row seen. Rows that are
 * inserted or removed meanwhile neither repeat nor skip others.
 */
export function encodeToken(sorting: Sorting, cursor: readonly string[] | null): string {
  if (cursor === null) return '';
  return Buffer.from(JSON.stringify([sorting.signature, ...cursor])).toString('base64url');
}

/**
 * The position a token names; null for the first page.
 * @throws StarlingError invalid_argument if it is no token of ours or was given out for another order
 */
export function decodeToken(sorting: Sorting, token: string): readonly string[] | null {
  if (token === '') return null;
  const parts = parse(token);
  if (parts === null) {
    throw invalidArgument('token', token, 'must be the token of an earlier answer; leave it out for the first page');
  }
  const [signature, ...cursor] = parts;
  if (signature !== sorting.signature || cursor.length !== sorting.keys.length) {
    throw invalidArgument('token', token, 'belongs to a list in another order; start again without a token');
  }
  return cursor;
}

function parse(token: string): string[] | null {
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    return Array.isArray(parts) && parts.every(part => typeof part === 'string') ? parts : null;
  } catch {
    return null;
  }
}
