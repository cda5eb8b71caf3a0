import type { Attempt } from '../actors/action/attempt.ts';
import type { ActionPath } from '../actors/run/commands.ts';
import type { ActionDetailRow } from '../db/action-details.ts';
import { notFound } from './errors.ts';
import { nameOfAction } from './identifiers.ts';

/**
 * The attempt a request means: 0 is the latest.
 * @throws StarlingError not_found
 */
export function attemptOf(action: ActionDetailRow, number: number, path: ActionPath): Attempt {
  const attempt =
    number === 0 ? action.attempts.at(-1) : action.attempts.find(candidate => candidate.attempt === number);
  if (attempt === undefined) throw notFound('attempt', `${number || 1} of ${nameOfAction(path)}`);
  return attempt;
}
