import { create } from '@bufbuild/protobuf';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { Primitive } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { SimpleType } from '../proto/gen/flyteidl2/core/types_pb.js';
import { durationToText, textToDuration } from './duration-text.ts';
import { userFailure } from './failure.ts';
import { textToTimestamp, timestampToText } from './timestamp-text.ts';

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const INTEGER = /^[+-]?\d+$/;
const FLOAT = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const NOT_FINITE = /^([+-]?)(inf|infinity|nan)$/i;
const TRUE = new Set(['1', 't', 'true']);
const FALSE = new Set(['0', 'f', 'false']);

/** The shortest decimal that reads back as `value`, without an exponent; `NaN`, `Infinity`, `-Infinity` for the rest. */
export const floatToText = (value: number): string => {
  const text = Object.is(value, -0) ? '-0' : String(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (match === null) return text;
  const [, sign, head, tail = '', exponent] = match;
  const digits = head! + tail;
  const point = 1 + Number(exponent);
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  return `${sign}${digits.padEnd(point, '0')}`;
};

/** The number written in `text` as decimal, with or without exponent, or one of `nan`, `inf`, `infinity` in any case. */
export const textToFloat = (text: string): number => {
  if (FLOAT.test(text)) return Number(text);
  const match = NOT_FINITE.exec(text);
  if (match === null) throw userFailure(`${JSON.stringify(text)} is not a number; write a decimal, like 2.5`);
  if (match[2]!.toLowerCase() === 'nan') return Number.NaN;
  return match[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
};

/** The 64-bit integer written in `text` in base 10. */
export const textToInteger = (text: string): bigint => {
  const value = INTEGER.test(text) ? BigInt(text.replace(/^\+/, '')) : null;
  if (value === null || value < INT64_MIN || value > INT64_MAX) {
    throw userFailure(`${JSON.stringify(text)} is not a 64-bit integer; write decimal digits only, like 42`);
  }
  return value;
};

const textToBoolean = (text: string): boolean => {
  const word = text.toLowerCase();
  if (TRUE.has(word)) return true;
  if (FALSE.has(word)) return false;
  throw userFailure(`${JSON.stringify(text)} is not a boolean; write true or false`);
};

/** A primitive as the text of its file (copilot.md §3.3); one without a value is `null`. */
export const primitiveToText = (primitive: Primitive): string => {
  const { value } = primitive;
  switch (value.case) {
    case 'integer':
    case 'boolean':
      return String(value.value);
    case 'floatValue':
      return floatToText(value.value);
    case 'stringValue':
      return value.value;
    case 'datetime':
      return timestampToText(value.value);
    case 'duration':
      return durationToText(value.value);
    default:
      return 'null';
  }
};

/** The simple types whose values are primitives. */
export type PrimitiveType =
  | SimpleType.INTEGER
  | SimpleType.FLOAT
  | SimpleType.STRING
  | SimpleType.BOOLEAN
  | SimpleType.DATETIME
  | SimpleType.DURATION;

/**
 * The primitive of type `type` written in `text` (already trimmed; copilot.md §4.2).
 *
 * @throws CopilotFailure saying what was read and what to write instead.
 */
export const textToPrimitive = (text: string, type: PrimitiveType): Primitive['value'] => {
  switch (type) {
    case SimpleType.INTEGER:
      return { case: 'integer', value: textToInteger(text) };
    case SimpleType.FLOAT:
      return { case: 'floatValue', value: textToFloat(text) };
    case SimpleType.STRING:
      return { case: 'stringValue', value: text };
    case SimpleType.BOOLEAN:
      return { case: 'boolean', value: textToBoolean(text) };
    case SimpleType.DATETIME:
      return { case: 'datetime', value: create(TimestampSchema, textToTimestamp(text)) };
    case SimpleType.DURATION:
      return { case: 'duration', value: create(DurationSchema, textToDuration(text)) };
  }
};
