import type { ActionRow } from '../../db/action-reads.ts';
import { type Filter, Filter_Function as Fn } from '../../proto/gen/flyteidl2/common/list_pb.js';
import { displayName } from '../action-metadata.ts';
import { invalidArgument } from '../errors.ts';

/** Whether an action itself is looked for. */
export type TreeFilter = (action: ActionRow) => boolean;

/**
 * The filter of WatchActions: PHASE is one of numbers (several filters add up), NAME holds a text in any case (the last one counts);
 * both must hold (runs.md 1.15). Null without filters.
 * @throws StarlingError invalid_argument
 */
export function treeFilter(filters: readonly Filter[]): TreeFilter | null {
  const phases = new Set<number>();
  let name: string | undefined;
  for (const [index, filter] of filters.entries()) {
    const at = `filter[${index}]`;
    const field = filter.field.toUpperCase();
    if (field === 'PHASE' && (filter.function === Fn.VALUE_IN || filter.function === Fn.EQUAL)) {
      for (const value of filter.values) phases.add(phaseNumber(value, at));
    } else if (field === 'NAME' && filter.function === Fn.CONTAINS_CASE_INSENSITIVE) {
      name = filter.values[0]?.toLowerCase();
    } else {
      throw invalidArgument(at, filter.field, 'must be PHASE with VALUE_IN or NAME with CONTAINS_CASE_INSENSITIVE');
    }
  }
  if (phases.size === 0 && !name) return null;
  return action =>
    (phases.size === 0 || phases.has(action.phase)) && (!name || displayName(action).toLowerCase().includes(name));
}

function phaseNumber(value: string, at: string): number {
  if (!/^\d{1,2}$/.test(value)) throw invalidArgument(`${at}.values`, value, 'must be the number of a phase');
  return Number(value);
}
