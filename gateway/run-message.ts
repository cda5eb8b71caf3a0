import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { RunRow, RunWithRoot } from '../db/run-reads.ts';
import { RunSpecSchema } from '../proto/gen/flyteidl2/task/run_pb.js';
import type { RunDetailsSchema, RunSchema } from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { actionDetails } from './action-details.ts';
import { actionMessage } from './action-metadata.ts';
import type { ActionDetail } from './action-reader.ts';

/** A run as lists and watches show it: its root action and its labels. */
export function runMessage(run: RunWithRoot): MessageInitShape<typeof RunSchema> {
  return { action: actionMessage(run, run), labels: run.labels };
}

/** Everything about a run: what it was asked to be, and its root action. @param org see actionIdentifier */
export function runDetails(run: RunRow, root: ActionDetail, org = ''): MessageInitShape<typeof RunDetailsSchema> {
  return { runSpec: fromBinary(RunSpecSchema, run.runSpec), action: actionDetails(root, run, org) };
}
