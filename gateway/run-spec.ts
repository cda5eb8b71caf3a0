import { clone, create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { RelationSchema, RelationType } from '../proto/gen/flyteidl2/common/run_pb.js';
import type { TaskTemplate } from '../proto/gen/flyteidl2/core/tasks_pb.js';
import { type RunSpec, RunSpecSchema, TaskSpecSource } from '../proto/gen/flyteidl2/task/run_pb.js';

/** SDKs before this one have no placeholder for the start time of a run (runs.md 1.2). */
const START_TIME_SINCE = [2, 3, 6] as const;

/**
 * The run spec as it is kept and returned: what the client said, plus what only the server knows. A rerun brings the spec of the
 * old run along, so what is there already stays: by `task_spec_source` a later rerun tells where its environment came from
 * (sdk-2.12.md §1).
 */
export function normalisedRunSpec(
  given: RunSpec | undefined,
  facts: {
    readonly template: TaskTemplate | undefined;
    readonly source: TaskSpecSource;
    readonly startTime: Date;
  },
): RunSpec {
  const spec = given === undefined ? create(RunSpecSchema) : clone(RunSpecSchema, given);
  if (spec.taskSpecSource === TaskSpecSource.UNSPECIFIED) spec.taskSpecSource = facts.source;
  if (spec.runStartTime === undefined && knowsStartTime(facts.template)) {
    spec.runStartTime = timestampFromDate(facts.startTime);
  }
  // The older way to say what a run repeats, without saying how: a rerun (runs.md 1.18).
  if (spec.relation === undefined && spec.relatedTo !== undefined) {
    spec.relation = create(RelationSchema, { relatedTo: spec.relatedTo, relationType: RelationType.RERUN });
  }
  return spec;
}

/** `v2.3.6.dev1` counts as 2.3.6; a template without a version knows nothing. */
function knowsStartTime(template: TaskTemplate | undefined): boolean {
  const match = /v?(\d+)\.(\d+)\.(\d+)/.exec(template?.metadata?.runtime?.version ?? '');
  if (match === null) return false;
  for (const [index, least] of START_TIME_SINCE.entries()) {
    const part = Number(match[index + 1]);
    if (part !== least) return part > least;
  }
  return true;
}
