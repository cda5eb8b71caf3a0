import { Code, StarlingError } from '../errors.ts';

/** Unit letters of a grpc-timeout header, in milliseconds. */
const GRPC_UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Whole milliseconds of a connect-timeout-ms header (at most 10 digits), or undefined when it is malformed. */
export function parseConnectTimeout(header: string): number | undefined {
  return /^\d{1,10}$/.test(header) ? Number(header) : undefined;
}

/** The same for a request that has such a header or not; what is wrong with it is returned, because the call must begin to fail. */
export function connectTimeoutOf(header: string | string[] | undefined): number | undefined | StarlingError {
  if (header === undefined) return undefined;
  return (
    parseConnectTimeout(header.toString()) ??
    new StarlingError(
      Code.InvalidArgument,
      'connect-timeout-ms must be a whole number of milliseconds of at most 10 digits',
    )
  );
}

/** Whole milliseconds of a grpc-timeout header such as `500m` or `2S` (at most 8 digits), or undefined when it is malformed. */
export function parseGrpcTimeout(header: string): number | undefined {
  const parts = /^(\d{1,8})([HMSmun])$/.exec(header);
  return parts ? Math.ceil(Number(parts[1]) * GRPC_UNIT_MS[parts[2]!]!) : undefined;
}

/** Timers of Node hold 31 bits of milliseconds: who waits longer than 24 days has no deadline. */
export const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
