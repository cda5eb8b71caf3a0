import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DirectoryStore } from '../directory.ts';
import { formatObjectUri } from '../object-uri.ts';
import type { Target } from './target.ts';

/** One authenticated request, as the operations see it. */
export interface Call {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly store: DirectoryStore;
  readonly target: Target;
  /** The checked body; to be read at most once. */
  body(): AsyncIterable<Uint8Array>;
}

/** URI of the object the request names; throws InvalidObjectUri for keys this project does not store. */
export const objectUri = ({ target: { bucket, key } }: Call): string => formatObjectUri({ bucket, key });

export const quoted = (etag: string): string => `"${etag}"`;
export const unquoted = (etag: string): string => etag.trim().replace(/^"(.*)"$/, '$1');

export function sendXml(res: ServerResponse, status: number, document: string): void {
  const bytes = Buffer.from(document);
  res.writeHead(status, { 'content-type': 'application/xml', 'content-length': bytes.length });
  res.end(bytes);
}

export function sendEmpty(res: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  res.writeHead(status, { ...headers, ...(status !== 204 && status !== 304 && { 'content-length': '0' }) });
  res.end();
}
