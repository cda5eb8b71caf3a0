import type { Duration } from '@bufbuild/protobuf/wkt';
import { userFailure } from './failure.ts';

const SECOND = 1_000_000_000n;
const UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: SECOND,
  m: 60n * SECOND,
  h: 3_600n * SECOND,
};

const TERM = /(\d+)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/y;
const CLOCK = /^(?:([+-]?\d+) days?, )?(\d+):([0-5]?\d):([0-5]?\d)(?:\.(\d{1,9}))?$/;

/** `12` of a thousand-part fraction with `digits` places, without a trailing zero: fraction(500n, 3) is `.5`. */
const fraction = (value: bigint, digits: number): string => {
  const text = value.toString().padStart(digits, '0').replace(/0+$/, '');
  return text === '' ? '' : `.${text}`;
};

/**
 * A duration as the text of Go (`1h2m3.5s`, `1.5ms`, `0s`), the one encoding the co-pilot uses both in a variable's own file
 * and in inputs.json (copilot.md §3.3 and §8.8; the reference writes nanoseconds into the latter).
 */
export const durationToText = (duration: Duration): string => {
  const total = duration.seconds * SECOND + BigInt(duration.nanos);
  if (total === 0n) return '0s';
  const sign = total < 0n ? '-' : '';
  const size = total < 0n ? -total : total;
  if (size < 1_000n) return `${sign}${size}ns`;
  if (size < 1_000_000n) return `${sign}${size / 1_000n}${fraction(size % 1_000n, 3)}µs`;
  if (size < SECOND) return `${sign}${size / 1_000_000n}${fraction(size % 1_000_000n, 6)}ms`;
  const hours = size / UNITS.h!;
  const minutes = (size % UNITS.h!) / UNITS.m!;
  const seconds = `${(size % UNITS.m!) / SECOND}${fraction(size % SECOND, 9)}s`;
  if (hours > 0n) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0n ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
};

const scaled = (whole: string, decimals: string | undefined, unit: bigint): bigint => {
  const digits = decimals ?? '';
  return BigInt(whole) * unit + (digits === '' ? 0n : (BigInt(digits) * unit) / 10n ** BigInt(digits.length));
};

const goNanoseconds = (text: string): bigint | null => {
  const negative = text.startsWith('-');
  const body = text.replace(/^[+-]/, '');
  if (body === '0') return 0n;
  let total = 0n;
  let end = 0;
  TERM.lastIndex = 0;
  for (let term = TERM.exec(body); term !== null; term = TERM.exec(body)) {
    total += scaled(term[1]!, term[2], UNITS[term[3]!]!);
    end = TERM.lastIndex;
  }
  if (end === 0 || end !== body.length) return null;
  return negative ? -total : total;
};

const clockNanoseconds = (text: string): bigint | null => {
  const match = CLOCK.exec(text);
  if (match === null) return null;
  const [, days, hours, minutes, seconds, decimals] = match;
  const clock = BigInt(hours!) * UNITS.h! + BigInt(minutes!) * UNITS.m! + scaled(seconds!, decimals, SECOND);
  return BigInt(days ?? '0') * 24n * UNITS.h! + clock;
};

/**
 * The duration written in `text`: Go's form (`1h2m3.5s`, `-90s`), or the form Python prints a timedelta in
 * (`1 day, 2:03:04.5`), which the SDK's local execution of raw containers reads.
 *
 * @throws CopilotFailure when it is neither.
 */
export const textToDuration = (text: string): { seconds: bigint; nanos: number } => {
  const total = goNanoseconds(text) ?? clockNanoseconds(text);
  if (total === null) {
    throw userFailure(`${JSON.stringify(text)} is not a duration; write it like 1h2m3.5s or 90s`);
  }
  return { seconds: total / SECOND, nanos: Number(total % SECOND) };
};
