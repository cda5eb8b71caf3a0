import { setTimeout as delay } from 'node:timers/promises';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { DatabasePool } from 'slonik';
import type { AttemptEvent } from '../../actors/action/attempt.ts';
import { isTerminal } from '../../actors/action/phase.ts';
import type { ActionPath } from '../../actors/run/commands.ts';
import type { Condition, Page } from '../../db/list-query.ts';
import { listRuns, type RunRow, type RunWithRoot, runListColumns, runSequence, runsById } from '../../db/run-reads.ts';
import { groupsOfRuns, type TaskGroupScope, taskGroups } from '../../db/task-groups.ts';
import type { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { clusterEvent } from '../action-attempts.ts';
import { actionDetails } from '../action-details.ts';
import type { ActionDetail, ActionReader } from '../action-reader.ts';
import { attemptOf } from '../attempt-choice.ts';
import { invalidArgument } from '../errors.ts';
import { actionPath, projectDomain, ROOT_ACTION, runPath } from '../identifiers.ts';
import { runScope } from '../list/run-scope.ts';
import type { RunDirectory } from '../run-directory.ts';
import { runDetails, runMessage } from '../run-message.ts';
import { taskGroup } from '../task-group.ts';
import type { Handlers } from '../transport/handler.ts';
import { watchAction } from '../watch/action-watch.ts';
import type { ChangeFeed } from '../watch/change-feed.ts';
import { ChangedRuns } from '../watch/changed-runs.ts';
import { patiently } from '../watch/patience.ts';
import type { RunTrees } from '../watch/run-trees.ts';
import { treeFilter } from '../watch/tree-filter.ts';

export interface RunWatchDeps {
  readonly db: DatabasePool;
  readonly changes: ChangeFeed;
  readonly trees: RunTrees;
  readonly directory: RunDirectory;
  readonly actions: ActionReader;
}

const RUNS_PER_MESSAGE = 100;
/** Groups are counted over many runs: not more often than people can look. */
const GROUPS_PAUSE_MS = 1_000;

type Watches = Pick<
  Handlers<typeof RunService>,
  'watchActionDetails' | 'watchRunDetails' | 'watchRuns' | 'watchActions' | 'watchGroups' | 'watchClusterEvents'
>;

/**
 * The streams of RunService. Each subscribes to the change log, then reads, then follows: the first message comes at once, every
 * final state is seen, and what a slow reader misses are states in between (I7).
 */
export function runWatches({ db, changes, trees, directory, actions }: RunWatchDeps): Watches {
  /** The action at the beginning and after each change; the last one is final. */
  async function* follow(path: ActionPath, run: RunRow, signal: AbortSignal): AsyncGenerator<ActionDetail> {
    for await (const _ of watchAction(changes, run.id, path.action, signal)) {
      const action = await patiently(() => actions.get(path), signal);
      yield action;
      if (isTerminal(action.phase)) return;
    }
  }

  async function* allRuns(conditions: readonly Condition[], signal: AbortSignal) {
    const sort = [
      { column: runListColumns.created_at, descending: true },
      { column: runSequence, descending: true },
    ];
    let cursor: readonly string[] | null = null;
    do {
      const request = { conditions, sort, cursor, limit: RUNS_PER_MESSAGE };
      const page: Page<RunWithRoot> = await patiently(() => listRuns(db, request), signal);
      yield page.rows;
      cursor = page.next;
    } while (cursor !== null && !signal.aborted);
  }

  async function* someRuns(ids: readonly number[], conditions: readonly Condition[], signal: AbortSignal) {
    yield await patiently(() => runsById(db, ids, conditions), signal);
  }

  return {
    async *watchActionDetails(request, context) {
      const path = actionPath(request.actionId);
      const run = await patiently(() => directory.get(path), context.signal);
      for await (const action of follow(path, run, context.signal)) {
        yield { details: actionDetails(action, run, request.actionId?.run?.org) };
      }
    },

    async *watchRunDetails(request, context) {
      const path = runPath(request.runId);
      const run = await patiently(() => directory.get(path), context.signal);
      for await (const root of follow({ ...path, action: ROOT_ACTION }, run, context.signal)) {
        yield { details: runDetails(run, root, request.runId?.org) };
      }
    },

    /** What happened to the pod of an attempt, each thing once, until the attempt or its action is over. */
    async *watchClusterEvents(request, context) {
      const path = actionPath(request.id, 'id');
      const run = await patiently(() => directory.get(path), context.signal);
      let last: AttemptEvent | undefined;
      for await (const action of follow(path, run, context.signal)) {
        if (action.attempts.length < Math.max(1, request.attempt)) continue;
        const attempt = attemptOf(action, request.attempt, path);
        const fresh = eventsAfter(attempt.events ?? [], last);
        if (fresh.length > 0) yield { clusterEvents: fresh.map(clusterEvent) };
        last = fresh.at(-1) ?? last;
        if (attempt.endedAt !== undefined) return;
      }
    },

    /** Every run in scope, newest first, then each that is made or changes. */
    async *watchRuns(request, context) {
      const conditions = runScope(request.target);
      const changed = new ChangedRuns(changes);
      try {
        let ids: readonly number[] | 'all' | null = 'all';
        for (; ids !== null; ids = await changed.next(context.signal)) {
          const pages = ids === 'all' ? allRuns(conditions, context.signal) : someRuns(ids, conditions, context.signal);
          for await (const runs of pages) if (runs.length > 0) yield { runs: runs.map(runMessage) };
        }
      } finally {
        changed.close();
      }
    },

    async *watchActions(request, context) {
      const filter = treeFilter(request.filter);
      const path = runPath(request.runId);
      const view = trees.open(await patiently(() => directory.get(path), context.signal), filter);
      try {
        yield* view.viewer.messages(context.signal);
      } finally {
        view.close();
      }
    },

    /** All groups and the sentinel, then those whose runs changed. A span with an end does not change (runs.md 1.17). */
    async *watchGroups(request, context) {
      const { startDate, endDate } = request;
      if (startDate === undefined) throw invalidArgument('start_date', undefined, 'must say from when on runs count');
      const scope: TaskGroupScope = {
        project: request.scopeBy.case === 'projectId' ? projectDomain(request.scopeBy.value) : null,
        from: timestampDate(startDate),
        until: endDate === undefined ? null : timestampDate(endDate),
      };
      const changed = new ChangedRuns(changes);
      try {
        const all = await patiently(() => taskGroups(db, scope, null), context.signal);
        yield { taskGroups: all.map(taskGroup), sentinel: true };
        if (scope.until !== null) return;
        for (let ids = await changed.next(context.signal); ids !== null; ids = await changed.next(context.signal)) {
          const runIds = ids;
          const read = async () => taskGroups(db, scope, runIds === 'all' ? null : await groupsOfRuns(db, runIds));
          const groups = await patiently(read, context.signal);
          if (groups.length > 0) yield { taskGroups: groups.map(taskGroup) };
          await delay(GROUPS_PAUSE_MS, undefined, { signal: context.signal }).catch(() => undefined);
        }
      } finally {
        changed.close();
      }
    },
  };
}

/** The events behind the last one sent. Only so many are kept: when it is gone itself, those that are younger. */
function eventsAfter(events: readonly AttemptEvent[], last: AttemptEvent | undefined): readonly AttemptEvent[] {
  if (last === undefined) return events;
  const index = events.findLastIndex(event => event.at === last.at && event.message === last.message);
  return index >= 0 ? events.slice(index + 1) : events.filter(event => event.at > last.at);
}
