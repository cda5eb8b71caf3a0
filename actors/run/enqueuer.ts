/** Enqueue: children come into being many in one transaction (batcher.ts), under parents that cannot end meanwhile. */
import { LRUCache } from 'lru-cache';
import {
  insertActions,
  lockedParents,
  markParents,
  type NewAction,
  type ParentRow,
  specDigest,
} from '../../db/enqueue.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { ActionType } from '../action/action-type.ts';
import type { Failure } from '../action/failure.ts';
import { ACTION_KIND, actionKey } from '../action/messages.ts';
import { isTerminal, Phase } from '../action/phase.ts';
import { readErrorDocument } from '../executor/error-document.ts';
import type { Mail } from '../runtime/mail.ts';
import { createBatcher } from './batcher.ts';
import type { EnqueueAction, EnqueueResult, RunPath } from './commands.ts';
import type { SpecStore } from './known-specs.ts';
import { describeTask } from './task-facts.ts';

export interface EnqueuerDeps {
  readonly mail: Mail;
  readonly specs: SpecStore;
  readonly store: ObjectStore;
  readonly now: () => Date;
  /** The id of a run, or null when there is none. */
  readonly idOf: (path: RunPath) => Promise<number | null>;
}

const MAX_ERROR_BYTES = 1024 * 1024;

interface Pending {
  readonly action: NewAction;
  readonly spec: Uint8Array;
}

/** @returns the function behind RunDoor.enqueue */
export function createEnqueuer({
  mail,
  specs,
  store,
  now,
  idOf,
}: EnqueuerDeps): (command: EnqueueAction) => Promise<EnqueueResult> {
  const submit = createBatcher<Pending, EnqueueResult>(write);
  /** Parents that are marked as such in a committed transaction. */
  const knownParents = new LRUCache<string, true>({ max: 10_000 });

  return async command => {
    const runId = await idOf(command.path);
    if (runId === null) return { kind: 'run-unknown' };
    return submit(await newAction(command, runId));
  };

  async function write(batch: readonly Pending[]): Promise<EnqueueResult[]> {
    const results = await mail.commit(async (tx, outbox) => {
      const named = distinctParents(batch);
      const fresh = named.filter(({ runId, name }) => !knownParents.has(actionKey(runId, name)));
      if (fresh.length > 0) await markParents(tx, fresh);
      const parents = await lockedParents(tx, named);
      const parentOf = new Map(parents.map(parent => [actionKey(parent.run_id, parent.name), parent]));
      const refusals = batch.map(({ action }) => refuse(parentOf.get(actionKey(action.runId, action.parent!))));
      const accepted = batch.filter((_, index) => refusals[index] === null);
      await specs.store(tx, new Map(accepted.map(({ action, spec }) => [action.specDigest, spec])));
      const rows = accepted.map(({ action }) => {
        const parent = parentOf.get(actionKey(action.runId, action.parent!))!;
        return { ...action, depth: parent.depth + 1 };
      });
      const inserted = await insertActions(tx, distinct(rows));
      for (const { runId, name, stage } of rows) {
        if (!inserted.has(actionKey(runId, name))) continue;
        outbox.change({ topic: String(runId), subject: name });
        if (stage === 'new') outbox.wake({ kind: ACTION_KIND, key: actionKey(runId, name) });
      }
      const claimed = new Set<string>();
      return batch.map(({ action }, index): EnqueueResult => {
        const key = actionKey(action.runId, action.name);
        const refusal = refusals[index];
        if (refusal) return refusal;
        const first = inserted.has(key) && !claimed.has(key);
        claimed.add(key);
        return { kind: first ? 'accepted' : 'existed' };
      });
    });
    const accepted = batch.filter((_, index) => results[index]!.kind === 'accepted');
    for (const { action } of accepted) knownParents.set(actionKey(action.runId, action.parent!), true);
    specs.committed(accepted.map(({ action }) => action.specDigest));
    return results;
  }

  async function newAction(command: EnqueueAction, runId: number): Promise<{ action: NewAction; spec: Uint8Array }> {
    const { path, spec } = command;
    const common = {
      runId,
      name: path.action,
      parent: command.parent,
      depth: 0, // set from the parent's row inside the transaction
      group: command.group,
      inputUri: command.inputUri,
    };
    switch (spec.kind) {
      case 'task': {
        const digest = specDigest(spec.taskSpec);
        const action: NewAction = {
          ...common,
          ...describeTask(spec.taskSpec, spec.task.name, digest),
          type: ActionType.task,
          stage: 'new',
          phase: Phase.queued,
          specDigest: digest,
          task: spec.task,
          cacheKey: spec.cacheKey,
          outputUri: null,
          failure: null,
          machine: {},
          createdAt: now(),
          endedAt: null,
        };
        return { action, spec: spec.taskSpec };
      }
      case 'trace': {
        const failed = spec.phase === Phase.failed;
        const action: NewAction = {
          ...common,
          ...displayed(spec.name),
          type: ActionType.trace,
          stage: 'done',
          phase: failed ? Phase.failed : Phase.succeeded,
          specDigest: specDigest(spec.traceSpec),
          task: null,
          cacheKey: null,
          outputUri: spec.outputUri === '' ? null : spec.outputUri,
          failure: failed ? await traceFailure(command.inputUri) : null,
          machine: {},
          createdAt: spec.startedAt,
          endedAt: spec.endedAt ?? now(),
        };
        return { action, spec: spec.traceSpec };
      }
      case 'condition': {
        const createdAt = now();
        const { timeoutMs } = spec;
        const action: NewAction = {
          ...common,
          ...displayed(spec.name),
          type: ActionType.condition,
          stage: 'new',
          phase: Phase.queued,
          specDigest: specDigest(spec.condition),
          task: null,
          cacheKey: null,
          outputUri: null,
          failure: null,
          machine: timeoutMs === null ? {} : { giveUpAt: createdAt.getTime() + timeoutMs },
          createdAt,
          endedAt: null,
        };
        return { action, spec: spec.condition };
      }
    }
  }

  /**
   * The SDK writes the error of a failed trace beside its inputs (`…/<trace>/error.pb`), and only if the traced function
   * has outputs; the message says so when there is none.
   */
  async function traceFailure(inputUri: string): Promise<Failure> {
    const uri = inputUri.replace(/[^/]*$/, 'error.pb');
    try {
      return readErrorDocument(await store.read(uri, { maxBytes: MAX_ERROR_BYTES }), uri, true);
    } catch {
      // Missing or unreadable: the trace failed all the same, and that is what counts for its parent.
    }
    return {
      code: 'TraceFailed',
      kind: 'USER',
      message: 'the traced function failed; it left no error document',
      recoverable: false,
    };
  }
}

