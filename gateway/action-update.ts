import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { Failure } from '../actors/action/failure.ts';
import { Phase } from '../actors/action/phase.ts';
import type { RunPath } from '../actors/run/commands.ts';
import type { UpdateRow } from '../db/action-updates.ts';
import { RunIdentifierSchema } from '../proto/gen/flyteidl2/common/identifier_pb.js';
import {
  ContainerError_Kind,
  ExecutionError_ErrorKind,
  type ExecutionErrorSchema,
} from '../proto/gen/flyteidl2/core/execution_pb.js';
import { LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { ActionType } from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import type { ActionUpdateSchema } from '../proto/gen/flyteidl2/workflow/state_service_pb.js';
import { runIdentifier } from './identifiers.ts';

type Update = MessageInitShape<typeof ActionUpdateSchema>;

/**
 * Turns children of one run into what their parent is told (sdk.md §5.6, runs.md 2.5).
 * @param outputBase `run.output_base`: an update always has an output URI, because the SDK prints a warning into the user's
 * log for each that has none; until an attempt has its own the folder of the action stands in, and a later update replaces it
 */
export function actionUpdates(path: RunPath, outputBase: string): (row: UpdateRow) => Update {
  const run = create(RunIdentifierSchema, runIdentifier(path));
  return row => ({
    actionId: { run, name: row.name },
    phase: row.phase,
    outputUri: row.output_uri || `${outputBase}${row.name}`,
    ...(row.failure !== null && isFailed(row) && { error: executionError(row.failure) }),
    ...(row.value !== null && row.type === ActionType.CONDITION && { value: fromBinary(LiteralSchema, row.value) }),
  });
}

function isFailed({ phase }: UpdateRow): boolean {
  return phase === Phase.failed || phase === Phase.timedOut;
}

/** The error a parent raises for a failed child; `recoverability` lets a retried parent run a failed trace again (sdk.md §5.8). */
export function executionError(failure: Failure): MessageInitShape<typeof ExecutionErrorSchema> {
  return {
    code: failure.code,
    message: failure.message,
    kind: ExecutionError_ErrorKind[failure.kind] ?? ExecutionError_ErrorKind.UNKNOWN,
    recoverability: failure.recoverable ? ContainerError_Kind.RECOVERABLE : ContainerError_Kind.NON_RECOVERABLE,
  };
}
