import type { V1EnvVar } from '@kubernetes/client-node';
import type { KeyValuePair } from '../../proto/gen/flyteidl2/core/literals_pb.js';

/**
 * Variables by origin, from the weakest to the strongest. A name occurs once in the result (sdk-2.12.md #33), with the
 * value of the strongest origin, where the weakest had it: pods of the same task look the same.
 */
export interface EnvLayers {
  /** What the platform wishes, and anybody may change. */
  readonly defaults: readonly V1EnvVar[];
  /** The container's own, from the task template or pod spec. */
  readonly task: readonly V1EnvVar[];
  /** RunSpec.envs: for every pod of the run. */
  readonly run: readonly V1EnvVar[];
  /** Secrets asked for by the task. */
  readonly secrets: readonly V1EnvVar[];
  /** Identity, endpoints, object store: a user who could change them would only break their task. */
  readonly platform: readonly V1EnvVar[];
}

/**
 * One list out of the layers. Within one layer the later entry wins, as in Kubernetes. Names that no process can have
 * (empty, with `=` or NUL) are left out: they came from a client that never checked them and mean nothing.
 */
export function mergeEnv(layers: EnvLayers): V1EnvVar[] {
  const merged = new Map<string, V1EnvVar>();
  for (const layer of [layers.defaults, layers.task, layers.run, layers.secrets, layers.platform]) {
    for (const variable of layer) {
      if (/^[^=\0]+$/.test(variable.name)) merged.set(variable.name, variable);
    }
  }
  return [...merged.values()];
}

/** Key-value pairs of the contract as variables. */
export function envOf(pairs: readonly KeyValuePair[]): V1EnvVar[] {
  return pairs.map(({ key, value }) => ({ name: key, value }));
}

/** A record as variables. */
export function envFrom(values: Readonly<Record<string, string>>): V1EnvVar[] {
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}
