import { type FragmentSqlToken, sql } from 'slonik';

/** What a column of a list may be compared with. `timestamp` values are ISO 8601 with an offset, `integer` ones decimal. */
export type ColumnType = 'text' | 'integer' | 'timestamp';

/** A column that a list can be filtered and sorted by. */
export interface Column {
  readonly type: ColumnType;
  readonly expression: FragmentSqlToken;
  /** Set for columns that hold nulls: sorting treats a null like this value, so that a page token can name it. */
  readonly whenNull?: FragmentSqlToken;
}

/** A text column; sorting takes a null as the empty text. */
export function textColumn(expression: FragmentSqlToken, options: { nullable: boolean } = { nullable: false }): Column {
  return { type: 'text', expression, ...(options.nullable && { whenNull: sql.fragment`''` }) };
}

/** An integer column; sorting puts nulls behind all numbers. */
export function integerColumn(
  expression: FragmentSqlToken,
  options: { nullable: boolean } = { nullable: false },
): Column {
  return { type: 'integer', expression, ...(options.nullable && { whenNull: sql.fragment`9223372036854775807` }) };
}

/** A column of instants; sorting puts nulls behind all of them. */
export function timestampColumn(
  expression: FragmentSqlToken,
  options: { nullable: boolean } = { nullable: false },
): Column {
  return {
    type: 'timestamp',
    expression,
    ...(options.nullable && { whenNull: sql.fragment`'infinity'::timestamptz` }),
  };
}

export type Comparison = '=' | '<>' | '>' | '>=' | '<' | '<=';

/** One condition of a filter; all conditions of a list must hold. Nulls never match a comparison (runs.md 1.10). */
export type Condition =
  | { readonly kind: 'compare'; readonly column: Column; readonly by: Comparison; readonly value: string }
  | { readonly kind: 'in' | 'not-in'; readonly column: Column; readonly values: readonly string[] }
  | {
      readonly kind: 'like';
      readonly column: Column;
      readonly where: 'anywhere' | 'end';
      readonly value: string;
      readonly ignoreCase: boolean;
      readonly negated: boolean;
    }
  | { readonly kind: 'present' | 'absent'; readonly column: Column }
  | { readonly kind: 'sql'; readonly fragment: FragmentSqlToken };

export interface SortKey {
  readonly column: Column;
  readonly descending: boolean;
}

/** What one page of a list holds: `cursor` is the text of the sort keys of the last row of the page before. */
export interface PageRequest {
  readonly conditions: readonly Condition[];
  /** Together they name a row: the last one is unique. */
  readonly sort: readonly SortKey[];
  readonly cursor: readonly string[] | null;
  readonly limit: number;
}

/** Rows of a page, and the cursor of the next one if there is one. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly next: readonly string[] | null;
}

/** `where …` of all conditions and of the position behind the cursor; `true` when there are none. */
export function whereOf(page: PageRequest): FragmentSqlToken {
  const parts = page.conditions.map(conditionSql);
  if (page.cursor !== null) parts.push(behind(page.sort, page.cursor));
  if (parts.length === 0) return sql.fragment`true`;
  return sql.fragment`${sql.join(
    parts.map(part => sql.fragment`(${part})`),
    sql.fragment` and `,
  )}`;
}

/** `order by …` and the limit, one row more than the page holds: that one tells whether there is a next page. */
export function orderAndLimit(page: PageRequest): FragmentSqlToken {
  const keys = page.sort.map(({ column, descending }) =>
    descending ? sql.fragment`${sortable(column)} desc` : sql.fragment`${sortable(column)} asc`,
  );
  return sql.fragment`order by ${sql.join(keys, sql.fragment`, `)} limit ${page.limit + 1}`;
}

