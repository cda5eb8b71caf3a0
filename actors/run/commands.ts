/**
 * The doors of the engine: what the gateway may ask of runs and actions. Each is one transaction that writes rows and
 * letters; nothing here waits for the consequence. All text is already validated for form by the gateway.
 */
import type { IdentityJson } from './identity.ts';

/** Where a run or an action is: organisation is not part of it (runs.md 0.3). */
export interface RunPath {
  readonly project: string;
  readonly domain: string;
  readonly run: string;
}

export interface ActionPath extends RunPath {
  readonly action: string;
}

export interface CreateRun {
  readonly path: RunPath;
  /** True when the caller chose the name: then a taken name is an error, else another name is drawn. */
  readonly named: boolean;
  /** Digest over what makes two requests the same; the same name with the same fingerprint is the same run. */
  readonly fingerprint: string;
  /** Serialised flyteidl2.task.TaskSpec. */
  readonly taskSpec: Uint8Array;
  /** Task identity for display and filters; version may be empty for ad-hoc specs. */
  readonly task: { project: string; domain: string; name: string; version: string };
  /** Serialised flyteidl2.task.RunSpec, as it is to be returned by GetRunDetails. */
  readonly runSpec: Uint8Array;
  readonly source: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly trigger: { name: string; taskName: string; revision: number } | null;
  /** Full URI of the inputs blob, already written. */
  readonly inputUri: string;
  /** `<base>/<project>/<domain>/<run>/` with a trailing slash; `{run}` is replaced by the name finally drawn. */
  readonly outputBase: string;
  readonly rawDataPrefix: string;
  readonly cacheKey: string | null;
  readonly startTime: Date;
  readonly createdBy: IdentityJson | null;
}

export type CreateRunResult =
  | { readonly kind: 'created' | 'existed'; readonly runId: number; readonly name: string }
  | { readonly kind: 'name-taken' };

export interface EnqueueAction {
  readonly path: ActionPath;
  readonly parent: string;
  readonly group: string | null;
  /** Full URI of the inputs blob; a placeholder for conditions. */
  readonly inputUri: string;
  readonly spec:
    | {
        readonly kind: 'task';
        readonly taskSpec: Uint8Array;
        readonly task: { project: string; domain: string; name: string; version: string };
        readonly cacheKey: string | null;
      }
    | {
        readonly kind: 'trace';
        /** Serialised flyteidl2.task.TraceSpec, empty when absent. */
        readonly traceSpec: Uint8Array;
        readonly name: string;
        readonly phase: number;
        readonly startedAt: Date;
        readonly endedAt: Date | null;
        readonly outputUri: string;
      }
    | {
        readonly kind: 'condition';
        readonly name: string;
        /** Serialised flyteidl2.workflow.ConditionAction. */
        readonly condition: Uint8Array;
        readonly timeoutMs: number | null;
      };
}

export type EnqueueResult =
  | { readonly kind: 'accepted' }
  /** The same action exists already: the SDK takes it as success and follows the watch. */
  | { readonly kind: 'existed' }
  | { readonly kind: 'run-unknown' | 'parent-unknown' }
  /** The run or the parent is over or being aborted: the caller must stop (ABORTED). */
  | { readonly kind: 'parent-over'; readonly reason: string };

export interface AbortRequest {
  readonly reason: string;
  readonly by: IdentityJson | null;
}

export type SignalResult =
  | { readonly kind: 'accepted' | 'repeated' | 'unknown' | 'not-a-condition' | 'other-value' | 'over' }
  | { readonly kind: 'wrong-type'; readonly declared: string };

export interface RunDoor {
  createRun(command: CreateRun): Promise<CreateRunResult>;
  /** Idempotent; a finished run stays as it is. */
  abortRun(path: RunPath, request: AbortRequest): Promise<'accepted' | 'over' | 'unknown'>;
  /** Durable before it resolves; concurrent calls share one transaction. */
  enqueue(command: EnqueueAction): Promise<EnqueueResult>;
  abortAction(path: ActionPath, request: AbortRequest): Promise<'accepted' | 'over' | 'unknown'>;
  /** `value` is a serialised flyteidl2.core.Literal holding a primitive. */
  signal(path: ActionPath, value: Uint8Array, by: IdentityJson | null): Promise<SignalResult>;
}
