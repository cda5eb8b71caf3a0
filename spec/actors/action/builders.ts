/** Small states, facts and letters for the specs of the action machine: valid by default, one field changed per spec. */
import type { ActionState } from '../../../actors/action/action-state.ts';
import type { ActionFacts } from '../../../actors/action/facts.ts';
import type { Failure } from '../../../actors/action/failure.ts';
import type { AbortAction } from '../../../actors/action/messages.ts';
import { Phase } from '../../../actors/action/phase.ts';
import type { TaskPolicy } from '../../../actors/action/policy.ts';
import type { AttemptEnded, AttemptObserved, AttemptPhase, Outcome } from '../../../actors/executor/messages.ts';

export const noon = new Date('2026-11-24T12:00:00.000Z');
export const settings = { graceSeconds: 7 };

/** `ms` after noon. */
export function at(ms: number): Date {
  return new Date(noon.getTime() + ms);
}

export function anAction(fields: Partial<ActionState> = {}): ActionState {
  return {
    key: '7.a0',
    version: 1,
    wakeAt: noon,
    runId: 7,
    name: 'a0',
    parent: null,
    depth: 0,
    hasChildren: false,
    type: 1,
    stage: 'new',
    phase: Phase.queued,
    attempt: 1,
    specDigest: 'digest',
    taskType: 'python',
    inputUri: 's3://flyte/inputs/inputs.pb',
    cacheKey: null,
    cacheStatus: 0,
    outputUri: null,
    failure: null,
    hasValue: false,
    abort: null,
    recoveredFrom: null,
    attempts: [],
    machine: {},
    createdAt: noon,
    startedAt: null,
    endedAt: null,
    waitingFor: 'its first look',
    ...fields,
  };
}

export const aChild: Partial<ActionState> = { key: '7.c1', name: 'c1', parent: 'a0', depth: 1 };

export function aPolicy(fields: Partial<TaskPolicy> = {}): TaskPolicy {
  return {
    taskType: 'python',
    retries: 0,
    backoff: null,
    maxRuntimeMs: null,
    queuedTimeoutMs: null,
    deadlineMs: null,
    cacheable: false,
    cacheSerializable: false,
    cacheMaxAgeMs: null,
    ...fields,
  };
}

export function facts(fields: Partial<ActionFacts> = {}): ActionFacts {
  return {
    run: {
      id: 7,
      project: 'flytesnacks',
      domain: 'development',
      name: 'rabc',
      outputBase: 's3://flyte/flytesnacks/development/rabc/',
      rawDataPrefix: 's3://flyte/raw',
      startedAtMs: noon.getTime(),
      overwriteCache: false,
      cacheScope: 'global',
      recover: null,
    },
    policy: aPolicy(),
    ...fields,
  };
}

export function observed(
  phase: AttemptPhase,
  fields: { attempt?: number; at?: Date; reason?: string } = {},
): AttemptObserved {
  return {
    type: 'attempt-observed',
    attempt: fields.attempt ?? 1,
    observation: {
      phase,
      reason: fields.reason ?? `it is ${phase}`,
      atMs: (fields.at ?? noon).getTime(),
      incarnation: 1,
      outputUri: `s3://flyte/out/${fields.attempt ?? 1}`,
    },
  };
}

export function ended(
  outcome: { status: 'succeeded' } | { status: 'failed'; failure: Failure } | { status: 'terminated'; reason: string },
  fields: { attempt?: number; at?: Date } = {},
): AttemptEnded {
  const attempt = fields.attempt ?? 1;
  const common = { atMs: (fields.at ?? noon).getTime(), incarnation: 1, hasReport: false, logs: [] };
  return {
    type: 'attempt-ended',
    attempt,
    outcome: { ...common, outputUri: `s3://flyte/out/${attempt}`, ...outcome } as Outcome,
  };
}

export function failure(fields: Partial<Failure> = {}): Failure {
  return { code: 'ValueError', kind: 'USER', message: 'no', recoverable: true, ...fields };
}

export function abort(fields: Partial<AbortAction> = {}): AbortAction {
  return {
    type: 'abort',
    reason: 'changed my mind',
    by: { user: { id: { subject: 'ada' } } },
    notifyParent: false,
    ...fields,
  };
}
