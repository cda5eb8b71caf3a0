import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What one node's runtime counts. Labels are kinds, never keys. */
export interface RuntimeMetrics {
  readonly joined: Counter<'kind'>;
  readonly letters: Counter<'kind'>;
  readonly drainSeconds: Histogram<'kind'>;
  readonly drainKeys: Histogram<'kind'>;
  readonly rings: Counter<'kind'>;
  readonly lostRings: Counter;
  readonly swept: Counter<'kind'>;
  readonly failures: Counter<'kind'>;
  readonly parkings: Counter<'kind'>;
  readonly effects: Counter<'kind' | 'outcome'>;
  readonly live: Gauge<'kind'>;
  readonly timers: Gauge<'kind'>;
}

export function createRuntimeMetrics(registry: Registry): RuntimeMetrics {
  const kind = ['kind'] as const;
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames: kind, registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames: kind, registers });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, labelNames: kind, buckets, registers });
  return {
    joined: counter('starling_actors_wakes_total', 'Actors that joined a drain'),
    letters: counter('starling_actors_letters_total', 'Letters handled'),
    drainSeconds: histogram('starling_actors_drain_seconds', 'From the first read of a drain to its commit', [
      ...[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10],
    ]),
    drainKeys: histogram('starling_actors_drain_keys', 'Actors per drain', [1, 2, 4, 8, 16, 32, 64, 128]),
    rings: counter('starling_actors_rings_total', 'Wakes sent to the queue store'),
    lostRings: new Counter({
      name: 'starling_actors_rings_lost_total',
      help: 'Wakes the queue store did not take; the actors were woken by other means',
      registers,
    }),
    swept: counter('starling_actors_swept_total', 'Actors the sweeper found overdue'),
    failures: counter('starling_actors_failures_total', 'Failed decisions'),
    parkings: counter('starling_actors_parkings_total', 'Actors parked'),
    effects: new Counter({
      name: 'starling_actors_effects_total',
      help: 'Effects performed, by how they ended: done, failed',
      labelNames: ['kind', 'outcome'] as const,
      registers,
    }),
    live: gauge('starling_actors_live', 'Actors in memory'),
    timers: gauge('starling_actors_timers', 'Timers held'),
  };
}
