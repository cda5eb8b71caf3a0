import type { DatabasePool } from 'slonik';
import type { RunDoor } from '../../actors/run/commands.ts';
import { listActions } from '../../db/action-reads.ts';
import { hasPausedAction, listRuns } from '../../db/run-reads.ts';
import { findTask } from '../../db/tasks.ts';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import type { ObjectStore } from '../../storage/object-store.ts';
import { attemptLogContext } from '../action-attempts.ts';
import { actionDataUris, readActionData } from '../action-data.ts';
import { actionDetails } from '../action-details.ts';
import { actionMessage } from '../action-metadata.ts';
import { attemptOf } from '../attempt-choice.ts';
import type { IdentifyCaller } from '../caller.ts';
import { alreadyExists, notFound } from '../errors.ts';
import { actionPath, nameOfAction, nameOfRun, ROOT_ACTION, runPath } from '../identifiers.ts';
import { conditionsOf } from '../list/filters.ts';
import { decodeToken, encodeToken, limitOf } from '../list/paging.ts';
import { actionFields, runFields } from '../list/run-fields.ts';
import { runScope } from '../list/run-scope.ts';
import { sortingOf } from '../list/sorting.ts';
import { runCommand } from '../run-command.ts';
import { runDetails, runMessage } from '../run-message.ts';
import { literalOf, signalCondition } from '../signal.ts';
import type { StoragePlaces } from '../storage-places.ts';
import { implement, type ServiceImplementation } from '../transport/handler.ts';
import { type RunWatchDeps, runWatches } from './run-watches.ts';

export interface RunServiceDeps extends RunWatchDeps {
  readonly db: DatabasePool;
  readonly door: RunDoor;
  readonly store: ObjectStore;
  readonly places: StoragePlaces;
  readonly identifyCaller: IdentifyCaller;
  readonly now: () => Date;
}

const DEFAULT_ABORT_REASON = 'User requested abort';

/** Runs and their actions as clients see them (runs.md 1, sdk.md §3). */
export function runService(deps: RunServiceDeps): ServiceImplementation {
  const { db, directory, actions, door, store, identifyCaller } = deps;
  const commands = {
    ...deps,
    findTaskSpec: async (path: Parameters<typeof findTask>[1]) => (await findTask(db, path))?.spec ?? null,
  };

  return implement(RunService, {
    ...runWatches(deps),

    async createRun(request, context) {
      const command = await runCommand(commands, request, identifyCaller(context));
      const result = await door.createRun(command);
      if (result.kind === 'name-taken') throw alreadyExists('run', nameOfRun(command.path));
      const run = await directory.withRoot(result.runId);
      if (run === null) throw notFound('run', nameOfRun({ ...command.path, run: result.name }));
      return { run: runMessage(run) };
    },

    /** Idempotent: a run that is over stays as it is. A reason that is given but empty is kept (runs.md 1.3). */
    async abortRun(request, context) {
      const path = runPath(request.runId);
      const reason = request.reason ?? DEFAULT_ABORT_REASON;
      const result = await door.abortRun(path, { reason, by: identifyCaller(context) });
      if (result === 'unknown') throw notFound('run', nameOfRun(path));
      return {};
    },

    async abortAction(request, context) {
      const path = actionPath(request.actionId);
      const reason = request.reason || DEFAULT_ABORT_REASON;
      const result = await door.abortAction(path, { reason, by: identifyCaller(context) });
      if (result === 'unknown') throw notFound('action', nameOfAction(path));
      return {};
    },

    async signalEvent(request, context) {
      await signalCondition(door, actionPath(request.actionId), literalOf(request.payload), identifyCaller(context));
      return {};
    },

    async getRunDetails(request) {
      const path = runPath(request.runId);
      const run = await directory.get(path);
      const root = await actions.get({ ...path, action: ROOT_ACTION });
      return { details: runDetails(run, root, request.runId?.org) };
    },

    async getActionDetails(request) {
      const path = actionPath(request.actionId);
      const action = await actions.get(path);
      return { details: actionDetails(action, await directory.get(path), request.actionId?.run?.org) };
    },

    async listRuns(request) {
      const sorting = sortingOf(request.request, runFields, {
        fallback: [{ key: 'created_at', descending: true }],
        ties: ['run'],
      });
      const page = await listRuns(db, {
        conditions: [
          ...runScope(request.scopeBy),
          ...(request.pausedActionsOnly ? [hasPausedAction] : []),
          ...conditionsOf(request.request?.filters ?? [], runFields),
        ],
        sort: sorting.keys,
        cursor: decodeToken(sorting, request.request?.token ?? ''),
        limit: limitOf(request.request),
      });
      return { runs: page.rows.map(runMessage), token: encodeToken(sorting, page.next) };
    },

    /** A run that does not exist has no actions (runs.md 1.10). */
    async listActions(request) {
      const path = runPath(request.runId);
      const sorting = sortingOf(request.request, actionFields, {
        fallback: [{ key: 'sequence', descending: false }],
        ties: ['sequence'],
      });
      const conditions = conditionsOf(request.request?.filters ?? [], actionFields);
      const cursor = decodeToken(sorting, request.request?.token ?? '');
      const run = await directory.find(path);
      if (run === null) return {};
      const limit = limitOf(request.request);
      const page = await listActions(db, run.id, { conditions, sort: sorting.keys, cursor, limit });
      return {
        actions: page.rows.map(action => actionMessage(action, run)),
        token: encodeToken(sorting, page.next),
      };
    },

    async getActionDataURIs(request) {
      const { inputsUri, outputsUri } = actionDataUris(await actions.get(actionPath(request.actionId)));
      return { inputsUri, outputsUri };
    },

    async getActionData(request) {
      const { inputs, outputs } = await readActionData(store, await actions.get(actionPath(request.actionId)));
      return { inputs, outputs };
    },

    async getActionLogContext(request) {
      const path = actionPath(request.actionId);
      const attempt = attemptOf(await actions.get(path), request.attempt, path);
      const logContext = attemptLogContext(attempt);
      if (logContext === undefined)
        throw notFound('log of action', `${nameOfAction(path)}, attempt ${attempt.attempt}`);
      return { logContext };
    },
  });
}
