import type { SortKey } from '../../db/list-query.ts';
import { type Sort, Sort_Direction } from '../../proto/gen/flyteidl2/common/list_pb.js';
import { invalidArgument } from '../errors.ts';
import type { Columns } from './columns.ts';

/** The order of a list; `signature` names it in page tokens. */
export interface Sorting {
  readonly keys: readonly SortKey[];
  readonly signature: string;
}

interface NamedKey {
  readonly key: string;
  readonly descending: boolean;
}

/**
 * The order a request asks for, or `fallback`. `sort_by_fields` wins over the deprecated `sort_by`, which counts only with a
 * key; direction 0 is descending (runs.md 1.10). The unique keys of `ties` follow, ascending, so that no two rows are equal.
 * @throws StarlingError invalid_argument for a field that cannot be sorted by
 */
export function sortingOf(
  request: { readonly sortByFields?: readonly Sort[]; readonly sortBy?: Sort | undefined } | undefined,
  columns: Columns,
  defaults: { readonly fallback: readonly NamedKey[]; readonly ties: readonly string[] },
): Sorting {
  const asked = request?.sortByFields?.length ? request.sortByFields : request?.sortBy?.key ? [request.sortBy] : [];
  const named: NamedKey[] = asked.map(sort => ({
    key: sort.key,
    descending: sort.direction === Sort_Direction.DESCENDING,
  }));
  if (named.length === 0) named.push(...defaults.fallback);
  for (const tie of defaults.ties) {
    if (!named.some(({ key }) => key === tie)) named.push({ key: tie, descending: named[0]?.descending ?? false });
  }
  return {
    keys: named.map(({ key, descending }) => {
      const column = columns.sortable(key);
      if (column === undefined) {
        throw invalidArgument('request.sort_by.key', key, `must be one of ${columns.names().join(', ')}`);
      }
      return { column, descending };
    }),
    signature: named.map(({ key, descending }) => (descending ? `-${key}` : key)).join(','),
  };
}