function distinctParents(batch: readonly Pending[]): { runId: number; name: string }[] {
  const parents = new Map(
    batch.map(({ action }) => [actionKey(action.runId, action.parent!), { runId: action.runId, name: action.parent! }]),
  );
  return [...parents.values()];
}

/** The first of each key: one statement must not insert the same action twice. */
function distinct(rows: readonly NewAction[]): NewAction[] {
  const first = new Map<string, NewAction>();
  for (const row of rows) {
    const key = actionKey(row.runId, row.name);
    if (!first.has(key)) first.set(key, row);
  }
  return [...first.values()];
}

/** null = the child may be enqueued. The parent's row is locked, so this stays true until the commit. */
function refuse(parent: ParentRow | undefined): EnqueueResult | null {
  if (parent === undefined) return { kind: 'parent-unknown' };
  if (parent.run_state !== 'live') {
    const why = parent.run_state === 'aborting' ? `is being aborted: ${parent.run_abort_reason ?? ''}` : 'is over';
    return { kind: 'parent-over', reason: `the run ${why}` };
  }
  if (isTerminal(parent.phase)) return { kind: 'parent-over', reason: `parent action ${parent.name} is over` };
  if (parent.stage === 'stopping' || parent.stage === 'closing') {
    return { kind: 'parent-over', reason: `parent action ${parent.name} is ending` };
  }
  return null;
}

function displayed(name: string) {
  return { taskType: '', shortName: name, environment: '', functionName: name };
}
