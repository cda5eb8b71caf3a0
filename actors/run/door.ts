/**
 * The doors of the engine (commands.ts) over Postgres. A door validates what only the database knows, writes rows and
 * letters in one transaction and leaves the rest to the actors; if this process dies after the commit, their wake_at is
 * in the database and any node goes on.
 */

import { fromBinary } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import { glanceAtAction, signalCondition } from '../../db/enqueue.ts';
import { runId } from '../../db/runs.ts';
import type { Sql } from '../../db/sql.ts';
import { LiteralSchema } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import { ConditionActionSchema } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import type { ObjectStore } from '../../storage/object-store.ts';
import { ActionType } from '../action/action-type.ts';
import { type AbortAction, ACTION_KIND, actionKey } from '../action/messages.ts';
import { isTerminal } from '../action/phase.ts';
import type { Mail } from '../runtime/mail.ts';
import type { ActionPath, RunDoor, RunPath, SignalResult } from './commands.ts';
import { declaredType, kindOfLiteral } from './condition-type.ts';
import { createCreator } from './creator.ts';
import { createEnqueuer } from './enqueuer.ts';
import { createSpecStore } from './known-specs.ts';
import { type AbortRun, ROOT_ACTION, RUN_KIND, runKey } from './messages.ts';

export interface DoorDeps {
  readonly mail: Mail;
  /** Reads outside of a transaction. */
  readonly sql: Sql;
  readonly store: ObjectStore;
  /** Draws a run name; a taken one is drawn again. */
  readonly newRunName: () => string;
  readonly now: () => Date;
}

/** @returns the doors of one node; safe to use from any number of requests at once */
export function createRunDoor({ mail, sql, store, newRunName, now }: DoorDeps): RunDoor {
  const ids = new LRUCache<string, number>({ max: 10_000 });

  /** Ids never change, so only their absence is asked again. */
  async function idOf(path: RunPath): Promise<number | null> {
    const name = `${path.project}/${path.domain}/${path.run}`;
    const known = ids.get(name);
    if (known !== undefined) return known;
    const id = await runId(sql, path);
    if (id !== null) ids.set(name, id);
    return id;
  }

  const specs = createSpecStore();
  const createRun = createCreator({ mail, specs, now, newRunName });
  const enqueue = createEnqueuer({ mail, specs, store, now, idOf });

  return {
    enqueue,

    createRun,

    async abortRun(path, request) {
      const id = await idOf(path);
      if (id === null) return 'unknown';
      const root = await glanceAtAction(sql, id, ROOT_ACTION);
      if (root === null) return 'unknown';
      if (isTerminal(root.phase)) return 'over';
      const body: AbortRun = { type: 'abort', ...request };
      await mail.commit(async (_tx, outbox) => outbox.letter({ to: { kind: RUN_KIND, key: runKey(id) }, body }));
      return 'accepted';
    },

    async abortAction(path, request) {
      const id = await idOf(path);
      const action = id === null ? null : await glanceAtAction(sql, id, path.action);
      if (id === null || action === null) return 'unknown';
      if (isTerminal(action.phase)) return 'over';
      const body: AbortAction = { type: 'abort', ...request, notifyParent: false };
      await mail.commit(async (_tx, outbox) =>
        outbox.letter({ to: { kind: ACTION_KIND, key: actionKey(id, path.action) }, body }),
      );
      return 'accepted';
    },

    async signal(path, value, by) {
      const id = await idOf(path);
      if (id === null) return { kind: 'unknown' };
      const refusal = await refuseSignal(id, path, value);
      if (refusal !== null) return refusal;
      const written = await mail.commit(async (tx, outbox) => {
        if (!(await signalCondition(tx, id, path.action, value, by))) return false;
        outbox.wake({ kind: ACTION_KIND, key: actionKey(id, path.action) });
        return true;
      });
      // Somebody was faster between the look and the write: what is there now decides.
      return written ? { kind: 'accepted' } : ((await refuseSignal(id, path, value)) ?? { kind: 'over' });
    },
  };

  /** The checks of runs.md 2.4 in their order; null when the signal may be written. */
  async function refuseSignal(id: number, path: ActionPath, value: Uint8Array): Promise<SignalResult | null> {
    const action = await glanceAtAction(sql, id, path.action);
    if (action === null) return { kind: 'unknown' };
    if (action.type !== ActionType.condition || action.spec === null) return { kind: 'not-a-condition' };
    if (action.value !== null) return { kind: Buffer.compare(action.value, value) === 0 ? 'repeated' : 'other-value' };
    if (isTerminal(action.phase)) return { kind: 'over' };
    const declared = declaredType(fromBinary(ConditionActionSchema, action.spec));
    return declared === kindOfLiteral(fromBinary(LiteralSchema, value)) ? null : { kind: 'wrong-type', declared };
  }
}
