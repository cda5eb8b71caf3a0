import { randomUUID } from 'node:crypto';
import type { V1Pod } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { type LogLine, type LogOptions, type PodEvent, PodNotFoundError, type PodRuntime } from '../pod-runtime.ts';
import { Admission } from './admission.ts';
import { watchMemory } from './memory-watch.ts';
import { PodStore } from './pod-store.ts';
import { validatePod } from './pod-validation.ts';
import { type PodHost, ProcessPod } from './process-pod.ts';
import { spawnShim } from './shim.ts';
import type { WarmPython } from './warm/warm-python.ts';

export type ProcessPodRuntimeOptions = {
  /** Directory of the pods; created by `start`. One runtime at a time may use it. */
  dir: string;
  log: Logger;
  /** Pods that may run at once (those that only wait for children not counted). */
  slots: number;
  /** The environment from which the allow-listed variables are handed on; the server's own will do. */
  baseEnv: Record<string, string | undefined>;
  /** Put in front of every container's PATH. */
  binDirs: string[];
  /** Priority of the payloads as of nice(1), 0 to 19. CPU limits become nothing else on this runtime. */
  niceness: number;
  /** Value of a key of a secret, or undefined when there is none. */
  resolveSecret: (name: string, key: string) => Promise<string | undefined>;
  /** Which of these running pods only wait for their children just now. Asked when slots are short, at least every 500 ms. */
  idlePods: (names: string[]) => Promise<Set<string>>;
  /** Starts containers that it can start faster; it is begun and stopped by whoever made it, stopped after this runtime. */
  warm?: Pick<WarmPython, 'start'>;
};

/** Where a look at the processes costs a process of its own (everywhere but on Linux), it is taken less often. */
const pulseMs = process.platform === 'linux' ? 250 : 1000;

/**
 * Runs pods as child processes of this machine: a small kubelet and scheduler in one.
 *
 * What differs from a real one, by the nature of the thing: there is no image (the command runs in the environment of the
 * server, with `binDirs` in front), no file system of its own (container paths are mapped in command line and environment,
 * container-command.ts), no network of its own, CPU limits are not enforced (payloads run at a lower priority than the node),
 * memory limits are enforced by looking every 250 ms rather than by the kernel, restartPolicy is always Never for the main containers, and probes are not run.
 *
 * If this process dies, every payload goes on under its shim (shim.ts); the next runtime on the same directory adopts it. An
 * object lives from one `start` to one `stop`.
 */
export class ProcessPodRuntime implements PodRuntime {
  private readonly options: ProcessPodRuntimeOptions;
  private readonly store: PodStore;
  private readonly admission: Admission;
  private readonly host: PodHost;
  private readonly pods = new Map<string, ProcessPod>();
  private readonly listeners = new Set<(event: PodEvent) => void>();
  private sequence = 0;
  private pulse: NodeJS.Timeout | undefined;
  private beating: Promise<void> | undefined;
  private stopped = false;

  constructor(options: ProcessPodRuntimeOptions) {
    this.options = options;
    const { dir, log, slots, baseEnv, binDirs, niceness } = options;
    this.store = new PodStore(dir, log);
    this.host = {
      store: this.store,
      log,
      baseEnv,
      binDirs,
      niceness,
      startShim: async shim => (await options.warm?.start(shim)) ?? spawnShim(shim),
      resolveSecret: options.resolveSecret,
      queueMessage: `waiting for a process slot: ${slots} of ${slots} in use`,
      onChange: pod => {
        this.emit({ type: 'modified', pod: pod.snapshot() });
        if (!pod.holdsSlot) this.admission.poke();
      },
      onRemoved: pod => {
        this.pods.delete(pod.name);
        this.emit({ type: 'deleted', pod: pod.snapshot() });
        this.admission.poke();
      },
    };
    this.admission = new Admission({
      slots,
      waiting: () => [...this.pods.values()].filter(pod => pod.waiting),
      holders: () => [...this.pods.values()].filter(pod => pod.holdsSlot).map(({ name }) => name),
      idlePods: options.idlePods,
      admit: async name => this.pods.get(name)?.admit(),
      onBlocked: name => this.pods.get(name)?.block(),
      onError: error => log.error({ err: error }, 'admission of pods failed and is tried again'),
    });
  }

