import type { V1Pod } from '@kubernetes/client-node';

/**
 * Annotation that carries how deep an action sits under its root (an integer in decimal, root = 0). A runtime with fewer
 * slots than pods starts deeper pods first, so that children never wait behind new parents.
 */
export const DEPTH_ANNOTATION = 'starling.dev/depth';

/**
 * Environment variable that the process runtime adds to every process of a pod; its value is the pod's uid. It is how
 * processes that left their process group and session are still found when the pod is deleted.
 */
export const POD_UID_VARIABLE = 'STARLING_POD_UID';

/** What happened to a pod. `pod` carries the status at that moment; for `deleted`, the last status it had. */
export type PodEvent = { type: 'added' | 'modified' | 'deleted'; pod: V1Pod };

/** One line of a container's output (stdout and stderr in the order they were written). */
export type LogLine = {
  /** When the line was written, as exactly as the runtime knows (process runtime: about 250 ms). */
  timestamp: Date;
  /** The line without its newline. Bytes that are not UTF-8 are replaced by U+FFFD. */
  text: string;
  /** Byte offset just behind this line: pass it as `fromByte` to go on from here. */
  nextByte: number;
};

export type LogOptions = {
  /** First byte to read; 0 or the `nextByte` of a line seen before. Default 0. */
  fromByte?: number;
  /** Keep the stream open until the container has ended and its output is read out. */
  follow: boolean;
  /** Ends the stream early, without an error. */
  signal?: AbortSignal;
};

/**
 * Runs Pod objects (design §5). The executor is the only caller. Implementations: process (child processes of this
 * machine) and kubernetes. A pod is named for its incarnation, so a name is never used for two different pods.
 */
export interface PodRuntime {
  /**
   * Takes over responsibility for a pod. It is durable when this returns; it may still wait for room.
   * Idempotent by `metadata.name`: `exists` when a pod of that name is there (also while it is being deleted).
   * Throws {@link InvalidPodError} for a pod that can never run, {@link PodStoreError} when it cannot be kept.
   */
  create(pod: V1Pod): Promise<'created' | 'exists'>;
  /**
   * Asks for the end of a pod: SIGTERM, then SIGKILL after the grace period, then it disappears with a `deleted` event.
   * Returns when the request is durable. Idempotent; an unknown name is not an error. A second call may shorten the grace
   * period, never lengthen it.
   */
  delete(name: string, options: { gracePeriodSeconds: number }): Promise<void>;
  /** The pod with its current status, or undefined when there is none of that name. */
  get(name: string): Promise<V1Pod | undefined>;
  /** All pods with their current status, in order of creation. */
  list(): Promise<V1Pod[]>;
  /**
   * Tells of every change from now on; what is there already is told by {@link list} (watch first, then list, and nothing
   * is missed). Pods found again by {@link start} are told as `added`. Returns the function that ends the watch.
   */
  watch(listener: (event: PodEvent) => void): () => void;
  /**
   * Lines of one container's log. The logs live as long as the pod. Throws {@link PodNotFoundError} for an unknown pod or
   * container.
   */
  logs(name: string, container: string, options: LogOptions): AsyncIterable<LogLine>;
  /** Finds the pods of an earlier life again and starts to work. */
  start(): Promise<void>;
  /** Stops to work. The pods go on; the next {@link start} adopts them. */
  stop(): Promise<void>;
}

/** A Pod object this runtime can never run; the message names the field, the value and the remedy. */
export class InvalidPodError extends Error {
  override readonly name = 'InvalidPodError';
}

/** There is no such pod, or no such container in it. */
export class PodNotFoundError extends Error {
  override readonly name = 'PodNotFoundError';
}

/** The pod could not be kept (disk full, directory gone or not writable); the message names the path and the remedy. */
export class PodStoreError extends Error {
  override readonly name = 'PodStoreError';
  readonly path: string;
  readonly code: string | undefined;

  constructor(message: string, path: string, cause: unknown) {
    super(message, { cause });
    this.path = path;
    this.code = (cause as NodeJS.ErrnoException | undefined)?.code;
  }
}
