import type { Failure } from '../action/failure.ts';

/** How obstore, the client in the SDK, says that nobody answered: for S3, GCS and Azure alike. */
const NOBODY_ANSWERED =
  /Error performing [A-Z]+ (https?:\/\/\S+) in [^,]{1,40}, after \d+ retries\b.*HTTP error: error sending request/;

/**
 * The failure of a task that gave its own object store up is the platform's, whatever the error document says: the SDK tries
 * four times, five to sixteen seconds apart, cannot be told to try longer (its FLYTE_STORAGE_RETRIES arrives as a text that
 * obstore refuses), and blames user code when the call came from there. A node that is down for half a minute would
 * otherwise cost user retries, and end runs that have none (issue 3, item 4).
 * @param outputUri `s3://<bucket>/…`: where this installation keeps what its tasks write
 */
export function blameStoreOutage(failure: Failure, outputUri: string): Failure {
  const url = NOBODY_ANSWERED.exec(failure.message)?.[1];
  if (failure.kind === 'SYSTEM' || url === undefined || !URL.canParse(url)) return failure;
  const bucket = new URL(outputUri).hostname;
  const { hostname, pathname } = new URL(url);
  const isOurs = hostname.startsWith(`${bucket}.`) || pathname.split('/').includes(bucket);
  return isOurs ? { ...failure, kind: 'SYSTEM', recoverable: true } : failure;
}
