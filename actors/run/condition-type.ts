/** The simple type a condition is declared with, and the kind of a literal that answers it (runs.md 2.4). */
import type { Literal } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import { SimpleType } from '../../proto/gen/flyteidl2/core/types_pb.js';
import type { ConditionAction } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';

const names: Partial<Record<number, string>> = {
  [SimpleType.BOOLEAN]: 'boolean',
  [SimpleType.INTEGER]: 'integer',
  [SimpleType.FLOAT]: 'float',
  [SimpleType.STRING]: 'string',
};

/** `boolean`, `integer`, `float`, `string`, or `unsupported` for any other declaration. */
export function declaredType(condition: ConditionAction): string {
  const type = condition.type?.type;
  return (type?.case === 'simple' ? names[type.value] : undefined) ?? 'unsupported';
}

const primitives: Record<string, string> = {
  boolean: 'boolean',
  integer: 'integer',
  floatValue: 'float',
  stringValue: 'string',
};

/** The same words for a literal's value; `none` when it is no scalar primitive of these four. */
export function kindOfLiteral(literal: Literal): string {
  const scalar = literal.value.case === 'scalar' ? literal.value.value.value : null;
  const primitive = scalar?.case === 'primitive' ? scalar.value.value.case : undefined;
  return (primitive === undefined ? undefined : primitives[primitive]) ?? 'none';
}
