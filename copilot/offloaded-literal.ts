import { fromBinary } from '@bufbuild/protobuf';
import { type Literal, LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { declarationFailure } from './failure.ts';

/** Nested deeper than this, a literal is an attack or a loop of offloaded literals. */
const MAX_DEPTH = 64;

/**
 * The same literal with every offloaded one in it, at any depth, replaced by what is stored at its URI (copilot.md §3.2 step 3; the
 * reference stops at the top level). `read` gets a URI and returns the bytes of a protobuf Literal. Parts without offloaded
 * literals are returned as they are.
 *
 * @throws CopilotFailure when literals are nested more than 64 deep; whatever `read` throws.
 */
export const resolveOffloaded = async (
  literal: Literal,
  read: (uri: string) => Promise<Uint8Array>,
  depth = 0,
): Promise<Literal> => {
  if (depth > MAX_DEPTH) throw declarationFailure(`it is nested more than ${MAX_DEPTH} levels deep; flatten the value`);
  const inner = (entry: Literal) => resolveOffloaded(entry, read, depth + 1);
  const { value } = literal;
  switch (value.case) {
    case 'offloadedMetadata':
      return inner(fromBinary(LiteralSchema, await read(value.value.uri)));
    case 'collection': {
      const literals: Literal[] = [];
      for (const entry of value.value.literals) literals.push(await inner(entry));
      return { ...literal, value: { case: 'collection', value: { ...value.value, literals } } };
    }
    case 'map': {
      const literals: Record<string, Literal> = {};
      for (const [key, entry] of Object.entries(value.value.literals)) literals[key] = await inner(entry);
      return { ...literal, value: { case: 'map', value: { ...value.value, literals } } };
    }
    case 'scalar': {
      const scalar = value.value;
      if (scalar.value.case !== 'union' || scalar.value.value.value === undefined) return literal;
      const union = { ...scalar.value.value, value: await inner(scalar.value.value.value) };
      return { ...literal, value: { case: 'scalar', value: { ...scalar, value: { case: 'union', value: union } } } };
    }
    default:
      return literal;
  }
};
