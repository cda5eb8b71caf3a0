import { create } from '@bufbuild/protobuf';
import { BinarySchema, type Literal, PrimitiveSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { ErrorSchema, SimpleType } from '../proto/gen/flyteidl2/core/types_pb.js';
import { declarationFailure, userFailure } from './failure.ts';
import { fromJsonText, type PlainValue, toJsonValue } from './json-text.ts';
import { noneLiteral, scalarLiteral } from './output-type.ts';
import { textToPrimitive } from './primitive-text.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text in `bytes`. @throws CopilotFailure when it is not UTF-8. */
export const utf8 = (bytes: Uint8Array): string => {
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    throw userFailure('it is not UTF-8 text; declare the output as File for other content', { cause });
  }
};

/** Blanks, newlines and tabs at both ends are how shells write, not part of a value (copilot.md §4.2). */
export const trimmed = (bytes: Uint8Array): string => utf8(bytes).replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');

/** A JSON object as a struct literal. @throws CopilotFailure when it is none. */
export const structLiteral = (value: PlainValue): Literal => {
  const json = toJsonValue(value);
  if (json === null || typeof json !== 'object' || Array.isArray(json)) {
    throw userFailure('it must be a JSON object, like {"name": "value"}');
  }
  return scalarLiteral({ case: 'generic', value: json });
};

/** `word` as a value of an enum. @throws CopilotFailure when it is none of `values`. */
export const enumLiteral = (word: string, values: readonly string[]): Literal => {
  if (!values.includes(word)) {
    throw userFailure(`${JSON.stringify(word)} is none of ${values.map(value => JSON.stringify(value)).join(', ')}`);
  }
  return scalarLiteral({
    case: 'primitive',
    value: create(PrimitiveSchema, { value: { case: 'stringValue', value: word } }),
  });
};

/** Bytes as a binary literal; the tag is the one the SDK reads values of unknown shape with (copilot.md §4.2). */
export const binaryLiteral = (value: Uint8Array): Literal =>
  scalarLiteral({ case: 'binary', value: create(BinarySchema, { value, tag: 'msgpack' }) });

/** A message as an error literal. */
export const errorLiteral = (message: string): Literal =>
  scalarLiteral({ case: 'error', value: create(ErrorSchema, { message }) });

/**
 * The value of simple type `type` that a file with the content `bytes` means (copilot.md §4.2). Binary is taken as it is; all else
 * is trimmed text.
 *
 * @throws CopilotFailure saying what was read and what to write instead.
 */
export const textLiteral = (bytes: Uint8Array, type: SimpleType): Literal => {
  switch (type) {
    case SimpleType.NONE:
      return noneLiteral();
    case SimpleType.BINARY:
      return binaryLiteral(bytes);
    case SimpleType.ERROR:
      return errorLiteral(trimmed(bytes));
    case SimpleType.STRUCT:
      return structLiteral(fromJsonText(trimmed(bytes)));
    case SimpleType.INTEGER:
    case SimpleType.FLOAT:
    case SimpleType.STRING:
    case SimpleType.BOOLEAN:
    case SimpleType.DATETIME:
    case SimpleType.DURATION: {
      const value = textToPrimitive(trimmed(bytes), type);
      return scalarLiteral({ case: 'primitive', value: create(PrimitiveSchema, { value }) });
    }
    default:
      throw declarationFailure(`simple type ${type} is not one this co-pilot knows; update the co-pilot`);
  }
};
