import { ClusterService } from '../../proto/gen/flyteidl2/cluster/service_pb.js';
import { implement, type ServiceImplementation } from '../transport/handler.ts';

/**
 * Which endpoint serves an operation: always this one. An empty answer tells clients to go on with the connection they have, which is
 * right behind any proxy (sdk.md §3.1).
 * @param publicUrl set where clients need an absolute URL; scheme and host
 */
export function clusterService(publicUrl: string | undefined): ServiceImplementation {
  return implement(ClusterService, {
    selectCluster: async () => ({ clusterEndpoint: publicUrl ?? '' }),
  });
}
