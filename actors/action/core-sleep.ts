/** `core-sleep`: a leaf that only waits, without a pod: exactly one duration input, no outputs (executor.md §7). */
import { fromBinary } from '@bufbuild/protobuf';
import { InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import type { Failure } from './failure.ts';

export const CORE_SLEEP = 'core-sleep';

/** Longer than any timer should be: a year. */
const MAX_SLEEP_MS = 366 * 24 * 3600 * 1000;

/** How long the leaf with this inputs blob sleeps, in milliseconds, or why that cannot be told. */
export function sleepOf(inputs: Uint8Array): { ms: number } | { failure: Failure } {
  let literals: ReturnType<typeof decodeLiterals>;
  try {
    literals = decodeLiterals(inputs);
  } catch (error) {
    return badInput(`its inputs blob is corrupt: ${(error as Error).message}`);
  }
  if (literals.length !== 1) return badInput(`it has ${literals.length} inputs, but needs exactly one duration`);
  const value = literals[0]!.value?.value;
  const primitive = value?.case === 'scalar' && value.value.value.case === 'primitive' ? value.value.value.value : null;
  if (primitive?.value.case !== 'duration') return badInput(`its input '${literals[0]!.name}' is no duration`);
  const ms = Number(primitive.value.value.seconds) * 1000 + primitive.value.value.nanos / 1e6;
  if (ms < 0 || ms > MAX_SLEEP_MS) return badInput(`its duration of ${ms / 1000} s is not between 0 s and 366 days`);
  return { ms };
}

function decodeLiterals(inputs: Uint8Array) {
  return fromBinary(InputsSchema, inputs).literals;
}

function badInput(why: string): { failure: Failure } {
  return {
    failure: {
      code: 'BadTaskSpecification',
      kind: 'USER',
      message: `core-sleep cannot run: ${why}`,
      recoverable: false,
    },
  };
}
