import { createHash } from 'node:crypto';
import { clone } from '@bufbuild/protobuf';
import { type TypedInterface, TypedInterfaceSchema } from '../proto/gen/flyteidl2/core/interface_pb.js';
import { type Literal, LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import type { TaskTemplate } from '../proto/gen/flyteidl2/core/tasks_pb.js';
import type { Inputs } from '../proto/gen/flyteidl2/task/common_pb.js';
import { canonicalMsgpack } from './canonical-msgpack.ts';
import { deterministicBytes } from './deterministic-bytes.ts';

/**
 * The hash of no inputs as it travels: the SDK writes an empty text there, which the contract forbids in offloaded inputs. It is
 * base64(sha256("")), and {@link cacheKey} takes it as the empty text again.
 */
export const HASH_OF_NOTHING = sha256('');

/**
 * The hash of inputs, made as the SDK makes it for a child (sdk.md §5.7): so a root action and a child with the same inputs share
 * their results. A literal's own hash stands for its content; `ignored` inputs and the context do not count.
 */
export function inputsHash(inputs: Inputs | undefined, ignored: readonly string[]): string {
  const hash = createHash('sha256');
  for (const { name, value } of inputs?.literals ?? []) {
    if (ignored.includes(name)) continue;
    hash.update(`${name}:`);
    if (value !== undefined) for (const part of literalBytes(value)) hash.update(part);
    hash.update(';');
  }
  return hash.digest('base64');
}

/**
 * Under which a result is kept: base64(sha256(inputs hash, task name, interface hash, version)), as the SDK does for children
 * (runs.md 1.2). Null for a task that does not ask for caching.
 */
export function cacheKey(template: TaskTemplate | undefined, taskName: string, hashOfInputs: string): string | null {
  if (!template?.metadata?.discoverable) return null;
  const inputs = hashOfInputs === HASH_OF_NOTHING ? '' : hashOfInputs;
  return sha256(`${inputs}${taskName}${interfaceHash(template.interface)}${template.metadata.discoveryVersion}`);
}

/** Independent of the order in which the variables are declared; empty without an interface. */
function interfaceHash(declared: TypedInterface | undefined): string {
  if (declared === undefined) return '';
  const sorted = clone(TypedInterfaceSchema, declared);
  for (const map of [sorted.inputs, sorted.outputs]) map?.variables.sort((a, b) => compareCodePoints(a.key, b.key));
  return sha256(deterministicBytes(TypedInterfaceSchema, sorted));
}

/** What a literal contributes: its own hash, or its parts, or its bytes. */
function* literalBytes(literal: Literal): Generator<string | Uint8Array> {
  if (literal.hash !== '') {
    yield literal.hash;
    return;
  }
  const { value } = literal;
  if (value.case === 'collection') {
    for (const item of value.value.literals) yield* literalBytes(item);
  } else if (value.case === 'map') {
    for (const key of Object.keys(value.value.literals).sort(compareCodePoints)) {
      yield key;
      yield* literalBytes(value.value.literals[key]!);
    }
  } else {
    yield deterministicBytes(LiteralSchema, withCanonicalBinary(literal));
  }
}

function withCanonicalBinary(literal: Literal): Literal {
  const scalar = literal.value.case === 'scalar' ? literal.value.value : undefined;
  if (scalar?.value.case !== 'binary' || scalar.value.value.tag !== 'msgpack') return literal;
  const binary = scalar.value.value;
  return {
    ...literal,
    value: {
      case: 'scalar',
      value: { ...scalar, value: { case: 'binary', value: { ...binary, value: canonicalMsgpack(binary.value) } } },
    },
  };
}

/** Python sorts text by code points, JavaScript by UTF-16 units. */
function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('base64');
}
