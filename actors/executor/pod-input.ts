import type { V1Toleration } from '@kubernetes/client-node';
import type { TaskTemplate } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import type { Inputs } from '../../proto/gen/flyteidl2/task/common_pb.js';
import type { RunSpec } from '../../proto/gen/flyteidl2/task/run_pb.js';
import type { AttemptPlan } from './messages.ts';
import type { AttemptIdentity, AttemptPaths } from './paths.ts';
import type { DefaultResources } from './resources.ts';

/** All that decides how the pod of one incarnation looks. */
export interface PodInput {
  readonly identity: AttemptIdentity;
  readonly plan: AttemptPlan;
  readonly template: TaskTemplate;
  readonly runSpec: RunSpec;
  readonly paths: AttemptPaths;
  /** The checkpoint to go on from; undefined: there is none. */
  readonly previousCheckpointUri?: string;
  /** Values of the inputs, when the command line mentions them (`mentionsInputs`). */
  readonly inputs?: Inputs;
}

/** How pods reach the object store; the SDK reads these as FLYTE_AWS_* (sdk.md §6.2). */
export interface StoreAccess {
  /** `http://host:port`; absent: AWS itself. */
  readonly endpoint?: string;
  /** Absent: the pod's own identity. */
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly region?: string;
}

/** What every pod of an installation has in common. */
export interface PodSettings {
  readonly namespace: string;
  /** `_U_ORG_NAME` of pods; never empty, the SDK insists on one. */
  readonly org: string;
  /** How pods reach the gateway: `host:port` or a URL. */
  readonly gateway: { readonly endpoint: string; readonly insecure: boolean };
  readonly store: StoreAccess;
  readonly defaultResources: DefaultResources;
  readonly serviceAccount?: string;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  /** More variables for every pod; weaker than the task's and the run's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where interruptible pods may go. */
  readonly interruptible?: {
    readonly tolerations?: readonly V1Toleration[];
    readonly nodeSelector?: Readonly<Record<string, string>>;
  };
  /** The program that brings the inputs of raw containers and takes their outputs. */
  readonly copilot: {
    readonly image: string;
    /** How to start it, without its arguments. */
    readonly command: readonly string[];
  };
}
