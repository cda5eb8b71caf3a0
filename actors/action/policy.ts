/** What a task spec asks of the engine: budgets and bounds, decoded once per spec digest. */

import { fromBinary } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import { TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';

export interface TaskPolicy {
  readonly taskType: string;
  /** Retries the user grants beyond the first attempt. */
  readonly retries: number;
  /** null = retry at once. Delay before retry n (from 1) is min(baseMs · factor^(n−1), capMs). */
  readonly backoff: { readonly baseMs: number; readonly factor: number; readonly capMs: number } | null;
  /** Bounds in milliseconds; null = none (executor.md 2.15). */
  readonly maxRuntimeMs: number | null;
  readonly queuedTimeoutMs: number | null;
  readonly deadlineMs: number | null;
  readonly cacheable: boolean;
  /** Of many that need the same result at once, one computes it and the others wait. */
  readonly cacheSerializable: boolean;
  /** How old a cached result may be; null = any age (sdk-2.12.md 2.3: absent and 0 s both mean no limit here). */
  readonly cacheMaxAgeMs: number | null;
}

/** @returns the policy of a serialised flyteidl2.task.TaskSpec */
export function taskPolicy(taskSpec: Uint8Array): TaskPolicy {
  const template = fromBinary(TaskSpecSchema, taskSpec).taskTemplate;
  const metadata = template?.metadata;
  const backoff = metadata?.retries?.backoff;
  const baseMs = millis(backoff?.base);
  return {
    taskType: template?.type ?? '',
    retries: metadata?.retries?.retries ?? 0,
    backoff:
      baseMs === null
        ? null
        : { baseMs, factor: Math.max(backoff?.factor ?? 1, 1), capMs: millis(backoff?.cap) ?? Number.MAX_SAFE_INTEGER },
    maxRuntimeMs: millis(metadata?.timeout),
    queuedTimeoutMs: millis(metadata?.timeouts?.queuedTimeout),
    deadlineMs: millis(metadata?.timeouts?.deadline),
    cacheable: metadata?.discoverable ?? false,
    cacheSerializable: metadata?.cacheSerializable ?? false,
    cacheMaxAgeMs: millis(metadata?.cacheMaxAge),
  };
}

/** Delay before the retry that follows failure number `failures` (from 1), in milliseconds. */
export function retryDelayMs(policy: TaskPolicy, failures: number): number {
  if (policy.backoff === null) return 0;
  const { baseMs, factor, capMs } = policy.backoff;
  return Math.min(baseMs * factor ** (failures - 1), capMs);
}

/** Milliseconds of a duration; null when absent, zero or negative, which all mean "no bound". */
function millis(duration: Duration | undefined): number | null {
  if (duration === undefined) return null;
  const ms = Number(duration.seconds) * 1000 + duration.nanos / 1e6;
  return ms > 0 ? ms : null;
}
