import { toJson } from '@bufbuild/protobuf';
import type { RunDoor } from '../../actors/run/commands.ts';
import type { IdentityJson } from '../../actors/run/identity.ts';
import { watchedRun } from '../../db/action-updates.ts';
import type { Sql } from '../../db/sql.ts';
import { ActionsService } from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { type EnrichedIdentity, EnrichedIdentitySchema } from '../../proto/gen/flyteidl2/common/identity_pb.js';
import { actionUpdates } from '../action-update.ts';
import type { IdentifyCaller } from '../caller.ts';
import { enqueueCommand } from '../enqueue-command.ts';
import { aborted, alreadyExists, invalidArgument, notFound } from '../errors.ts';
import { actionPath, nameOfAction, nameOfRun } from '../identifiers.ts';
import { signalCondition } from '../signal.ts';
import { implement, type ServiceImplementation } from '../transport/handler.ts';
import type { ChildWatches } from '../watch/child-watches.ts';
import { patiently } from '../watch/patience.ts';

export interface ActionsServiceDeps {
  readonly door: RunDoor;
  /** Prepared statements: this service is the hot path. */
  readonly sql: Sql;
  readonly watches: ChildWatches;
  readonly identifyCaller: IdentifyCaller;
}

const DEFAULT_ABORT_REASON = 'its parent no longer needs it';

/**
 * What a running task asks of the engine: children, and to follow them (sdk.md §5.6, runs.md 2.3–2.5). `Update` has no caller in
 * any client and stays unimplemented: the state of an action is the engine's.
 */
export function actionsService({ door, sql, watches, identifyCaller }: ActionsServiceDeps): ServiceImplementation {
  return implement(ActionsService, {
    async enqueue(request) {
      const command = enqueueCommand(request.action);
      const result = await door.enqueue(command);
      switch (result.kind) {
        case 'accepted':
          return {};
        case 'existed':
          // The SDK takes this as success and follows the watch.
          throw alreadyExists('action', nameOfAction(command.path));
        case 'run-unknown':
          throw notFound('run', nameOfRun(command.path));
        case 'parent-unknown':
          throw notFound('parent action', nameOfAction({ ...command.path, action: command.parent }));
        case 'parent-over':
          throw aborted(`action ${nameOfAction(command.path)} is not started: ${result.reason}`);
      }
    },

    /**
     * All children, the sentinel, then what changes, until the caller leaves. Ends neither by itself nor ever with `canceled`,
     * which the SDK takes as "stop for good".
     */
    async *watchForUpdates(request, context) {
      const path = actionPath(request.filter.value, 'parent_action_id');
      const { signal } = context;
      const run = await patiently(() => watchedRun(sql, path), signal);
      if (run === null) throw notFound('run', nameOfRun(path));
      const update = actionUpdates(path, run.output_base);
      const watch = watches.open(run.id, path.action);
      try {
        for await (const page of watch.snapshot(signal)) {
          for (const row of page) yield { message: { case: 'actionUpdate', value: update(row) } };
          if (signal.aborted) return;
        }
        yield { message: { case: 'controlMessage', value: { sentinel: true } } };
        while (!signal.aborted) {
          for (const row of await watch.next(signal)) yield { message: { case: 'actionUpdate', value: update(row) } };
        }
      } finally {
        watch.close();
      }
    },

    /** Idempotent and cheap: a parent that leaves a map early sends one for each of its children (sdk-2.12.md #27). */
    async abort(request, context) {
      const path = actionPath(request.actionId);
      const by = request.abortedBy === undefined ? identifyCaller(context) : identityJson(request.abortedBy);
      const result = await door.abortAction(path, { reason: request.reason || DEFAULT_ABORT_REASON, by });
      if (result === 'unknown') throw notFound('action', nameOfAction(path));
      return {};
    },

    async signal(request, context) {
      const path = actionPath(request.actionId);
      if (request.value === undefined) throw invalidArgument('value', undefined, 'must hold the answer');
      const by = request.signalledBy === undefined ? identifyCaller(context) : identityJson(request.signalledBy);
      await signalCondition(door, path, request.value, by);
      return {};
    },
  });
}

function identityJson(identity: EnrichedIdentity): IdentityJson {
  return toJson(EnrichedIdentitySchema, identity) as unknown as IdentityJson;
}
