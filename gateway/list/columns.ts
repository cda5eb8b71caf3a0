import type { FragmentSqlToken } from 'slonik';
import type { Column } from '../../db/list-query.ts';

/** How a filter value as the client wrote it becomes one that the column can be compared with; undefined: it cannot. */
export type ReadValue = (value: string) => string | undefined;

/** A field of a list as clients name it. */
export interface Field {
  readonly column: Column;
  /** For fields whose values have names, e.g. phases. Without: by the type of the column. */
  readonly read?: ReadValue;
  /** What `read` accepts, in words, for the error. */
  readonly values?: string;
  /** Sent by the SDK as digits: several one-digit values of an EQUAL are one number (runs.md 1.10). */
  readonly splitDigits?: boolean;
  /** A condition for EQUAL that an index serves better than the expression of the column. */
  readonly equals?: (value: string) => FragmentSqlToken;
}

/** The fields of one list: a closed set, and optionally families such as `labels.<key>`. */
export interface Columns {
  field(name: string): Field | undefined;
  /** Only members of the closed set can be sorted by. */
  sortable(name: string): Column | undefined;
  /** For error texts. */
  names(): readonly string[];
}

/** The closed set plus, for names that start with `prefix`, a field made from the rest of the name. */
export function columnsOf(
  fields: Readonly<Record<string, Field>>,
  family?: { readonly prefix: string; readonly field: (rest: string) => Field },
): Columns {
  const known = new Map(Object.entries(fields));
  return {
    field(name) {
      if (family !== undefined && name.startsWith(family.prefix) && name.length > family.prefix.length) {
        return family.field(name.slice(family.prefix.length));
      }
      return known.get(name) ?? known.get(name.toLowerCase());
    },
    sortable: name => known.get(name)?.column,
    names: () => [...known.keys(), ...(family === undefined ? [] : [`${family.prefix}<key>`])],
  };
}

/**
 * Values of an enum field: its number, its full name, or its name without the prefix, in any case.
 * @param prefix e.g. `ACTION_PHASE_`
 */
export function enumReader(values: Readonly<Record<string, string | number>>, prefix: string): ReadValue {
  return value => {
    if (/^\d+$/.test(value)) return String(Number(value));
    const name = value.toUpperCase();
    const number = values[name.startsWith(prefix) ? name.slice(prefix.length) : name];
    return typeof number === 'number' ? String(number) : undefined;
  };
}
