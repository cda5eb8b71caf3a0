import pg from 'pg';
import type { DriverTypeParser } from 'slonik';

/**
 * How column types arrive, the same on both pools: `int8` as number (our counters stay far below 2^53), `timestamptz`
 * and `timestamp` (taken as UTC) as Date, `numeric` as string (never a lossy float), `date` as `YYYY-MM-DD`.
 */
const INT8 = 20;
const INT8_ARRAY = 1016;
const DATE = 1082;
const TIMESTAMP = 1114;

const int8 = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} does not fit into a number: select it as text`);
  return value;
};
const utcTimestamp = (text: string): Date => new Date(`${text.replace(' ', 'T')}Z`);
const asIs = (text: string): string => text;

const defaultParser = pg.types.getTypeParser as (oid: number, format?: string) => (text: string) => unknown;
const textArray = defaultParser(1009) as (text: string) => (string | null)[];

const overrides = new Map<number, (text: string) => unknown>([
  [INT8, int8],
  [INT8_ARRAY, text => textArray(text).map(value => (value === null ? null : int8(value)))],
  [DATE, asIs],
  [TIMESTAMP, utcTimestamp],
]);

/** For `pg`: the parser of a column by the number of its type. */
export function parsersByOid(oid: number, format?: string): (text: string) => unknown {
  return (format !== 'binary' && overrides.get(oid)) || defaultParser(oid, format);
}

const parseTimestamptz = defaultParser(1184) as (text: string) => Date;

/** For slonik: the same parsers by the name of the type. */
export const parsersByName: readonly DriverTypeParser[] = [
  { name: 'int8', parse: int8 },
  { name: 'timestamptz', parse: parseTimestamptz },
  { name: 'timestamp', parse: utcTimestamp },
  { name: 'numeric', parse: asIs },
  { name: 'date', parse: asIs },
];
