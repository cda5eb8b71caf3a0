/**
 * The state machine of a run. Its phase is that of its root action and is not kept here; the run decides what concerns
 * the tree as a whole.
 *
 *   live ──► aborting ──► ended
 *     └────────────────────▲
 *
 *   aborting  entered by `abort`, with the letter `abort` to the root. If that letter were lost nothing would end, so it
 *             commits together with the state (I4).
 *   ended     entered in the transaction that ends the root (db/actions.ts), which raises the version: an abort that is just
 *             being decided loses the race and then changes nothing.
 */
import { type AbortAction, ACTION_KIND, actionKey } from '../action/messages.ts';
import type { Decision, Letter } from '../runtime/actor.ts';
import { ROOT_ACTION, type RunMessage } from './messages.ts';
import type { RunState } from './run-state.ts';

/** Folds the mail over the state of a run. */
export function decide(before: RunState, mail: readonly RunMessage[], now: Date): Decision<RunState> {
  const letters: Letter[] = [];
  let state = before;
  for (const { reason, by } of mail) {
    if (state.state !== 'live') continue;
    state = { ...state, state: 'aborting', abort: { reason, by, at: now } };
    const body: AbortAction = { type: 'abort', reason, by, notifyParent: false };
    letters.push({ to: { kind: ACTION_KIND, key: actionKey(state.id, ROOT_ACTION) }, body });
  }
  return { state, letters, changes: [], effects: [] };
}
