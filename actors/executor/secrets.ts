import { createHash } from 'node:crypto';
import type { V1EnvVar, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { type Secret, Secret_MountType } from '../../proto/gen/flyteidl2/core/security_pb.js';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

/** Who asks: a secret is looked up for the project and domain first, then for the domain, then for the installation. */
export interface SecretScope {
  readonly org: string;
  readonly project: string;
  readonly domain: string;
}

/** What a container needs so that its secrets are there when it starts. Never a value: those stay out of pod specs. */
export interface SecretReferences {
  readonly env: V1EnvVar[];
  readonly volumes: V1Volume[];
  readonly mounts: V1VolumeMount[];
}

/** Folder of file secrets; the SDK reads `<folder>/<group>/<key>` (sdk.md §5.8). */
const SECRETS_FOLDER = '/etc/flyte/secrets';

/** The identifier a secret is stored under (executor.md 8.3); the key of the Kubernetes Secret that holds its value. */
export function secretId(scope: SecretScope, key: string): string {
  return `u__org__${scope.org}__domain__${scope.domain}__project__${scope.project}__key__${key}`;
}

/** Name of the Kubernetes Secret of an identifier: its MD5, because identifiers are not DNS names (executor.md 8.3). */
export function secretObjectName(id: string): string {
  return createHash('md5').update(id).digest('hex');
}

/**
 * References to the secrets of a task: as variables (`env_var`, else `_UNION_<KEY>`) or as files.
 * @throws TaskRefused for a secret without a key or with an unknown mount type
 */
export function secretReferences(secrets: readonly Secret[], scope: SecretScope): SecretReferences {
  const env: V1EnvVar[] = [];
  const volumes: V1Volume[] = [];
  const mounts: V1VolumeMount[] = [];
  for (const [index, secret] of secrets.entries()) {
    if (secret.key === '') throw new TaskRefused(BAD_TASK, `secret ${index} of the task has no key; name the secret`);
    const id = secretId(scope, secret.key);
    const name = secretObjectName(id);
    switch (secret.mountRequirement) {
      case Secret_MountType.ANY:
      case Secret_MountType.ENV_VAR: {
        const variable = secret.envVar === '' ? `_UNION_${secret.key.toUpperCase()}` : secret.envVar;
        env.push({ name: variable, valueFrom: { secretKeyRef: { name, key: id, optional: false } } });
        break;
      }
      case Secret_MountType.FILE: {
        const volume = `flyte-secret-${index}`;
        const path = [SECRETS_FOLDER, ...(secret.group === '' ? [] : [secret.group]), secret.key].join('/');
        volumes.push({ name: volume, secret: { secretName: name, items: [{ key: id, path: secret.key }] } });
        mounts.push({ name: volume, mountPath: path, subPath: secret.key, readOnly: true });
        if (secret.envVar !== '') env.push({ name: secret.envVar, value: path });
        break;
      }
      default:
        throw new TaskRefused(
          BAD_TASK,
          `secret '${secret.key}' asks for mount type ${secret.mountRequirement}; use a variable or a file`,
        );
    }
  }
  return { env, volumes, mounts };
}
