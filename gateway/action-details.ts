import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { Phase } from '../actors/action/phase.ts';
import type { RunRow } from '../db/run-reads.ts';
import { LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import type { ActionDetailsSchema } from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { actionAttempt, errorInfo } from './action-attempts.ts';
import { actionMessage } from './action-metadata.ts';
import type { ActionDetail } from './action-reader.ts';
import { enrichedIdentity } from './caller.ts';

type Details = MessageInitShape<typeof ActionDetailsSchema>;

/** Everything about an action (runs.md 1.8), with an error for FAILED and TIMED_OUT alike. @param org see actionIdentifier */
export function actionDetails(action: ActionDetail, run: RunRow, org = ''): Details {
  return {
    ...actionMessage(action, run, org),
    attempts: action.attempts.map(actionAttempt),
    result: resultOf(action),
    spec: action.spec,
  };
}

function resultOf(action: ActionDetail): NonNullable<Details['result']> {
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