  async start(): Promise<void> {
    const stored = (await this.store.load()).map(one => new ProcessPod(one, this.host));
    for (const pod of await Promise.all(stored.map(pod => this.loaded(pod)))) {
      if (!pod) continue;
      this.sequence = Math.max(this.sequence, pod.sequence);
      this.pods.set(pod.name, pod);
      this.emit({ type: 'added', pod: pod.snapshot() });
    }
    for (const pod of this.pods.values()) pod.poke();
    this.admission.poke();
    this.pulse = setInterval(() => {
      this.beating ??= this.beat().finally(() => {
        this.beating = undefined;
      });
    }, pulseMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.pulse);
    await this.admission.stop();
    await this.beating;
    await Promise.all([...this.pods.values()].map(pod => pod.stop()));
    this.listeners.clear();
  }

  async create(pod: V1Pod): Promise<'created' | 'exists'> {
    validatePod(pod);
    const name = pod.metadata!.name!;
    if (this.pods.has(name)) return 'exists';
    const copy = structuredClone(pod);
    delete copy.status;
    copy.metadata = { namespace: 'default', ...copy.metadata, uid: randomUUID(), creationTimestamp: new Date() };
    this.sequence += 1;
    const stored = { sequence: this.sequence, pod: copy };
    const result = await this.store.add(stored);
    if (result === 'exists' || this.stopped) return result;
    const created = new ProcessPod(stored, this.host);
    this.pods.set(name, created);
    this.emit({ type: 'added', pod: created.snapshot() });
    this.admission.poke();
    return result;
  }

  async delete(name: string, options: { gracePeriodSeconds: number }): Promise<void> {
    await this.pods.get(name)?.requestDeletion(Math.max(0, options.gracePeriodSeconds));
  }

  async get(name: string): Promise<V1Pod | undefined> {
    return this.pods.get(name)?.snapshot();
  }

  async list(): Promise<V1Pod[]> {
    return [...this.pods.values()].map(pod => pod.snapshot());
  }

  watch(listener: (event: PodEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async *logs(name: string, containerName: string, options: LogOptions): AsyncIterable<LogLine> {
    const pod = this.pods.get(name);
    if (!pod)
      throw new PodNotFoundError(`there is no pod ${JSON.stringify(name)}; its log went with it, if there was one`);
    const container = pod.container(containerName);
    if (!container) {
      const known = pod.containers.map(({ name }) => name).join(', ');
      throw new PodNotFoundError(`pod ${name} has no container ${JSON.stringify(containerName)}; it has: ${known}`);
    }
    const { fromByte = 0, follow, signal } = options;
    yield* container.log.read({ fromByte, follow, signal, ended: () => pod.logEnded(container) });
  }

  /** Looks for room again: call it when a pod has begun to wait for its children. */
  readmit(): void {
    this.admission.poke();
  }

  /** A pod that cannot be loaded must not keep the others from being adopted (I8); its directory is left for a person. */
  private loaded(pod: ProcessPod): Promise<ProcessPod | undefined> {
    return pod.load().then(
      () => pod,
      error => {
        this.options.log.error({ err: error, pod: pod.name }, 'pod could not be adopted and is left alone');
        return undefined;
      },
    );
  }

  /** What no event tells: growth of logs, use of memory, and the end of processes that an earlier node has forked. */
  private async beat(): Promise<void> {
    try {
      const running = [...this.pods.values()].flatMap(pod =>
        pod.containers.filter(container => container.running).map(container => ({ pod, container })),
      );
      for (const { pod, container } of running) {
        container.log.noteGrowth();
        if (container.adopted) pod.poke();
      }
      await watchMemory(running.map(({ container }) => container));
    } catch (error) {
      this.options.log.error({ err: error }, 'a look at the running containers failed and is tried again');
    }
  }

  /** A listener that throws is its own affair: it must not stop the pod it was told about (I8). */
  private emit(event: PodEvent): void {
    for (const listener of this.listeners) {
      try {
        listener(event);
      } catch (error) {
        this.options.log.error({ err: error, pod: event.pod.metadata?.name }, 'a listener of pod events failed');
      }
    }
  }
}
