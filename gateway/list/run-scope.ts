import type { Column, Condition } from '../../db/list-query.ts';
import { runListColumns } from '../../db/run-reads.ts';
import type { ListRunsRequest, WatchRunsRequest } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { projectDomain, taskPath } from '../identifiers.ts';

type Scope = ListRunsRequest['scopeBy'] | WatchRunsRequest['target'];

/**
 * Which runs a list or a watch is about. An organisation, a cluster or nothing restricts nothing: there is one of each
 * (runs.md 1.10, 1.12).
 * @throws StarlingError invalid_argument
 */
export function runScope(scope: Scope): Condition[] {
  switch (scope.case) {
    case 'projectId': {
      const { project, domain } = projectDomain(scope.value);
      return [is(runListColumns.project, project), is(runListColumns.domain, domain)];
    }
    case 'triggerName':
      return [
        is(runListColumns.project, scope.value.project),
        is(runListColumns.domain, scope.value.domain),
        is(runListColumns.trigger_task_name, scope.value.taskName),
        is(runListColumns.trigger_name, scope.value.name),
      ];
    case 'taskName':
      return [
        is(runListColumns.task_project, scope.value.project),
        is(runListColumns.task_domain, scope.value.domain),
        is(runListColumns.task_name, scope.value.name),
      ];
    case 'taskId': {
      const task = taskPath(scope.value);
      return [
        is(runListColumns.task_project, task.project),
        is(runListColumns.task_domain, task.domain),
        is(runListColumns.task_name, task.name),
        is(runListColumns.task_version, task.version),
      ];
    }
    default:
      return [];
  }
}

function is(column: Column, value: string): Condition {
  return { kind: 'compare', column, by: '=', value };
}
