import { dueRuns, loadRuns, saveRuns } from '../../db/runs.ts';
import type { ActorDefinition } from '../runtime/actor.ts';
import { decide } from './decide.ts';
import { RUN_KIND, type RunMessage } from './messages.ts';
import type { RunState } from './run-state.ts';

/** The actor of kind `run`. */
export const runActor: ActorDefinition<RunState, RunMessage> = {
  kind: RUN_KIND,
  load: loadRuns,
  decide: (state, mail, now) => decide(state, mail, now),
  save: saveRuns,
  due: dueRuns,
  isFinished: state => state.state === 'ended',
};
