import { create } from '@bufbuild/protobuf';
import {
  type Literal,
  LiteralCollectionSchema,
  LiteralMapSchema,
  LiteralSchema,
  type Primitive,
  PrimitiveSchema,
} from '../proto/gen/flyteidl2/core/literals_pb.js';
import { type LiteralType, SimpleType } from '../proto/gen/flyteidl2/core/types_pb.js';
import { declarationFailure, told, userFailure } from './failure.ts';
import type { PlainValue } from './json-text.ts';
import { binaryLiteral, enumLiteral, errorLiteral, structLiteral } from './output-text.ts';
import { firstVariant, noneLiteral, scalarLiteral, typeName, unionLiteral } from './output-type.ts';
import { textToPrimitive } from './primitive-text.ts';

/**
 * Makes the literal of a File, Dir, schema or dataset out of what JSON says about it: a path in the output directory or a URI.
 * `place` are the indexes from the variable down to it.
 */
export type ReferenceReader = (reference: string, type: LiteralType, place: readonly number[]) => Promise<Literal>;

/** The three numbers that JSON cannot write. */
const NOT_FINITE = /^[+-]?(inf|infinity|nan)$/i;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

const shown = (value: PlainValue): string => {
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Map) return 'an object';
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : String(value);
};

const primitive = (value: Primitive['value']): Literal =>
  scalarLiteral({ case: 'primitive', value: create(PrimitiveSchema, { value }) });

const simple = (value: PlainValue, type: SimpleType, mismatch: () => Error): Literal => {
  switch (type) {
    case SimpleType.NONE:
      if (value !== null) throw mismatch();
      return noneLiteral();
    case SimpleType.STRUCT:
      return structLiteral(value);
    case SimpleType.BOOLEAN:
      if (typeof value !== 'boolean') throw mismatch();
      return primitive({ case: 'boolean', value });
    case SimpleType.INTEGER:
      if (typeof value !== 'bigint' && !Number.isInteger(value)) throw mismatch();
      return primitive(textToPrimitive(String(BigInt(value as bigint | number)), type));
    case SimpleType.FLOAT:
      if (typeof value === 'string' && NOT_FINITE.test(value)) return primitive(textToPrimitive(value, type));
      if (typeof value !== 'number' && typeof value !== 'bigint') throw mismatch();
      return primitive({ case: 'floatValue', value: Number(value) });
    case SimpleType.BINARY:
      if (typeof value !== 'string' || !BASE64.test(value)) throw mismatch();
      return binaryLiteral(Buffer.from(value, 'base64'));
    case SimpleType.ERROR:
      if (typeof value !== 'string') throw mismatch();
      return errorLiteral(value);
  }
  if (typeof value !== 'string') throw mismatch();
  if (type === SimpleType.STRING || type === SimpleType.DATETIME || type === SimpleType.DURATION) {
    return primitive(textToPrimitive(value, type));
  }
  throw declarationFailure(`simple type ${type} is not one this co-pilot knows; update the co-pilot`);
};

/**
 * The literal of type `type` that a JSON value means. The encodings are those of inputs.json, so what a task gets it can give back:
 * datetimes RFC 3339, durations Go text, binary base64, NaN and the infinities strings, files their path.
 *
 * @throws CopilotFailure naming the place within the value, what was found and what was expected.
 */
export const jsonLiteral = async (
  value: PlainValue,
  type: LiteralType,
  reference: ReferenceReader,
  place: readonly number[] = [],
): Promise<Literal> => {
  const mismatch = () => userFailure(`found ${shown(value)}, expected ${typeName(type)}`);
  switch (type.type.case) {
    case 'simple':
      return simple(value, type.type.value, mismatch);
    case 'enumType':
      if (typeof value !== 'string') throw mismatch();
      return enumLiteral(value, type.type.value.values);
    case 'blob':
    case 'schema':
    case 'structuredDatasetType':
      if (typeof value !== 'string') throw mismatch();
      return reference(value, type, place);
    case 'collectionType': {
      const inner = type.type.value;
      if (!Array.isArray(value)) throw mismatch();
      const literals: Literal[] = [];
      for (const [index, entry] of value.entries()) {
        literals.push(await told(`element ${index}`, () => jsonLiteral(entry, inner, reference, [...place, index])));
      }
      const collection = create(LiteralCollectionSchema, { literals });
      return create(LiteralSchema, { value: { case: 'collection', value: collection } });
    }
    case 'mapValueType': {
      const inner = type.type.value;
      if (!(value instanceof Map)) throw mismatch();
      const entries: [string, Literal][] = [];
      for (const [key, entry] of value) {
        const at = [...place, entries.length];
        entries.push([key, await told(`key ${JSON.stringify(key)}`, () => jsonLiteral(entry, inner, reference, at))]);
      }
      const map = create(LiteralMapSchema, { literals: Object.fromEntries(entries) });
      return create(LiteralSchema, { value: { case: 'map', value: map } });
    }
    case 'unionType':
      return firstVariant(
        type.type.value.variants,
        variant => jsonLiteral(value, variant, reference, place),
        unionLiteral,
      );
    default:
      throw declarationFailure('its type is not one this co-pilot knows; update the co-pilot');
  }
};
