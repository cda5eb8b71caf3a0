/** What the row of a task action tells about its task, for lists and filters. */
import { fromBinary } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import { specDigest } from '../../db/enqueue.ts';
import { TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';

export interface TaskFacts {
  readonly taskType: string;
  readonly shortName: string;
  readonly environment: string;
  readonly functionName: string;
}

const known = new LRUCache<string, TaskFacts>({ max: 2_000 });

/**
 * Decoded once per spec and name: a fan-out sends the same spec with every child. The environment of specs deployed by
 * SDKs that leave it out is the task name's prefix before its last dot (sdk.md §3.7).
 */
export function describeTask(taskSpec: Uint8Array, taskName: string, digest = specDigest(taskSpec)): TaskFacts {
  const key = `${digest} ${taskName}`;
  const facts = known.get(key);
  if (facts !== undefined) return facts;
  const spec = fromBinary(TaskSpecSchema, taskSpec);
  const dot = taskName.lastIndexOf('.');
  const described: TaskFacts = {
    taskType: spec.taskTemplate?.type ?? '',
    shortName: spec.shortName || taskName.slice(dot + 1),
    environment: spec.environment?.name || (dot < 0 ? '' : taskName.slice(0, dot)),
    functionName: taskName,
  };
  known.set(key, described);
  return described;
}
