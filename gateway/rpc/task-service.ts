import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { DatabasePool } from 'slonik';
import type { Condition } from '../../db/list-query.ts';
import {
  countTasks,
  entrypointIs,
  findTask,
  type LatestRun,
  latestRuns,
  listTasks,
  newestVersion,
  putTask,
  type TaskRow,
  taskListColumns,
} from '../../db/tasks.ts';
import { Filter_Function as Fn, type ListRequest } from '../../proto/gen/flyteidl2/common/list_pb.js';
import { type ListTasksRequest, TaskService } from '../../proto/gen/flyteidl2/task/task_service_pb.js';
import { enrichedIdentity, type IdentifyCaller } from '../caller.ts';
import { alreadyExists, invalidArgument, notFound, unimplemented } from '../errors.ts';
import { projectDomain, scope, type TaskPath, taskPath, text } from '../identifiers.ts';
import { conditionsOf } from '../list/filters.ts';
import { decodeToken, encodeToken, limitOf } from '../list/paging.ts';
import { sortingOf } from '../list/sorting.ts';
import { taskFields, versionFields } from '../list/task-fields.ts';
import { newTask } from '../new-task.ts';
import type { RunDirectory } from '../run-directory.ts';
import { latestRunSummary, taskDetails, taskMessage } from '../task-message.ts';
import { implement, type ServiceImplementation } from '../transport/handler.ts';

export interface TaskServiceDeps {
  readonly db: DatabasePool;
  readonly directory: RunDirectory;
  readonly identifyCaller: IdentifyCaller;
}

const newestFirst = [{ key: 'created_at', descending: true }];

/** Deployed tasks (services.md §8). */
export function taskService({ db, directory, identifyCaller }: TaskServiceDeps): ServiceImplementation {
  async function latestOf(tasks: readonly TaskRow[]): Promise<(task: TaskRow) => LatestRun | undefined> {
    const scopes = new Map(tasks.map(({ project, domain }) => [`${project}/${domain}`, { project, domain }]));
    const runs = scopes.size === 0 ? [] : await latestRuns(db, [...scopes.values()]);
    const byTask = new Map(runs.map(run => [`${run.project}/${run.domain}/${run.taskName}`, run]));
    return task => byTask.get(`${task.project}/${task.domain}/${task.name}`);
  }

  return implement(TaskService, {
    /** The same spec again is `already_exists`, which clients show as "unchanged"; another one replaces it (sdk.md §0 row 20). */
    async deployTask(request, context) {
      const path = taskPath(request.taskId);
      if (request.spec === undefined) throw invalidArgument('spec', undefined, 'must say what to deploy');
      if (request.triggers.length > 0) {
        throw unimplemented(`triggers are not served yet: deploy task ${path.name} without its triggers`);
      }
      await directory.requireProject(path.project);
      const outcome = await putTask(db, newTask(path, request.spec, identifyCaller(context)));
      if (outcome === 'unchanged') throw alreadyExists('task', nameOf(path));
      return {};
    },

    async getTaskDetails(request) {
      const path = taskPath(request.taskId);
      const task = await findTask(db, path);
      if (task === null) throw notFound('task', nameOf(path));
      return { details: taskDetails(task) };
    },

    /** One entry per task, its newest version; all versions of those that the filters pick by name or version. */
    async listTasks(request) {
      const sorting = sortingOf(request.request, taskFields, {
        fallback: newestFirst,
        ties: ['project', 'domain', 'name', 'version'],
      });
      const within = [...scopeOf(request.scopeBy), ...(picksVersions(request.request) ? [] : [newestVersion])];
      const conditions = [
        ...within,
        ...knownFilters(request.knownFilters),
        ...conditionsOf(request.request?.filters ?? [], taskFields),
      ];
      const [page, total, filteredTotal] = await Promise.all([
        listTasks(db, {
          conditions,
          sort: sorting.keys,
          cursor: decodeToken(sorting, request.request?.token ?? ''),
          limit: limitOf(request.request),
        }),
        countTasks(db, within),
        countTasks(db, conditions),
      ]);
      const latest = await latestOf(page.rows);
      return {
        tasks: page.rows.map(task => taskMessage(task, latest(task))),
        token: encodeToken(sorting, page.next),
        metadata: { total, filteredTotal },
      };
    },

    /** An unknown task has no versions (services.md §8.4). */
    async listVersions(request) {
      const { taskName } = request;
      if (taskName === undefined) throw invalidArgument('task_name', undefined, 'name the task');
      const { project, domain } = scope(taskName.project, taskName.domain, 'task_name');
      const name = text(taskName.name, 'task_name.name', 255);
      const sorting = sortingOf(request.request, versionFields, { fallback: newestFirst, ties: ['version'] });
      const page = await listTasks(db, {
        conditions: [
          is('project', project),
          is('domain', domain),
          is('name', name),
          ...conditionsOf(request.request?.filters ?? [], versionFields),
        ],
        sort: sorting.keys,
        cursor: decodeToken(sorting, request.request?.token ?? ''),
        limit: limitOf(request.request),
      });
      const latest = await latestOf(page.rows);
      return {
        versions: page.rows.map(task => {
          const deployedBy = enrichedIdentity(task.createdBy);
          const run = latest(task);
          return {
            version: task.version,
            deployedAt: timestampFromDate(task.createdAt),
            ...(deployedBy && { deployedBy }),
            ...(run && { latestRun: latestRunSummary(run) }),
          };
        }),
        token: encodeToken(sorting, page.next),
      };
    },
  });
}

function nameOf({ project, domain, name, version }: TaskPath): string {
  return `${project}/${domain}/${name} version ${version}`;
}

function is(column: 'project' | 'domain' | 'name', value: string): Condition {
  return { kind: 'compare', column: taskListColumns[column], by: '=', value };
}

function scopeOf(scopeBy: ListTasksRequest['scopeBy']): Condition[] {
  if (scopeBy.case !== 'projectId') return [];
  const { project, domain } = projectDomain(scopeBy.value);
  return [is('project', project), is('domain', domain)];
}

function knownFilters(filters: ListTasksRequest['knownFilters']): Condition[] {
  return filters.flatMap(({ filterBy }): Condition[] => {
    switch (filterBy.case) {
      case 'deployedBy':
        return [{ kind: 'compare', column: taskListColumns.deployed_by, by: '=', value: filterBy.value }];
      case 'isEntrypoint':
        return [entrypointIs(filterBy.value)];
      default:
        return [];
    }
  });
}

/** Whoever names a task or a version wants its versions: `flyte get task NAME` lists them. */
function picksVersions(request: ListRequest | undefined): boolean {
  return (request?.filters ?? []).some(
    filter =>
      (filter.function === Fn.EQUAL || filter.function === Fn.VALUE_IN) &&
      (filter.field === 'name' || filter.field === 'version'),
  );
}
