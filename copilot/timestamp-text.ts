import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { userFailure } from './failure.ts';

const RFC3339 = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})$/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** A moment as RFC 3339 in UTC, with as many decimals as it needs, up to nanoseconds (copilot.md §3.3). */
export const timestampToText = (moment: Timestamp): string => {
  const seconds = new Date(Number(moment.seconds) * 1_000).toISOString().slice(0, 19);
  const decimals = moment.nanos === 0 ? '' : `.${String(moment.nanos).padStart(9, '0').replace(/0+$/, '')}`;
  return `${seconds}${decimals}Z`;
};

/**
 * The moment written in `text`: RFC 3339 with a zone, or a bare date, which means its first moment in UTC.
 *
 * @throws CopilotFailure when it is neither, or names a day or hour that does not exist.
 */
export const textToTimestamp = (text: string): { seconds: bigint; nanos: number } => {
  const match = RFC3339.exec(DATE.test(text) ? `${text}T00:00:00Z` : text);
  const whole = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}${match[4]!.toUpperCase()}`);
  // Date.parse rolls the 30th of February over instead of refusing it; the day must come back as it was written.
  const day = match === null ? Number.NaN : Date.parse(`${match[1]}T00:00:00Z`);
  if (match === null || Number.isNaN(whole) || new Date(day).toISOString().slice(0, 10) !== match[1]) {
    throw userFailure(
      `${JSON.stringify(text)} is not a moment in time; write RFC 3339 with a zone, like 2026-01-31T12:30:00Z`,
    );
  }
  return { seconds: BigInt(whole / 1_000), nanos: Number((match[3] ?? '').padEnd(9, '0')) };
};
