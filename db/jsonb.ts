/** The escapes that JSON allows and Postgres' jsonb refuses: NUL, and halves of surrogate pairs. */
const REFUSED = /\\u0000|\\ud[89a-f]/i;

/**
 * Text for a jsonb parameter. What jsonb cannot hold (a NUL or half a character in an error message, say) is replaced by
 * U+FFFD, so that no text of a user can keep a row from being written.
 */
export function toJsonb(value: unknown): string {
  const json = JSON.stringify(value);
  return REFUSED.test(json) ? JSON.stringify(value, clean) : json;
}

function clean(_name: string, value: unknown): unknown {
  return typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '\ufffd') : value;
}
