import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Phase } from '../actors/action/phase.ts';
import type { TaskGroupRow } from '../db/task-groups.ts';
import type { TaskGroupSchema } from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { enrichedIdentity } from './caller.ts';

/** The runs of a task, counted, as the console shows them (runs.md 1.17). */
export function taskGroup(row: TaskGroupRow): MessageInitShape<typeof TaskGroupSchema> {
  const failed = row.phaseCounts[Phase.failed - 1] ?? 0;
  return {
    taskName: row.taskName,
    environmentName: row.environment,
    shortName: row.shortName,
    totalRuns: BigInt(row.totalRuns),
    latestRunTime: timestampFromDate(row.latestRunAt),
    recentStatuses: row.recent.map(({ run, phase }) => ({ runName: run, phase })),
    averageFailureRate: failed / row.totalRuns,
    createdBy: row.createdBy.map(enrichedIdentity).filter(identity => identity !== undefined),
    errorCounts: {
      userError: BigInt(row.userErrors),
      systemError: BigInt(row.systemErrors),
      unspecifiedError: BigInt(row.otherErrors),
    },
    phaseCounts: row.phaseCounts
      .map((count, index) => ({ phase: index + 1, count: BigInt(count) }))
      .filter(({ count }) => count > 0n),
    ...(row.latestFinishedAt && { latestFinishedTime: timestampFromDate(row.latestFinishedAt) }),
    ...(row.averageDurationMs !== null && { averageDuration: durationFromMs(row.averageDurationMs) }),
    ...(row.averageTimeToRunningMs !== null && { averageTimeToRunning: durationFromMs(row.averageTimeToRunningMs) }),
  };
}
