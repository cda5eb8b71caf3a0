import { dueActions, loadActions, saveActions } from '../../db/actions.ts';
import type { ActorDefinition } from '../runtime/actor.ts';
import type { ActionState } from './action-state.ts';
import { type ActionSettings, decide } from './decide.ts';
import type { ActionFacts } from './facts.ts';
import { ACTION_KIND, type ActionMessage } from './messages.ts';
import type { Observer } from './observe.ts';

/** The actor of kind `action`; `observe` gathers what its decisions depend on (see observe.ts). */
export function actionActor(
  observe: Observer,
  settings: ActionSettings,
): ActorDefinition<ActionState, ActionMessage, never, ActionFacts> {
  return {
    kind: ACTION_KIND,
    load: loadActions,
    observe,
    decide: (state, mail, now, facts) => decide(state, mail, now, facts, settings),
    save: saveActions,
    due: dueActions,
    isFinished: state => state.stage === 'done',
  };
}
