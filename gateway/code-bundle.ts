import type { TaskTemplate } from '../proto/gen/flyteidl2/core/tasks_pb.js';
import { InvalidObjectUri } from '../storage/object-errors.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { failedPrecondition } from './errors.ts';

const BUNDLE_FLAGS = ['--tgz', '--pkl'];

/**
 * The URI of the code a task is run from: what its command line says, else its metadata (sdk-2.12.md 2.5). Undefined for code
 * that is part of the image.
 */
export function codeBundleUri(template: TaskTemplate | undefined): string | undefined {
  return fromArguments(argumentsOf(template)) ?? (template?.metadata?.codeBundleUri || undefined);
}

/**
 * Refuses to start what cannot run. Clients remember for a day where they uploaded a bundle, so one that is gone would fail every
 * run until somebody says why (sdk.md §4.2). Bundles that are not in our store are not looked for.
 * @throws StarlingError failed_precondition
 */
export async function requireCodeBundle(store: ObjectStore, template: TaskTemplate | undefined): Promise<void> {
  const uri = codeBundleUri(template);
  if (uri === undefined || (await isThere(store, uri))) return;
  throw failedPrecondition(
    `the code bundle ${uri} is gone from the object store: run \`flyte delete local-cache\`, then start again to upload it anew`,
  );
}

async function isThere(store: ObjectStore, uri: string): Promise<boolean> {
  try {
    return (await store.head(uri)) !== undefined;
  } catch (error) {
    if (error instanceof InvalidObjectUri) return true;
    throw error;
  }
}

function fromArguments(args: readonly string[]): string | undefined {
  for (const [index, arg] of args.entries()) {
    for (const flag of BUNDLE_FLAGS) {
      if (arg === flag) return args[index + 1];
      if (arg.startsWith(`${flag}=`)) return arg.slice(flag.length + 1);
    }
  }
  return undefined;
}

function argumentsOf(template: TaskTemplate | undefined): readonly string[] {
  const target = template?.target;
  if (target?.case === 'container') return target.value.args;
  if (target?.case !== 'k8sPod') return [];
  const { podSpec, primaryContainerName } = target.value;
  const containers = Array.isArray(podSpec?.containers) ? podSpec.containers : [];
  const primary = containers.find(it => isObject(it) && it.name === primaryContainerName) ?? containers[0];
  const args = isObject(primary) ? primary.args : undefined;
  return Array.isArray(args) ? args.filter(arg => typeof arg === 'string') : [];
}

function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
