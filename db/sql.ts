/**
 * The narrow view of a connection that the hot path and the repositories of actors see: prepared statements by name.
 * The caller owns the transaction; a function that takes a `Sql` never begins, commits or rolls back.
 */
export interface Sql {
  /**
   * Runs one prepared statement. `int8` arrives as number, `timestamptz` as Date, `jsonb` parsed, `bytea` as Buffer.
   * @throws DatabaseUnavailable when the connection is lost; the driver's DatabaseError otherwise
   */
  query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
}

/** A prepared statement: `name` is unique in the program and is reused per connection. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}
