/** How a run of a container ended. Written once, when nothing of the run is alive any more. Times are epoch milliseconds. */
export type Outcome = {
  exitCode: number;
  /** The signal that ended it, as far as a shell can tell (exit code − 128). */
  signal?: number;
  reason: 'Completed' | 'Error' | 'OOMKilled' | 'ContainerCannotRun' | 'StartError' | 'ContainerStatusUnknown';
  message?: string;
  startedAtMs?: number;
  finishedAtMs: number;
};

/** It cannot be started as it is written, now and ever (kubelet: CreateContainerConfigError). */
export type Refusal = { reason: 'CreateContainerConfigError'; message: string; refusedAtMs: number };

/**
 * waiting   no process; entered at birth, after a launch that came to nothing (node died before `go`), and before a restart
 * running   the pid is written down and the shim was told to go, or an earlier node did that
 * ended     outcome.json is written (or is still to be written, when the disk is full); never left, but by a sidecar's restart
 * refused   never left
 */
export type ContainerState =
  | { is: 'waiting' }
  | { is: 'running'; startedAtMs: number }
  | { is: 'ended'; outcome: Outcome }
  | { is: 'refused'; refusal: Refusal };

/** `init` runs to its end before the next starts; `sidecar` is an init container with restartPolicy Always. */
export type ContainerKind = 'init' | 'sidecar' | 'main';

/** What plan and status see of a container. */
export type ContainerView = {
  name: string;
  kind: ContainerKind;
  image: string;
  state: ContainerState;
  /** Runs before this one (sidecars only). */
  restarts: number;
  lastOutcome?: Outcome;
  /** The strongest signal this node has sent to this run. */
  signalled?: 'SIGTERM' | 'SIGKILL';
};

/** What plan and status see of a pod. */
export type PodView = {
  nowMs: number;
  createdAtMs: number;
  /** It was found that there is no slot for it. */
  blocked: boolean;
  /** When it got its slot. */
  admittedAtMs?: number;
  /** When, at the latest, it shall be gone: it is being deleted. */
  deletion?: { killAtMs: number };
  /** spec.terminationGracePeriodSeconds: patience with sidecars after the work is done. */
  gracePeriodMs: number;
  /** spec.activeDeadlineSeconds after admission. */
  deadlineAtMs?: number;
  /** The deadline came before the end of the work, and that is written down. */
  expired: boolean;
  /** Init containers and sidecars in order, then the main containers. */
  containers: ContainerView[];
};
