import type { JsonValue } from '@bufbuild/protobuf';
import { userFailure } from './failure.ts';

/** A value as JSON and YAML know it, with 64-bit integers kept whole and keys kept in order, whatever they are called. */
export type PlainValue = null | boolean | bigint | number | string | PlainValue[] | Map<string, PlainValue>;

/** JSON.rawJSON and the source text of a reviver: in Node 24, not yet in the TypeScript library. */
const RawJson = JSON as typeof JSON & { rawJSON(text: string): unknown };
type SourceReviver = (key: string, value: unknown, context: { source?: string }) => unknown;

const INTEGER = /^-?\d+$/;

/** JSON has no name for these three; protobuf's JSON mapping writes them as strings, and so do we. */
const finite = (value: number): number | string => (Number.isFinite(value) ? value : String(value));

const toNative = (value: PlainValue): unknown => {
  if (typeof value === 'bigint') return RawJson.rawJSON(String(value));
  if (typeof value === 'number') return finite(value);
  if (Array.isArray(value)) return value.map(toNative);
  if (!(value instanceof Map)) return value;
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, entry] of value) object[key] = toNative(entry);
  return object;
};

/** `value` as JSON with two spaces of indentation. Integers of any size are exact; NaN and the infinities are strings. */
export const toJsonText = (value: PlainValue): string => `${JSON.stringify(toNative(value), null, 2)}\n`;

/** JSON as JavaScript holds it (numbers are doubles already), as a plain value. */
export const fromJsonValue = (value: JsonValue): PlainValue => {
  if (Array.isArray(value)) return value.map(fromJsonValue);
  if (value === null || typeof value !== 'object') return value;
  return new Map(Object.entries(value).map(([key, entry]) => [key, fromJsonValue(entry)]));
};

/** A plain value as a Struct holds it: integers become doubles, because Struct has no other number. */
export const toJsonValue = (value: PlainValue): JsonValue => {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(toJsonValue);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([key, entry]) => [key, toJsonValue(entry)]));
};

/**
 * Reads JSON text. Numbers written as integers come as bigint, all others as double.
 *
 * @throws CopilotFailure when it is no JSON.
 */
export const fromJsonText = (text: string): PlainValue => {
  // The reviver works bottom-up, so each object it sees holds plain values already.
  const revive: SourceReviver = (_key, value, { source }) => {
    if (typeof value === 'number') return source !== undefined && INTEGER.test(source) ? BigInt(source) : value;
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
    return new Map(Object.entries(value));
  };
  try {
    return JSON.parse(text, revive as (key: string, value: unknown) => unknown) as PlainValue;
  } catch (cause) {
    throw userFailure(`not readable as JSON (${(cause as Error).message})`, { cause });
  }
};
