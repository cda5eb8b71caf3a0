import { clone } from '@bufbuild/protobuf';
import type { IdentityJson } from '../actors/run/identity.ts';
import type { NewTask } from '../db/tasks.ts';
import { type TaskSpec, TaskSpecSchema } from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import { deterministicBytes } from './deterministic-bytes.ts';
import type { TaskPath } from './identifiers.ts';

const MAX_SHORT_DESCRIPTION = 255;
const MAX_LONG_DESCRIPTION = 2048;

/**
 * What is stored of a task that is deployed. Descriptions that are too long are cut (services.md §8.1); the same spec is always the same
 * bytes, so that deploying it again can be told from a change.
 */
export function newTask(path: TaskPath, given: TaskSpec, createdBy: IdentityJson | null): NewTask {
  const spec = clone(TaskSpecSchema, given);
  if (spec.environment) spec.environment.description = cut(spec.environment.description, MAX_SHORT_DESCRIPTION);
  if (spec.documentation) {
    spec.documentation.shortDescription = cut(spec.documentation.shortDescription, MAX_SHORT_DESCRIPTION);
    spec.documentation.longDescription = cut(spec.documentation.longDescription, MAX_LONG_DESCRIPTION);
  }
  const environment = spec.environment?.name || environmentOf(path.name);
  return {
    ...path,
    environment,
    shortName: functionName(path.name, environment),
    taskType: spec.taskTemplate?.type ?? '',
    entrypoint: spec.taskTemplate?.metadata?.isEntrypoint ?? false,
    createdBy,
    spec: deterministicBytes(TaskSpecSchema, spec),
  };
}

/** SDKs before 2.10 deploy without an environment: it is the part of the name before the last dot (sdk.md §3.7). */
function environmentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('.')));
}

function functionName(name: string, environment: string): string {
  if (environment !== '' && name.startsWith(`${environment}.`)) return name.slice(environment.length + 1);
  return name.slice(name.lastIndexOf('.') + 1);
}

/** By characters, never through one. */
function cut(text: string, length: number): string {
  return text.length <= length ? text : [...text].slice(0, length).join('');
}
