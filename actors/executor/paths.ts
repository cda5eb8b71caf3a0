import type { AttemptPlan } from './messages.ts';

/** Whose attempt it is; the incarnation counts the pods of one attempt from 1. */
export interface AttemptIdentity {
  readonly runId: number;
  readonly project: string;
  readonly domain: string;
  readonly run: string;
  readonly action: string;
  readonly attempt: number;
  readonly incarnation: number;
}

/** Where one incarnation of an attempt keeps its things. Folders have no trailing slash. */
export interface AttemptPaths {
  /** outputs.pb, error.pb, report.html. A later incarnation has its own folder: it must not meet files of a dead pod. */
  readonly outputUri: string;
  /** Files, directories and data frames of the user's code; unique per incarnation. */
  readonly rawDataUri: string;
  /** One object, shared by the incarnations of an attempt: an evicted pod's successor goes on where it was. */
  readonly checkpointUri: string;
  /** Logs of the containers after the pod is gone. */
  readonly logsUri: string;
}

const SHARD_LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * Two letters that spread the actions of an installation over the key space of a store: FNV-1a-32 of
 * `flyte/<run>-<action>` modulo 1296 (runs.md 1.1). The same for every attempt of an action.
 */
export function shardOf(run: string, action: string): string {
  let hash = FNV_OFFSET;
  for (const byte of Buffer.from(`flyte/${run}-${action}`)) hash = Math.imul(hash ^ byte, FNV_PRIME) >>> 0;
  const index = hash % SHARD_LETTERS.length ** 2;
  return `${SHARD_LETTERS[Math.floor(index / SHARD_LETTERS.length)]}${SHARD_LETTERS[index % SHARD_LETTERS.length]}`;
}

/**
 * The folder of an attempt: the run's output base with the shard right behind the bucket, then action and attempt
 * (runs.md 1.1). Same for all its incarnations.
 * @throws RangeError when `outputBase` is no object store URI
 */
export function attemptPrefix(outputBase: string, run: string, action: string, attempt: number): string {
  const match = /^([a-z][a-z0-9+.-]*:\/\/[^/]+)\/*(.*)$/.exec(outputBase);
  if (match === null) {
    throw new RangeError(
      `output base '${outputBase}' of run ${run} is no object store URI: expected s3://bucket/folder/`,
    );
  }
  const folder = match[2]!.replace(/\/+$/, '');
  return [match[1], shardOf(run, action), ...(folder === '' ? [] : [folder]), action, attempt].join('/');
}

/** All paths of one incarnation. */
export function attemptPaths(
  identity: AttemptIdentity,
  plan: Pick<AttemptPlan, 'outputBase' | 'rawDataPrefix'>,
): AttemptPaths {
  const { project, domain, run, action, attempt, incarnation } = identity;
  const prefix = attemptPrefix(plan.outputBase, run, action, attempt);
  const outputUri = incarnation === 1 ? prefix : `${prefix}/incarnation-${incarnation}`;
  // A prefix of the user's own stays a prefix of what is written there, so the shard comes behind it.
  const raw = plan.rawDataPrefix.replace(/\/+$/, '');
  const shard = shardOf(run, action);
  return {
    outputUri,
    rawDataUri:
      raw === '' ? `${outputUri}/data` : [raw, shard, project, domain, run, action, attempt, incarnation].join('/'),
    checkpointUri: `${prefix}/_flytecheckpoints`,
    logsUri: `${outputUri}/logs`,
  };
}

/** Where an earlier attempt of the same action kept its checkpoint. */
export function checkpointOf(outputBase: string, run: string, action: string, attempt: number): string {
  return `${attemptPrefix(outputBase, run, action, attempt)}/_flytecheckpoints`;
}
