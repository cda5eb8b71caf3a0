import { isDatabaseUnavailable } from '../db/pool.ts';
import { ObjectStoreError } from '../storage/object-errors.ts';
import { Code, StarlingError, unavailable } from './errors.ts';
import { type AnyHandler, type ServiceImplementation, wrapHandlers } from './transport/handler.ts';

/**
 * The same service, whose handlers fail typed when what they depend on fails: a database or a store that is away is `unavailable`, which
 * clients answer by trying again; a store that is full is `resource_exhausted`. Their own errors pass.
 */
export function withDependencyErrors(service: ServiceImplementation): ServiceImplementation {
  return wrapHandlers(service, typed);
}

function typed(handler: AnyHandler): AnyHandler {
  if (handler.kind === 'unary') {
    const { run } = handler;
    return {
      kind: 'unary',
      async run(request, context) {
        try {
          return await run(request, context);
        } catch (error) {
          throw translate(error);
        }
      },
    };
  }
  if (handler.kind === 'server_streaming') {
    const { run } = handler;
    return { kind: 'server_streaming', run: (request, context) => typedStream(run(request, context)) };
  }
  const { run } = handler;
  return { kind: 'bidi_streaming', run: (requests, context) => typedStream(run(requests, context)) };
}

async function* typedStream<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): unknown {
  if (isDatabaseUnavailable(error)) return unavailable('the database cannot be reached now: try again', error);
  if (!(error instanceof ObjectStoreError)) return error;
  switch (error.code) {
    // Final, because the same call fails until somebody made room; only the SDK's Enqueue would wait, and it writes no object.
    case 'full':
      return new StarlingError(Code.ResourceExhausted, error.message, { cause: error });
    case 'unavailable':
      return unavailable(`the object store cannot serve this now: ${error.message}`, error);
    case 'invalid-uri':
    case 'invalid-argument':
      return new StarlingError(Code.InvalidArgument, error.message, { cause: error });
    case 'not-found':
      return new StarlingError(Code.NotFound, error.message, { cause: error });
    default:
      return error;
  }
}
