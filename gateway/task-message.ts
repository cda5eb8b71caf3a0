import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { LatestRun, TaskRow } from '../db/tasks.ts';
import {
  type LatestRunSummarySchema,
  type TaskDetailsSchema,
  type TaskMetadataSchema,
  type TaskSchema,
  TaskSpecSchema,
} from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import { enrichedIdentity } from './caller.ts';
import { runIdentifier, taskIdentifier } from './identifiers.ts';

/** A deployed task as lists show it (services.md §8.3). */
export function taskMessage(task: TaskRow, latest: LatestRun | undefined): MessageInitShape<typeof TaskSchema> {
  return {
    taskId: taskIdentifier(task),
    metadata: taskMetadata(task),
    ...(latest && { taskSummary: { latestRun: latestRunSummary(latest) } }),
  };
}

/** A deployed version with its spec (services.md §8.2). */
export function taskDetails(task: TaskRow): MessageInitShape<typeof TaskDetailsSchema> {
  return {
    taskId: taskIdentifier(task),
    metadata: taskMetadata(task),
    spec: fromBinary(TaskSpecSchema, task.spec),
  };
}

export function latestRunSummary(latest: LatestRun): MessageInitShape<typeof LatestRunSummarySchema> {
  return {
    runId: runIdentifier(latest),
    runTime: timestampFromDate(latest.createdAt),
    phase: latest.phase,
    rootTaskName: latest.taskName,
  };
}

function taskMetadata(task: TaskRow): MessageInitShape<typeof TaskMetadataSchema> {
  const deployedBy = enrichedIdentity(task.createdBy);
  return {
    shortName: task.shortName,
    environmentName: task.environment,
    deployedAt: timestampFromDate(task.createdAt),
    shortDescription: fromBinary(TaskSpecSchema, task.spec).documentation?.shortDescription ?? '',
    ...(deployedBy && { deployedBy }),
  };
}
