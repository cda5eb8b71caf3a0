/** What one call of `decide` works on: the state as it becomes, and the letters it causes. Never leaves the call. */
import { EXECUTOR_KIND, executorKey, type StartAttempt, type TerminateAttempt } from '../executor/messages.ts';
import type { Letter } from '../runtime/actor.ts';
import type { ActionState } from './action-state.ts';
import type { ActionFacts } from './facts.ts';
import { ACTION_KIND, actionKey } from './messages.ts';
import type { TaskPolicy } from './policy.ts';

export interface Draft {
  state: ActionState;
  readonly letters: Letter[];
}

/** Moves the state on. */
export function become(draft: Draft, fields: Partial<ActionState>): void {
  draft.state = { ...draft.state, ...fields };
}

/** A letter to the executor of the current attempt. */
export function tellExecutor(draft: Draft, body: StartAttempt | TerminateAttempt): void {
  const { runId, name, attempt } = draft.state;
  draft.letters.push({ to: { kind: EXECUTOR_KIND, key: executorKey(runId, name, attempt) }, body });
}

/** The word a closing parent waits for. */
export function tellParent(draft: Draft): void {
  const { runId, parent, name } = draft.state;
  if (parent === null) return;
  draft.letters.push({
    to: { kind: ACTION_KIND, key: actionKey(runId, parent) },
    body: { type: 'child-ended', child: name },
  });
}

/** @throws Error, which parks the actor, when an action that is not over was loaded without its facts */
export function needed(facts: ActionFacts | undefined): ActionFacts {
  if (facts === undefined) throw new Error('an action that is not over was loaded without its facts');
  return facts;
}

/** @throws Error, which parks the actor, when the spec of a task is not in the database */
export function policyOf(facts: ActionFacts): TaskPolicy {
  if (facts.policy === undefined) throw new Error('a task action was loaded without the policy of its task');
  return facts.policy;
}
