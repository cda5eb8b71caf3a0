/**
 * Starling cannot start, for a reason a person can mend: the message says what, why and what to do, and is all that is printed.
 */
export class StartError extends Error {
  override name = 'StartError';
}
