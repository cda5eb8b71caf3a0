import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { Phase } from '../actors/action/phase.ts';
import type { ActionDetailRow } from '../db/action-reads.ts';
import type { RunRow } from '../db/run-reads.ts';
import { LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { TaskSpecSchema, TraceSpecSchema } from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import {
  type ActionDetailsSchema,
  ActionType,
  ConditionActionSchema,
} from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { actionAttempt, errorInfo } from './action-attempts.ts';
import { actionMessage } from './action-metadata.ts';
import { enrichedIdentity } from './caller.ts';

type Details = MessageInitShape<typeof ActionDetailsSchema>;

/** Everything about an action (runs.md 1.8), with an error for FAILED and TIMED_OUT alike. @param org see actionIdentifier */
export function actionDetails(action: ActionDetailRow, run: RunRow, org = ''): Details {
  return {
    ...actionMessage(action, run, org),
    attempts: action.attempts.map(actionAttempt),
    result: resultOf(action),
    spec: specOf(action),
  };
}

function resultOf(action: ActionDetailRow): NonNullable<Details['result']> {
  switch (action.phase) {
    case Phase.failed:
    case Phase.timedOut: {
      const failure = action.failure ?? action.attempts.at(-1)?.failure;
      if (failure) return { case: 'errorInfo', value: errorInfo(failure) };
      break;
    }
    case Phase.aborted: {
      const abortedBy = enrichedIdentity(action.abortBy);
      return { case: 'abortInfo', value: { reason: action.abortReason ?? '', ...(abortedBy && { abortedBy }) } };
    }
  }
  if (action.value !== null) {
    const signalledBy = enrichedIdentity(action.signalledBy);
    const output = fromBinary(LiteralSchema, action.value);
    return { case: 'signalInfo', value: { output, ...(signalledBy && { signalledBy }) } };
  }
  return { case: undefined };
}

function specOf({ type, spec }: ActionDetailRow): NonNullable<Details['spec']> {
  if (spec === null) return { case: undefined };
  switch (type) {
    case ActionType.TRACE:
      return { case: 'trace', value: fromBinary(TraceSpecSchema, spec) };
    case ActionType.CONDITION:
      return { case: 'condition', value: fromBinary(ConditionActionSchema, spec) };
    default:
      return { case: 'task', value: fromBinary(TaskSpecSchema, spec) };
  }
}
