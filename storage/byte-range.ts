import { ObjectRangeNotSatisfiable } from './object-errors.ts';
import type { ByteRange } from './object-store.ts';

/** Where a range lies in an object of `size` bytes, clipped to its end. Throws ObjectRangeNotSatisfiable when it holds no byte. */
export function resolveRange(uri: string, size: number, range?: ByteRange): { offset: number; length: number } {
  if (range === undefined) return { offset: 0, length: size };
  if ('suffix' in range) {
    if (range.suffix <= 0 || size === 0) throw new ObjectRangeNotSatisfiable(uri, size);
    const length = Math.min(range.suffix, size);
    return { offset: size - length, length };
  }
  const end = Math.min(range.endInclusive ?? size - 1, size - 1);
  if (range.start > end) throw new ObjectRangeNotSatisfiable(uri, size);
  return { offset: range.start, length: end - range.start + 1 };
}

/** Reads a `Range` header. Anything but one plain range is ignored (undefined), as S3 does. */
export function parseRange(header: string | undefined): ByteRange | undefined {
  const match = header === undefined ? null : /^bytes=(\d*)-(\d*)$/.exec(header.trim());
  if (!match) return undefined;
  const [, first, last] = match;
  if (first === '') return last === '' ? undefined : { suffix: Number(last) };
  const start = Number(first);
  if (last === '') return { start };
  return Number(last) < start ? undefined : { start, endInclusive: Number(last) };
}
