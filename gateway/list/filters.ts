import type { ColumnType, Comparison, Condition } from '../../db/list-query.ts';
import { type Filter, Filter_Function as Fn } from '../../proto/gen/flyteidl2/common/list_pb.js';
import { invalidArgument } from '../errors.ts';
import type { Columns, Field, ReadValue } from './columns.ts';

const comparisonOf = new Map<Fn, Comparison>([
  [Fn.EQUAL, '='],
  [Fn.NOT_EQUAL, '<>'],
  [Fn.GREATER_THAN, '>'],
  [Fn.GREATER_THAN_OR_EQUAL, '>='],
  [Fn.LESS_THAN, '<'],
  [Fn.LESS_THAN_OR_EQUAL, '<='],
]);

/**
 * The conditions of a request's filters, all of which must hold. The rules are those of runs.md 1.10, with what the reference
 * refuses but the contract and the SDK know: VALUE_IN with one value, VALUE_NOT_IN, EXISTS and NOT_EXISTS.
 * @throws StarlingError invalid_argument naming the filter, its value and what would be accepted
 */
export function conditionsOf(filters: readonly Filter[], columns: Columns): Condition[] {
  return filters.map((filter, index) => condition(filter, `request.filters[${index}]`, columns));
}

function condition(filter: Filter, at: string, columns: Columns): Condition {
  const field = columns.field(filter.field);
  if (field === undefined) {
    throw invalidArgument(`${at}.field`, filter.field, `must be one of ${columns.names().join(', ')}`);
  }
  const { column } = field;
  const fn = filter.function;

  if (fn === Fn.EXISTS) return { kind: 'present', column };
  if (fn === Fn.NOT_EXISTS) return { kind: 'absent', column };

  if (filter.values.length === 0) {
    throw invalidArgument(`${at}.values`, '', `${Fn[fn] ?? fn} of ${filter.field} needs a value`);
  }
  if (fn === Fn.VALUE_IN || fn === Fn.VALUE_NOT_IN) {
    const values = filter.values.map(value => read(field, value, at, filter.field));
    return { kind: fn === Fn.VALUE_IN ? 'in' : 'not-in', column, values };
  }

  const by = comparisonOf.get(fn);
  if (by !== undefined) {
    const value = read(field, single(filter, at, field), at, filter.field);
    if (by === '=' && field.equals !== undefined) return { kind: 'sql', fragment: field.equals(value) };
    return { kind: 'compare', column, by, value };
  }

  const pattern = likeOf.get(fn);
  if (pattern === undefined) {
    throw invalidArgument(
      `${at}.function`,
      fn,
      'must be a function of the contract (flyteidl2.common.Filter.Function)',
    );
  }
  if (column.type !== 'text' || field.read !== undefined) {
    throw invalidArgument(`${at}.function`, Fn[fn], `${filter.field} is not text; compare it or use VALUE_IN`);
  }
  return { kind: 'like', column, value: single(filter, at, field), ...pattern };
}

const likeOf = new Map<Fn, { where: 'anywhere' | 'end'; ignoreCase: boolean; negated: boolean }>([
  [Fn.CONTAINS, { where: 'anywhere', ignoreCase: false, negated: false }],
  [Fn.CONTAINS_CASE_INSENSITIVE, { where: 'anywhere', ignoreCase: true, negated: false }],
  [Fn.ENDS_WITH, { where: 'end', ignoreCase: false, negated: false }],
  [Fn.NOT_ENDS_WITH, { where: 'end', ignoreCase: false, negated: true }],
]);

function single(filter: Filter, at: string, field: Field): string {
  const { values } = filter;
  // Phase 10 as EQUAL arrives as the values "1" and "0": the SDK assigns a text to a repeated field.
  if (field.splitDigits && values.length > 1 && values.every(value => /^\d$/.test(value))) return values.join('');
  if (values.length > 1) {
    throw invalidArgument(`${at}.values`, values, `${Fn[filter.function]} takes one value; use VALUE_IN for several`);
  }
  return values[0]!;
}

/** The value as the column wants it. @throws StarlingError invalid_argument */
function read(field: Field, value: string, at: string, name: string): string {
  const result = (field.read ?? readers[field.column.type])(value);
  if (result === undefined) {
    throw invalidArgument(`${at}.values`, value, `${name} takes ${field.values ?? wanted[field.column.type]}`);
  }
  return result;
}

const wanted: Readonly<Record<ColumnType, string>> = {
  text: 'text without the character NUL',
  integer: 'a whole number',
  timestamp: 'a time as in ISO 8601, e.g. 2026-01-31T12:00:00+00:00',
};

const MAX_INT8 = 2n ** 63n - 1n;
const ISO_8601 =
  /^(?!0000)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?<offset>Z|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)?)?$/i;

/** Readers of values by the type of the column; exported for lists whose filters are not of the contract's form. */
export const readers: Readonly<Record<ColumnType, ReadValue>> = {
  text: value => (value.includes('\0') ? undefined : value),
  integer(value) {
    if (!/^-?\d{1,19}$/.test(value)) return undefined;
    const number = BigInt(value);
    return number > MAX_INT8 || number < -MAX_INT8 ? undefined : number.toString();
  },
  timestamp(value) {
    const match = ISO_8601.exec(value.trim());
    if (match === null) return undefined;
    const day = value.trim().slice(0, 10);
    // A day that no calendar knows (February 30th) is moved on by Date but refused by Postgres.
    if (Number.isNaN(Date.parse(day)) || !new Date(`${day}T00:00:00Z`).toISOString().startsWith(day)) return undefined;
    const [, hours = '0', minutes = '0', seconds = '0'] = /[T ](\d\d):(\d\d)(?::(\d\d))?/i.exec(value) ?? [];
    if (Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) return undefined;
    const text = value.trim().replace(',', '.');
    return match.groups?.offset === undefined ? `${text}${text.length === 10 ? 'T00:00:00' : ''}Z` : text;
  },
};
