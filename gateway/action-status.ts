import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ActionRow } from '../db/action-reads.ts';
import type { ActionStatusSchema } from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';

/**
 * Phase and times of an action. It starts when it is asked for, so its duration includes waiting (runs.md 1.8); the number
 * of attempts is never 0, because clients index with it (sdk.md §3.4).
 */
export function actionStatus(action: ActionRow): MessageInitShape<typeof ActionStatusSchema> {
  const { createdAt, endedAt } = action;
  return {
    phase: action.phase,
    startTime: timestampFromDate(createdAt),
    attempts: Math.max(1, action.attempt),
    cacheStatus: action.cacheStatus,
    ...(endedAt && {
      endTime: timestampFromDate(endedAt),
      durationMs: BigInt(Math.max(0, endedAt.getTime() - createdAt.getTime())),
    }),
  };
}
