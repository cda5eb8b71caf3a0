import { badRequest, S3Error } from './s3-error.ts';

/** What a request line names, decoded once. `path` is the whole decoded path, prefix included: it is what the client signed. */
export interface Target {
  readonly path: string;
  readonly bucket: string;
  /** Empty for requests on the bucket. */
  readonly key: string;
  readonly query: ReadonlyArray<readonly [name: string, value: string]>;
}

/**
 * Splits `/<prefix>/<bucket>/<key>?query` by hand: a URL parser would resolve `..` before anybody could refuse it. Throws S3Error 400 for
 * broken escapes, 404 outside the prefix.
 */
export function parseTarget(url: string, pathPrefix: string): Target {
  const mark = url.indexOf('?');
  const path = decode(mark < 0 ? url : url.slice(0, mark), 'path');
  if (!path.startsWith(`${pathPrefix}/`)) throw new S3Error(404, 'NoSuchBucket', `S3 lives below ${pathPrefix}/ here`);
  const rest = path.slice(pathPrefix.length + 1);
  const slash = rest.indexOf('/');
  return {
    path,
    bucket: slash < 0 ? rest : rest.slice(0, slash),
    key: slash < 0 ? '' : rest.slice(slash + 1),
    query: mark < 0 ? [] : parseQuery(url.slice(mark + 1)),
  };
}

/** The first value of a query parameter. */
export const queryValue = ({ query }: Pick<Target, 'query'>, name: string): string | undefined =>
  query.find(([each]) => each === name)?.[1];

function parseQuery(text: string): Array<readonly [string, string]> {
  return text
    .split('&')
    .filter(pair => pair !== '')
    .map(pair => {
      const equals = pair.indexOf('=');
      const name = equals < 0 ? pair : pair.slice(0, equals);
      const value = equals < 0 ? '' : pair.slice(equals + 1);
      // Clients that write forms send a space as "+"; a literal plus always arrives as %2B.
      return [decode(name.replaceAll('+', ' '), 'query'), decode(value.replaceAll('+', ' '), 'query')] as const;
    });
}

function decode(text: string, where: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badRequest(`the ${where} of the URL is not percent-encoded UTF-8`);
  }
}
