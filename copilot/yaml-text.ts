import type { PlainValue } from './json-text.ts';

/** YAML 1.2 spells the numbers that JSON lacks. */
const notFinite = (value: number): string => {
  if (Number.isNaN(value)) return '.nan';
  return value > 0 ? '.inf' : '-.inf';
};

const scalar = (value: null | boolean | bigint | number | string): string => {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && !Number.isFinite(value)) return notFinite(value);
  return String(value);
};

const isEmpty = (value: PlainValue[] | Map<string, PlainValue>): boolean =>
  Array.isArray(value) ? value.length === 0 : value.size === 0;

const lines = (value: PlainValue, indent: string): string[] => {
  if (Array.isArray(value)) return value.flatMap(entry => item(`${indent}-`, entry, indent));
  if (value instanceof Map) {
    return [...value].flatMap(([key, entry]) => item(`${indent}${JSON.stringify(key)}:`, entry, indent));
  }
  return [indent + scalar(value)];
};

const item = (head: string, value: PlainValue, indent: string): string[] => {
  if (!Array.isArray(value) && !(value instanceof Map)) return [`${head} ${scalar(value)}`];
  if (isEmpty(value)) return [`${head} ${Array.isArray(value) ? '[]' : '{}'}`];
  return [head, ...lines(value, `${indent}  `)];
};

/**
 * `value` as YAML in block style. Strings and keys are always quoted as in JSON, which YAML 1.2 contains, so no text is ever
 * taken for a number, a date or a boolean.
 */
export const toYamlText = (value: PlainValue): string => {
  const nested = Array.isArray(value) || value instanceof Map;
  if (nested && isEmpty(value)) return Array.isArray(value) ? '[]\n' : '{}\n';
  return `${lines(value, '').join('\n')}\n`;
};
