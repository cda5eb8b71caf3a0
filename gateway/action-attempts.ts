import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Attempt, AttemptEvent } from '../actors/action/attempt.ts';
import type { Failure } from '../actors/action/failure.ts';
import { isTerminal } from '../actors/action/phase.ts';
import type { LogContextSchema } from '../proto/gen/flyteidl2/core/execution_pb.js';
import {
  type ActionAttemptSchema,
  type ClusterEventSchema,
  ErrorInfo_Kind,
  type ErrorInfoSchema,
  type PhaseTransitionSchema,
} from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';

/** One attempt as details show it; element i of the list is attempt i + 1 (sdk.md §3.4). */
export function actionAttempt(attempt: Attempt): MessageInitShape<typeof ActionAttemptSchema> {
  const first = attempt.phases[0];
  const last = attempt.phases.at(-1);
  const logContext = attemptLogContext(attempt);
  return {
    attempt: attempt.attempt,
    phase: last?.phase ?? 0,
    cacheStatus: attempt.cacheStatus ?? 0,
    phaseTransitions: transitions(attempt),
    clusterEvents: (attempt.events ?? []).map(clusterEvent),
    logsAvailable: logsAvailable(attempt),
    ...(first && { startTime: time(first.at) }),
    ...(attempt.endedAt && { endTime: time(attempt.endedAt) }),
    ...(attempt.failure && { errorInfo: errorInfo(attempt.failure) }),
    ...(logContext && { logContext }),
    ...(attempt.outputUri && {
      outputs: {
        outputUri: outputsUri(attempt.outputUri),
        reportUri: attempt.hasReport ? reportUri(attempt.outputUri) : '',
      },
    }),
  };
}

/** True once lines can be read: the pod is there, or its log was kept. */
export function logsAvailable(attempt: Attempt): boolean {
  return attempt.logUri !== undefined || attempt.pod?.startedAt !== undefined;
}

/** Pod and container of an attempt; undefined before there is a pod. */
export function attemptLogContext(attempt: Attempt): MessageInitShape<typeof LogContextSchema> | undefined {
  const { pod } = attempt;
  if (pod === undefined) return undefined;
  const process = {
    ...(pod.startedAt && { containerStartTime: time(pod.startedAt) }),
    ...(attempt.endedAt && { containerEndTime: time(attempt.endedAt) }),
  };
  return {
    primaryPodName: pod.name,
    pods: [
      {
        podName: pod.name,
        primaryContainerName: pod.container,
        containers: [{ containerName: pod.container, process }],
      },
    ],
  };
}

export function errorInfo(failure: Failure): MessageInitShape<typeof ErrorInfoSchema> {
  return { message: failure.message, code: failure.code, kind: kinds[failure.kind] ?? ErrorInfo_Kind.UNSPECIFIED };
}

export function clusterEvent(event: AttemptEvent): MessageInitShape<typeof ClusterEventSchema> {
  return { occurredAt: time(event.at), reason: event.reason, message: event.message };
}

/** Full path of the outputs of an attempt directory. */
export function outputsUri(directory: string): string {
  return `${withoutSlash(directory)}/outputs.pb`;
}

/** Full path of the report of an attempt directory. */
export function reportUri(directory: string): string {
  return `${withoutSlash(directory)}/report.html`;
}

const kinds: Readonly<Record<Failure['kind'], ErrorInfo_Kind>> = {
  USER: ErrorInfo_Kind.USER,
  SYSTEM: ErrorInfo_Kind.SYSTEM,
  UNKNOWN: ErrorInfo_Kind.UNSPECIFIED,
};

/** A phase ends when the next begins; a terminal one ends at once (runs.md 3.6). */
function transitions({ phases, endedAt }: Attempt): MessageInitShape<typeof PhaseTransitionSchema>[] {
  return phases.map(({ phase, at }, index) => {
    const end = isTerminal(phase) ? at : (phases[index + 1]?.at ?? endedAt);
    return { phase, startTime: time(at), ...(end && { endTime: time(end) }) };
  });
}

function time(iso: string): Timestamp {
  return timestampFromDate(new Date(iso));
}

function withoutSlash(uri: string): string {
  return uri.replace(/\/+$/, '');
}