/** A `text[]` of the sort keys of a row, exact to the microsecond: the cursor if the page ends there. */
export function cursorOf(page: PageRequest): FragmentSqlToken {
  return sql.fragment`array[${sql.join(
    page.sort.map(({ column }) => sql.fragment`(${sortable(column)})::text`),
    sql.fragment`, `,
  )}]`;
}

/** Cuts the extra row off; rows carry the cursor that {@link cursorOf} selected. */
export function toPage<Row extends { readonly cursor: readonly string[] }>(
  page: PageRequest,
  rows: readonly Row[],
): Page<Row> {
  if (rows.length <= page.limit) return { rows, next: null };
  const kept = rows.slice(0, page.limit);
  return { rows: kept, next: kept.at(-1)!.cursor };
}

function sortable(column: Column): FragmentSqlToken {
  return column.whenNull === undefined
    ? column.expression
    : sql.fragment`coalesce(${column.expression}, ${column.whenNull})`;
}

/** The rows behind the cursor in the order of the keys: `k1 > c1 or (k1 = c1 and (k2 > c2 or …))`. */
function behind(sort: readonly SortKey[], cursor: readonly string[]): FragmentSqlToken {
  const [key, ...rest] = sort;
  const [value, ...others] = cursor;
  if (key === undefined || value === undefined) return sql.fragment`false`;
  const left = sortable(key.column);
  const right = literal(key.column.type, value);
  const further = key.descending ? sql.fragment`${left} < ${right}` : sql.fragment`${left} > ${right}`;
  if (rest.length === 0) return further;
  const reached = key.descending ? sql.fragment`${left} <= ${right}` : sql.fragment`${left} >= ${right}`;
  // The first half is implied by the second; alone it is what an index on the first key can be entered with.
  return sql.fragment`${reached} and (${further} or (${behind(rest, others)}))`;
}

function literal(type: ColumnType, value: string): FragmentSqlToken {
  switch (type) {
    case 'text':
      return sql.fragment`${value}::text`;
    case 'integer':
      return sql.fragment`${value}::bigint`;
    case 'timestamp':
      return sql.fragment`${value}::timestamptz`;
  }
}

function literals(type: ColumnType, values: readonly string[]): FragmentSqlToken {
  const array = sql.array([...values], 'text');
  switch (type) {
    case 'text':
      return sql.fragment`${array}`;
    case 'integer':
      return sql.fragment`${array}::bigint[]`;
    case 'timestamp':
      return sql.fragment`${array}::timestamptz[]`;
  }
}

const comparisons = {
  '=': sql.fragment`=`,
  '<>': sql.fragment`<>`,
  '>': sql.fragment`>`,
  '>=': sql.fragment`>=`,
  '<': sql.fragment`<`,
  '<=': sql.fragment`<=`,
} as const;

function conditionSql(condition: Condition): FragmentSqlToken {
  switch (condition.kind) {
    case 'compare': {
      const { column, by, value } = condition;
      return sql.fragment`${column.expression} ${comparisons[by]} ${literal(column.type, value)}`;
    }
    case 'in':
      return sql.fragment`${condition.column.expression} = any(${literals(condition.column.type, condition.values)})`;
    case 'not-in':
      return sql.fragment`${condition.column.expression} <> all(${literals(condition.column.type, condition.values)})`;
    case 'like': {
      const { column, where, value, ignoreCase, negated } = condition;
      const pattern = `%${escapeLike(ignoreCase ? value.toLowerCase() : value)}${where === 'anywhere' ? '%' : ''}`;
      const left = ignoreCase ? sql.fragment`lower(${column.expression})` : column.expression;
      return negated ? sql.fragment`${left} not like ${pattern}` : sql.fragment`${left} like ${pattern}`;
    }
    case 'present':
      return sql.fragment`${condition.column.expression} is not null`;
    case 'absent':
      return sql.fragment`${condition.column.expression} is null`;
    case 'sql':
      return condition.fragment;
  }
}

/** What a user types is looked for as it is: `%` and `_` are no wildcards. */
function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&');
}
