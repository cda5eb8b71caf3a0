/**
 * Gathers the facts a decision needs, for all actions of one drain at once: what never changes comes from memory
 * (bounded), the rest costs one query each for the whole drain. Read-only, outside of any transaction.
 */

import { fromBinary } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import { liveChildrenOf, succeededActions } from '../../db/actions.ts';
import { cachedResults, reservationHolders } from '../../db/cache.ts';
import { type RunConstants, runConstants, runId } from '../../db/runs.ts';
import type { Sql } from '../../db/sql.ts';
import { RelationType } from '../../proto/gen/flyteidl2/common/run_pb.js';
import { CacheLookupScope, RunSpecSchema } from '../../proto/gen/flyteidl2/task/run_pb.js';
import { ObjectNotFound, ObjectTooLarge } from '../../storage/object-errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { Loaded } from '../runtime/actor.ts';
import type { ActionState } from './action-state.ts';
import { ActionType } from './action-type.ts';
import { CORE_SLEEP, sleepOf } from './core-sleep.ts';
import type { ActionFacts, RunFacts } from './facts.ts';
import { type ActionMessage, actionKey } from './messages.ts';
import { type TaskPolicy, taskPolicy } from './policy.ts';

type LoadedAction = Loaded<ActionState, ActionMessage>;

export type Observer = (loaded: readonly LoadedAction[], now: Date) => Promise<Map<string, ActionFacts>>;

/** The inputs of a core-sleep leaf are one duration; anything larger is none. */
const MAX_SLEEP_INPUT_BYTES = 64 * 1024;

const specs = { name: 'spec-load', text: 'select digest, body from spec where digest = any($1::text[])' };

