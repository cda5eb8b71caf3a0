import { toBinary } from '@bufbuild/protobuf';
import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { isTerminal } from '../actors/action/phase.ts';
import type { ActionPath, EnqueueAction } from '../actors/run/commands.ts';
import { declaredType } from '../actors/run/condition-type.ts';
import type { Action } from '../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { TaskSpecSchema, TraceSpecSchema } from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import {
  type ConditionAction,
  ConditionActionSchema,
  type TaskAction,
  type TraceAction,
} from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { invalidArgument } from './errors.ts';
import { actionName, newActionPath } from './identifiers.ts';

const MAX_GROUP = 256;

/**
 * The command behind an Enqueue. Runs on the hot path: it looks at each field once and encodes the spec once.
 * @throws StarlingError invalid_argument, which fails the child in its parent with this text (sdk.md §5.6)
 */
export function enqueueCommand(action: Action | undefined): EnqueueAction {
  if (action === undefined) throw invalidArgument('action', undefined, 'say what to enqueue');
  const path = newActionPath(action.actionId, 'action.action_id');
  const parent = actionName(action.parentActionName ?? '', 'action.parent_action_name');
  if (parent === path.action) {
    throw invalidArgument('action.parent_action_name', parent, 'must be another action: none is its own parent');
  }
  if (action.inputUri === '') throw invalidArgument('action.input_uri', '', 'must name the inputs blob of the action');
  if (action.group.length > MAX_GROUP) {
    throw invalidArgument('action.group', action.group, `must be at most ${MAX_GROUP} characters`);
  }
  return {
    path,
    parent,
    group: action.group || null,
    inputUri: action.inputUri,
    spec: specOf(action.spec, path),
  };
}

function specOf(spec: Action['spec'], path: ActionPath): EnqueueAction['spec'] {
  switch (spec.case) {
    case 'task':
      return taskOf(spec.value, path);
    case 'trace':
      return traceOf(spec.value);
    case 'condition':
      return conditionOf(spec.value);
    default:
      throw invalidArgument('action.spec', undefined, 'must be a task, a trace or a condition');
  }
}

/** The task's identity stands beside the spec or in its template; project and domain default to those of the run. */
function taskOf(task: TaskAction, path: ActionPath): EnqueueAction['spec'] {
  const { spec } = task;
  const template = spec?.taskTemplate;
  if (spec === undefined || template === undefined) {
    throw invalidArgument('action.task.spec.task_template', undefined, 'must say what to run');
  }
  if (template.type === '') {
    throw invalidArgument('action.task.spec.task_template.type', '', 'must be a task type, e.g. python');
  }
  const id = task.id ?? template.id;
  return {
    kind: 'task',
    taskSpec: toBinary(TaskSpecSchema, spec),
    task: {
      project: id?.project || path.project,
      domain: id?.domain || path.domain,
      name: id?.name ?? '',
      version: id?.version ?? '',
    },
    cacheKey: task.cacheKey || null,
  };
}

/** A trace is recorded after the fact, so it must already be over (sdk.md §5.8). */
function traceOf(trace: TraceAction): EnqueueAction['spec'] {
  if (!isTerminal(trace.phase)) {
    throw invalidArgument(
      'action.trace.phase',
      trace.phase,
      'must be a final phase: a trace is recorded when it is over',
    );
  }
  const startedAt = trace.startTime === undefined ? new Date() : timestampDate(trace.startTime);
  return {
    kind: 'trace',
    traceSpec: trace.spec === undefined ? new Uint8Array() : toBinary(TraceSpecSchema, trace.spec),
    name: trace.name,
    phase: trace.phase,
    startedAt,
    endedAt: trace.endTime === undefined ? null : timestampDate(trace.endTime),
    outputUri: trace.outputs?.outputUri ?? '',
  };
}

function conditionOf(condition: ConditionAction): EnqueueAction['spec'] {
  if (condition.name === '') throw invalidArgument('action.condition.name', '', 'must not be empty');
  if (declaredType(condition) === 'unsupported') {
    throw invalidArgument(
      'action.condition.type',
      condition.type,
      'must be a simple boolean, integer, float or string',
    );
  }
  const timeoutMs = condition.timeout === undefined ? 0 : durationMs(condition.timeout);
  return {
    kind: 'condition',
    name: condition.name,
    condition: toBinary(ConditionActionSchema, condition),
    timeoutMs: timeoutMs > 0 ? timeoutMs : null,
  };
}
