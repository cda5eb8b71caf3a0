import { EventEmitter, on } from 'node:events';
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status,
} from '../../proto/gen/grpc/health/v1/health_pb.js';
import { notFound } from '../errors.ts';
import { implement, type ServiceImplementation } from './handler.ts';

export interface HealthService {
  readonly implementation: ServiceImplementation;
  /** What every check answers from now on; watchers hear of it. */
  setServing(serving: boolean): void;
}

/**
 * grpc.health.v1 for load balancers and meshes. All services live and die together, so there is one status: a check of any known
 * service, or of the empty name, answers the same.
 */
export function createHealthService(serviceNames: readonly string[]): HealthService {
  const known = new Set(['', Health.typeName, ...serviceNames]);
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  let status = Status.SERVING;
  const implementation = implement(Health, {
    async check({ service }) {
      if (!known.has(service)) throw notFound('service', service);
      return { status };
    },
    async list() {
      const one: Pick<HealthCheckResponse, 'status'> = { status };
      return { statuses: Object.fromEntries([...known].map(name => [name, one])) };
    },
    async *watch({ service }, { signal }) {
      if (!known.has(service)) {
        yield { status: Status.SERVICE_UNKNOWN };
        await new Promise(resolve => signal.addEventListener('abort', resolve));
        return;
      }
      const changed = on(changes, 'change', { signal });
      yield { status };
      for await (const _ of changed) yield { status };
    },
  });
  return {
    implementation,
    setServing(serving) {
      status = serving ? Status.SERVING : Status.NOT_SERVING;
      changes.emit('change');
    },
  };
}
