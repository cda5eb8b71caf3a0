/** The letters an action actor (kind `action`, key `<run id>.<name>`) receives, and those it sends to other actions. */
import type { ExecutorReport } from '../executor/messages.ts';
import type { IdentityJson } from '../run/identity.ts';

export const ACTION_KIND = 'action';

/** Somebody wants the action to end: its caller, its run, or its parent that is over. Repeating it changes nothing. */
export interface AbortAction {
  readonly type: 'abort';
  readonly reason: string;
  readonly by: IdentityJson | null;
  /** Tell the parent when this action is over: asked by a parent that cannot end before its children (I6). */
  readonly notifyParent: boolean;
}

/** A child that its closing parent waited for is over. Only a doorbell: the parent counts its live children itself. */
export interface ChildEnded {
  readonly type: 'child-ended';
  readonly child: string;
}

export type ActionMessage = AbortAction | ChildEnded | ExecutorReport;

/** Key of an action actor. */
export function actionKey(runId: number, name: string): string {
  return `${runId}.${name}`;
}

/**
 * The parts of an action key.
 * @throws RangeError when it is no such key
 */
export function parseActionKey(key: string): { runId: number; name: string } {
  const dot = key.indexOf('.');
  const runId = Number(key.slice(0, dot));
  if (dot < 1 || !Number.isSafeInteger(runId))
    throw new RangeError(`'${key}' is no action key: expected <run id>.<name>`);
  return { runId, name: key.slice(dot + 1) };
}
