import { create } from '@bufbuild/protobuf';
import {
  type Literal,
  LiteralSchema,
  type Scalar,
  ScalarSchema,
  UnionSchema,
  VoidSchema,
} from '../proto/gen/flyteidl2/core/literals_pb.js';
import { BlobType_BlobDimensionality, type LiteralType, SimpleType } from '../proto/gen/flyteidl2/core/types_pb.js';
import { CopilotFailure, userFailure } from './failure.ts';

/** A literal of one scalar. */
export const scalarLiteral = (value: Scalar['value']): Literal =>
  create(LiteralSchema, { value: { case: 'scalar', value: create(ScalarSchema, { value }) } });

/** The literal of nothing. */
export const noneLiteral = (): Literal => scalarLiteral({ case: 'noneType', value: create(VoidSchema) });

/** `literal` as the value of a union, in its variant `type`, whose tag travels with it. */
export const unionLiteral = (literal: Literal, type: LiteralType): Literal =>
  scalarLiteral({ case: 'union', value: create(UnionSchema, { value: literal, type }) });

/** The variant of `type` that means "no value", if it has one: NONE itself, or NONE within a union. */
export const noneOf = (type: LiteralType): Literal | null => {
  if (type.type.case === 'simple') return type.type.value === SimpleType.NONE ? noneLiteral() : null;
  if (type.type.case !== 'unionType') return null;
  const variant = type.type.value.variants.find(
    one => one.type.case === 'simple' && one.type.value === SimpleType.NONE,
  );
  return variant === undefined ? null : unionLiteral(noneLiteral(), variant);
};

/** Types that any text satisfies; in a union they come after those that can refuse one. */
const takesAnything = (type: LiteralType): boolean => {
  if (type.type.case === 'simple')
    return [SimpleType.STRING, SimpleType.BINARY, SimpleType.ERROR].includes(type.type.value);
  return type.type.case === 'blob' || type.type.case === 'schema' || type.type.case === 'structuredDatasetType';
};

/** The variants of a union in the order in which they are tried: the strict ones first, each group in declared order. */
export const variantsToTry = (variants: readonly LiteralType[]): LiteralType[] => [
  ...variants.filter(variant => !takesAnything(variant)),
  ...variants.filter(takesAnything),
];

/** A type in words for messages: `list of integer`, `one of integer, none`, `File`. */
export const typeName = ({ type }: LiteralType): string => {
  switch (type.case) {
    case 'simple':
      return (SimpleType[type.value] ?? `simple type ${type.value}`).toLowerCase();
    case 'blob':
      return type.value.dimensionality === BlobType_BlobDimensionality.MULTIPART ? 'Dir' : 'File';
    case 'collectionType':
      return `list of ${typeName(type.value)}`;
    case 'mapValueType':
      return `map of ${typeName(type.value)}`;
    case 'unionType':
      return `one of ${type.value.variants.map(typeName).join(', ')}`;
    case 'enumType':
      return `one of the words ${type.value.values.join(', ')}`;
    case 'structuredDatasetType':
      return 'structured dataset';
    case 'schema':
      return 'schema';
    default:
      return 'unknown type';
  }
};

/**
 * The first variant for which `attempt` succeeds, as a union literal (or whatever `wrap` makes of it).
 *
 * @throws CopilotFailure listing what each variant missed.
 */
export const firstVariant = async <T>(
  variants: readonly LiteralType[],
  attempt: (variant: LiteralType) => Promise<T>,
  wrap: (value: T, variant: LiteralType) => T,
): Promise<T> => {
  const misses: string[] = [];
  for (const variant of variantsToTry(variants)) {
    try {
      return wrap(await attempt(variant), variant);
    } catch (thrown) {
      if (!(thrown instanceof CopilotFailure)) throw thrown;
      misses.push(`as ${typeName(variant)}: ${thrown.message}`);
    }
  }
  throw userFailure(`it fits none of its types (${misses.join('; ')})`);
};
