import { create, toBinary } from '@bufbuild/protobuf';
import type { ActionPath, RunDoor } from '../actors/run/commands.ts';
import { kindOfLiteral } from '../actors/run/condition-type.ts';
import type { IdentityJson } from '../actors/run/identity.ts';
import { type Literal, LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import type { EventPayload } from '../proto/gen/flyteidl2/workflow/run_service_pb.js';
import { failedPrecondition, invalidArgument, notFound } from './errors.ts';
import { nameOfAction } from './identifiers.ts';

/**
 * Answers a condition. The same answer again is fine; the rules and their codes are those of runs.md 2.4.
 * @throws StarlingError invalid_argument, not_found, failed_precondition
 */
export async function signalCondition(
  door: RunDoor,
  path: ActionPath,
  value: Literal | undefined,
  by: IdentityJson | null,
): Promise<void> {
  if (value === undefined || kindOfLiteral(value) === 'none') {
    throw invalidArgument('value', undefined, 'must be a boolean, an integer, a float or a string');
  }
  const result = await door.signal(path, toBinary(LiteralSchema, value), by);
  switch (result.kind) {
    case 'accepted':
    case 'repeated':
      return;
    case 'unknown':
      throw notFound('action', nameOfAction(path));
    case 'not-a-condition':
      throw failedPrecondition(`action ${nameOfAction(path)} is no condition: only conditions take a signal`);
    case 'other-value':
      throw failedPrecondition(`condition ${nameOfAction(path)} has been signalled with another value`);
    case 'over':
      throw failedPrecondition(`condition ${nameOfAction(path)} is over and takes no signal any more`);
    case 'wrong-type':
      throw invalidArgument(
        'value',
        kindOfLiteral(value),
        `condition ${nameOfAction(path)} takes a ${result.declared}`,
      );
  }
}

/** The literal of an answer as the client wrote it; undefined without one. */
export function literalOf(payload: EventPayload | undefined): Literal | undefined {
  const primitive = payload && primitiveOf(payload.value);
  if (!primitive) return undefined;
  return create(LiteralSchema, {
    value: { case: 'scalar', value: { value: { case: 'primitive', value: { value: primitive } } } },
  });
}

function primitiveOf(value: EventPayload['value']) {
  switch (value.case) {
    case 'boolValue':
      return { case: 'boolean', value: value.value } as const;
    case 'intValue':
      return { case: 'integer', value: value.value } as const;
    case 'floatValue':
      return { case: 'floatValue', value: value.value } as const;
    case 'stringValue':
      return { case: 'stringValue', value: value.value } as const;
    default:
      return undefined;
  }
}
