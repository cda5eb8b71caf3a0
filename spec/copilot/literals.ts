import { create } from '@bufbuild/protobuf';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { scalarLiteral } from '../../copilot/output-type.ts';
import { type TypedInterface, TypedInterfaceSchema } from '../../proto/gen/flyteidl2/core/interface_pb.js';
import { type Literal, LiteralSchema, type Primitive } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import {
  BlobType_BlobDimensionality,
  type LiteralType,
  LiteralTypeSchema,
  SimpleType,
} from '../../proto/gen/flyteidl2/core/types_pb.js';
import { type Inputs, InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';

const primitive = (value: Primitive['value']): Literal =>
  create(LiteralSchema, {
    value: {
      case: 'scalar',
      value: { value: { case: 'primitive', value: { value } as Primitive } },
    },
  } as never);

/** Literals, as a task's inputs carry them. */
export const lit = {
  integer: (value: bigint) => primitive({ case: 'integer', value }),
  float: (value: number) => primitive({ case: 'floatValue', value }),
  string: (value: string) => primitive({ case: 'stringValue', value }),
  boolean: (value: boolean) => primitive({ case: 'boolean', value }),
  datetime: (seconds: bigint, nanos = 0) =>
    primitive({ case: 'datetime', value: create(TimestampSchema, { seconds, nanos }) }),
  duration: (seconds: bigint, nanos = 0) =>
    primitive({ case: 'duration', value: create(DurationSchema, { seconds, nanos }) }),
  blob: (uri: string, dimensionality = BlobType_BlobDimensionality.SINGLE, format = '') =>
    create(LiteralSchema, {
      value: {
        case: 'scalar',
        value: { value: { case: 'blob', value: { uri, metadata: { type: { dimensionality, format } } } } },
      },
    }),
  dir: (uri: string) => lit.blob(uri, BlobType_BlobDimensionality.MULTIPART),
  dataset: (uri: string) =>
    create(LiteralSchema, {
      value: { case: 'scalar', value: { value: { case: 'structuredDataset', value: { uri } } } },
    }),
  binary: (value: Uint8Array) =>
    create(LiteralSchema, {
      value: { case: 'scalar', value: { value: { case: 'binary', value: { value, tag: 'msgpack' } } } },
    }),
  struct: (value: Record<string, never> | object) => scalarLiteral({ case: 'generic', value: value as never }),
  none: () => create(LiteralSchema, { value: { case: 'scalar', value: { value: { case: 'noneType', value: {} } } } }),
  list: (...literals: Literal[]) => create(LiteralSchema, { value: { case: 'collection', value: { literals } } }),
  map: (literals: Record<string, Literal>) => create(LiteralSchema, { value: { case: 'map', value: { literals } } }),
  union: (value: Literal) =>
    create(LiteralSchema, { value: { case: 'scalar', value: { value: { case: 'union', value: { value } } } } }),
  offloaded: (uri: string) => create(LiteralSchema, { value: { case: 'offloadedMetadata', value: { uri } } }),
};

const simple = (value: SimpleType) => create(LiteralTypeSchema, { type: { case: 'simple', value } });

/** Types, as a task's interface carries them. */
export const type = {
  none: simple(SimpleType.NONE),
  integer: simple(SimpleType.INTEGER),
  float: simple(SimpleType.FLOAT),
  string: simple(SimpleType.STRING),
  boolean: simple(SimpleType.BOOLEAN),
  datetime: simple(SimpleType.DATETIME),
  duration: simple(SimpleType.DURATION),
  binary: simple(SimpleType.BINARY),
  error: simple(SimpleType.ERROR),
  struct: simple(SimpleType.STRUCT),
  file: create(LiteralTypeSchema, {
    type: { case: 'blob', value: { dimensionality: BlobType_BlobDimensionality.SINGLE } },
  }),
  dir: create(LiteralTypeSchema, {
    type: { case: 'blob', value: { dimensionality: BlobType_BlobDimensionality.MULTIPART } },
  }),
  dataset: create(LiteralTypeSchema, { type: { case: 'structuredDatasetType', value: {} } }),
  words: (...values: string[]) => create(LiteralTypeSchema, { type: { case: 'enumType', value: { values } } }),
  list: (value: LiteralType) => create(LiteralTypeSchema, { type: { case: 'collectionType', value } }),
  map: (value: LiteralType) => create(LiteralTypeSchema, { type: { case: 'mapValueType', value } }),
  union: (...variants: LiteralType[]) =>
    create(LiteralTypeSchema, { type: { case: 'unionType', value: { variants } } }),
};

/** inputs.pb of these literals. */
export const inputsOf = (literals: Record<string, Literal>): Inputs =>
  create(InputsSchema, { literals: Object.entries(literals).map(([name, value]) => ({ name, value })) });

/** The interface of a task with these variables. */
export const interfaceOf = (
  inputs: Record<string, LiteralType>,
  outputs: Record<string, LiteralType>,
): TypedInterface => {
  const variables = (types: Record<string, LiteralType>) => ({
    variables: Object.entries(types).map(([key, value]) => ({ key, value: { type: value } })),
  });
  return create(TypedInterfaceSchema, { inputs: variables(inputs), outputs: variables(outputs) });
};
