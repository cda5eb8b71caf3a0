import { Counter, Histogram, type Registry } from 'prom-client';
import type { GatewayMetrics } from '../../gateway/transport/call.ts';

/** Counts and times finished RPCs; labels come from closed sets only. */
export function createRequestMetrics(registry: Registry): GatewayMetrics {
  const requests = new Counter({
    name: 'starling_gateway_requests_total',
    help: 'Finished RPCs',
    labelNames: ['service', 'method', 'protocol', 'code'] as const,
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'starling_gateway_request_seconds',
    help: 'Duration of RPCs; streams last as long as their watcher',
    labelNames: ['service', 'method'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  return {
    onRequest({ service, method, protocol, code, durationMs }) {
      requests.inc({ service, method, protocol, code });
      seconds.observe({ service, method }, durationMs / 1000);
    },
  };
}