/** @returns the observer of the action actors of one node */
export function createObserver(db: Sql, store: ObjectStore): Observer {
  const runs = new LRUCache<number, RunFacts>({ max: 5_000 });
  const policies = new LRUCache<string, TaskPolicy>({ max: 2_000 });
  const sleeps = new LRUCache<string, NonNullable<ActionFacts['sleep']>>({ max: 5_000 });

  return async (loaded, now) => {
    const open = loaded.filter(({ state }) => state.stage !== 'done');
    const fresh = open.filter(
      ({ state }) =>
        (state.stage === 'new' || state.stage === 'awaiting') && state.type === ActionType.task && state.abort === null,
    );
    await Promise.all([learnRuns(open), learnPolicies(open)]);
    const [cached, holders, recovered, asleep, children] = await Promise.all([
      lookUpCache(fresh, now),
      lookUpHolders(fresh),
      lookUpRecovered(fresh),
      readSleeps(fresh),
      readChildren(open),
    ]);
    const facts = new Map<string, ActionFacts>();
    for (const { state } of open) {
      const run = runs.get(state.runId);
      if (run === undefined) continue; // without its run row the decision throws, which parks this action alone (I8)
      const policy = policies.get(state.specDigest);
      const hit = cached.get(state.key);
      const holder = holders.get(state.key);
      const taken = recovered.get(state.key);
      const sleep = asleep.get(state.key);
      const live = children.get(state.key);
      facts.set(state.key, {
        run,
        closing: state.stage === 'closing',
        ...(policy === undefined ? {} : { policy }),
        ...(hit === undefined ? {} : { cached: hit }),
        ...(holder === undefined ? {} : { computedBy: holder }),
        ...(taken === undefined ? {} : { recovered: taken }),
        ...(sleep === undefined ? {} : { sleep }),
        ...(live === undefined ? {} : { liveChildren: live }),
      });
    }
    return facts;
  };

  async function learnRuns(actions: readonly LoadedAction[]): Promise<void> {
    const missing = [...new Set(actions.map(({ state }) => state.runId))].filter(id => !runs.has(id));
    if (missing.length === 0) return;
    for (const constants of await runConstants(db, missing)) runs.set(constants.id, await runFacts(db, constants));
  }

  async function learnPolicies(actions: readonly LoadedAction[]): Promise<void> {
    const tasks = actions.filter(({ state }) => state.type === ActionType.task);
    const missing = [...new Set(tasks.map(({ state }) => state.specDigest))].filter(digest => !policies.has(digest));
    if (missing.length === 0) return;
    const rows = await db.query<{ digest: string; body: Buffer }>(specs, [missing]);
    for (const row of rows) policies.set(row.digest, taskPolicy(row.body));
  }

  /** The results that may be used instead of running: not by actions whose run asks to overwrite them. */
  function cacheable(actions: readonly LoadedAction[]) {
    return actions.flatMap(({ state }) => {
      const run = runs.get(state.runId);
      const policy = policies.get(state.specDigest);
      if (!policy?.cacheable || state.cacheKey === null || run === undefined || run.overwriteCache) return [];
      return [{ action: state.key, scope: run.cacheScope, key: state.cacheKey, policy }];
    });
  }

  /** An entry that is too old is a miss. */
  async function lookUpCache(actions: readonly LoadedAction[], now: Date): Promise<Map<string, { outputUri: string }>> {
    const wanted = cacheable(actions);
    const hits = new Map<string, { outputUri: string }>();
    if (wanted.length === 0) return hits;
    const found = new Map((await cachedResults(db, wanted)).map(result => [`${result.scope} ${result.key}`, result]));
    for (const { action, scope, key, policy } of wanted) {
      const maxAgeMs = policy.cacheMaxAgeMs;
      const result = found.get(`${scope} ${key}`);
      if (result === undefined) continue;
      if (maxAgeMs !== null && now.getTime() - result.createdAt.getTime() > maxAgeMs) continue;
      hits.set(action, { outputUri: result.outputUri });
    }
    return hits;
  }

  async function lookUpHolders(actions: readonly LoadedAction[]): Promise<Map<string, string>> {
    const wanted = cacheable(actions).filter(({ policy }) => policy.cacheSerializable);
    const held = new Map<string, string>();
    if (wanted.length === 0) return held;
    const found = new Map(
      (await reservationHolders(db, wanted)).map(holder => [`${holder.scope} ${holder.key}`, holder]),
    );
    for (const { action, scope, key } of wanted) {
      const holder = found.get(`${scope} ${key}`);
      if (holder !== undefined && holder.owner !== action) held.set(action, holder.name);
    }
    return held;
  }

  /** The root of a recovering run always runs again: it asks for its children, which are then taken over by name (runs.md 1.18). */
  async function lookUpRecovered(
    actions: readonly LoadedAction[],
  ): Promise<Map<string, NonNullable<ActionFacts['recovered']>>> {
    const wanted = actions.flatMap(({ state }) => {
      const recover = runs.get(state.runId)?.recover;
      if (recover === undefined || recover === null || state.parent === null || recover.force.has(state.name))
        return [];
      return [{ action: state.key, source: actionKey(recover.runId, state.name), run: recover.run }];
    });
    const taken = new Map<string, NonNullable<ActionFacts['recovered']>>();
    if (wanted.length === 0) return taken;
    const found = await succeededActions(
      db,
      wanted.map(entry => entry.source),
    );
    for (const { action, source, run } of wanted) {
      if (found.has(source)) taken.set(action, { outputUri: found.get(source) ?? null, run });
    }
    return taken;
  }

  async function readSleeps(actions: readonly LoadedAction[]): Promise<Map<string, NonNullable<ActionFacts['sleep']>>> {
    const leaves = actions.filter(({ state }) => state.taskType === CORE_SLEEP);
    const entries = leaves.map(async ({ state }) => [state.key, await readSleep(state.inputUri)] as const);
    return new Map(await Promise.all(entries));
  }

  /** Inputs never change under their URI, so leaves that share them are read once. */
  async function readSleep(inputUri: string): Promise<NonNullable<ActionFacts['sleep']>> {
    const known = sleeps.get(inputUri);
    if (known !== undefined) return known;
    let sleep: NonNullable<ActionFacts['sleep']>;
    try {
      sleep = sleepOf(await store.read(inputUri, { maxBytes: MAX_SLEEP_INPUT_BYTES }));
    } catch (error) {
      if (!(error instanceof ObjectNotFound) && !(error instanceof ObjectTooLarge)) throw error;
      const message = `core-sleep cannot run: its inputs at ${inputUri} cannot be read (${error.message})`;
      return { failure: { code: 'InputsMissing', kind: 'USER', message, recoverable: false } };
    }
    sleeps.set(inputUri, sleep);
    return sleep;
  }

  /** Read for actions that are ending, or may be by this mail. */
  async function readChildren(actions: readonly LoadedAction[]): Promise<Map<string, readonly string[]>> {
    const ending = actions.filter(
      ({ state, mail }) =>
        state.hasChildren &&
        (state.stage === 'closing' || state.stage === 'stopping' || state.abort !== null || mail.some(isAbort)),
    );
    if (ending.length === 0) return new Map();
    return liveChildrenOf(
      db,
      ending.map(({ state }) => state.key),
    );
  }
}

function isAbort(message: ActionMessage): boolean {
  return message.type === 'abort';
}

async function runFacts(db: Sql, constants: RunConstants): Promise<RunFacts> {
  const spec = fromBinary(RunSpecSchema, constants.spec);
  const { id, project, domain, name, outputBase, rawDataPrefix, startTime } = constants;
  const perProject = spec.cacheConfig?.cacheLookupScope === CacheLookupScope.PROJECT_DOMAIN;
  return {
    id,
    project,
    domain,
    name,
    outputBase,
    rawDataPrefix,
    startedAtMs: startTime.getTime(),
    overwriteCache: spec.overwriteCache || (spec.cacheConfig?.overwriteCache ?? false),
    cacheScope: perProject ? `${project}/${domain}` : 'global',
    recover: await recoverFacts(db, spec, constants),
  };
}

/** A source run that does not exist (any more) has nothing to take over: everything runs. */
async function recoverFacts(
  db: Sql,
  spec: ReturnType<typeof decodeRunSpec>,
  { project, domain }: RunConstants,
): Promise<RunFacts['recover']> {
  const source = spec.relation?.relatedTo;
  if (spec.relation?.relationType !== RelationType.RECOVER || source === undefined) return null;
  const id = await runId(db, { project, domain, run: source.name });
  return id === null ? null : { runId: id, run: source.name, force: new Set(spec.recover?.forceRerunActions ?? []) };
}

function decodeRunSpec(bytes: Uint8Array) {
  return fromBinary(RunSpecSchema, bytes);
}
