import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { V1Container, V1Pod, V1PodStatus } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { DEPTH_ANNOTATION, POD_UID_VARIABLE, type PodStoreError } from '../pod-runtime.ts';
import { containerCommand } from './container-command.ts';
import type { PodView } from './container-state.ts';
import { isTerminal, planPod } from './pod-plan.ts';
import { podStatus } from './pod-status.ts';
import type { Deletion, PodStore, StoredPod } from './pod-store.ts';
import { mountVolumes, workDirectory } from './pod-volumes.ts';
import { type Launch, ProcessContainer } from './process-container.ts';
import { processesWithVariable, sendSignal } from './process-table.ts';
import type { Shim, ShimOptions } from './shim.ts';

/** What a pod needs of its runtime. */
export type PodHost = {
  store: PodStore;
  log: Logger;
  baseEnv: Record<string, string | undefined>;
  binDirs: string[];
  niceness: number;
  startShim(options: ShimOptions): Promise<Shim>;
  resolveSecret(name: string, key: string): Promise<string | undefined>;
  /** Why a pod without a slot waits. */
  queueMessage: string;
  onChange(pod: ProcessPod): void;
  onRemoved(pod: ProcessPod): void;
};

const defaultGraceSeconds = 30;
/** How soon to look again for processes that a SIGKILL should have ended, or after a step that failed. */
const lookAgainMs = 50;
const retryMs = 1000;

/**
 * One pod on this machine. Its life is {@link planPod}; this class looks (refresh), asks the plan, acts, and tells of a
 * changed status, one pass at a time, and as often as it is poked. All it knows is on disk: after the death of the node the
 * next one builds the same object from the pod's directory and pokes it.
 */
export class ProcessPod {
  readonly name: string;
  readonly sequence: number;
  readonly depth: number;
  readonly containers: ProcessContainer[];
  private readonly pod: V1Pod;
  private readonly uid: string;
  private readonly host: PodHost;
  private readonly dir: string;
  private deletion: Deletion | undefined;
  private admittedAtMs: number | undefined;
  private expired = false;
  private blocked = false;
  private refusalTold = false;
  private status: V1PodStatus = {};
  private pass: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  private removed = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(stored: StoredPod, host: PodHost) {
    this.pod = stored.pod;
    this.sequence = stored.sequence;
    this.name = stored.pod.metadata!.name!;
    this.uid = stored.pod.metadata!.uid!;
    this.depth = Number(stored.pod.metadata!.annotations?.[DEPTH_ANNOTATION] ?? 0);
    this.host = host;
    this.dir = host.store.podDir(this.name);
    const make = (spec: V1Container, init: boolean) => {
      const kind = init ? (spec.restartPolicy === 'Always' ? 'sidecar' : 'init') : 'main';
      return new ProcessContainer(
        spec,
        kind,
        path.join(this.dir, 'containers', spec.name),
        () => this.poke(),
        options => host.startShim(options),
      );
    };
    this.containers = [
      ...(this.pod.spec!.initContainers ?? []).map(spec => make(spec, true)),
      ...this.pod.spec!.containers.map(spec => make(spec, false)),
    ];
    this.status = this.computeStatus();
  }

  /** Reads what an earlier node knew. */
  async load(): Promise<void> {
    this.admittedAtMs = await this.host.store.markedAtMs(this.name, 'admitted');
    this.expired = (await this.host.store.markedAtMs(this.name, 'expired')) !== undefined;
    this.deletion = await this.host.store.readDeletion(this.name);
    for (const container of this.containers) {
      await container.load();
      await container.refresh();
    }
    this.status = this.computeStatus();
  }

  /** The pod with its status; a new object each time the status changes. */
  snapshot(): V1Pod {
    const { deletion } = this;
    const metadata = deletion
      ? { ...this.pod.metadata, deletionTimestamp: new Date(deletion.killAtMs) }
      : this.pod.metadata!;
    return { ...this.pod, metadata, status: this.status };
  }

  get waiting(): boolean {
    return this.admittedAtMs === undefined && !this.deletion;
  }

  /** Has a slot, and its work is not over. */
  get holdsSlot(): boolean {
    return this.admittedAtMs !== undefined && !this.removed && !isTerminal(this.view());
  }

  container(name: string): ProcessContainer | undefined {
    return this.containers.find(container => container.name === name);
  }

  /** True when nothing more will be written to the log of a container. */
  logEnded(container: ProcessContainer): boolean {
    if (this.removed || this.stopped) return true;
    if (container.running) return false;
    return isTerminal(this.view()) || (container.kind !== 'sidecar' && container.view().state.is !== 'waiting');
  }

  /** There is no slot for it now: from here on its status says so. */
  block(): void {
    if (this.blocked || !this.waiting) return;
    this.blocked = true;
    this.poke();
  }

  async admit(): Promise<void> {
    if (!this.waiting) return;
    await this.host.store.mark(this.name, 'admitted');
    this.admittedAtMs = Date.now();
    this.poke();
  }

  /** See `PodRuntime.delete`. When the request cannot be written down it is carried out all the same, and then rethrown. */
  async requestDeletion(gracePeriodSeconds: number): Promise<void> {
    const killAtMs = Math.min(
      Date.now() + gracePeriodSeconds * 1000,
      this.deletion?.killAtMs ?? Number.MAX_SAFE_INTEGER,
    );
    if (killAtMs === this.deletion?.killAtMs) return;
    const earlier = this.deletion;
    const deletion = { killAtMs };
    try {
      if (!this.removed) await this.host.store.requestDeletion(this.name, deletion);
    } catch (error) {
      // An earlier request may just have been fulfilled: its directory is gone, and that is what was asked for.
      if (!(earlier && (error as PodStoreError).code === 'ENOENT')) throw error;
    } finally {
      this.deletion = deletion;
      if (!this.removed) this.host.onChange(this);
      this.poke();
    }
  }

  /** Something may have changed: look again, soon. */
  poke(): void {
    if (this.stopped || this.removed) return;
    this.again = true;
    this.pass ??= this.work().finally(() => {
      this.pass = undefined;
      if (this.again) this.poke();
    });
  }

  /** Ends all work on the pod after the current pass; its processes go on. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.pass;
  }

  private view(): PodView {
    const { metadata, spec } = this.pod;
    const { admittedAtMs, deletion } = this;
    const deadline = spec!.activeDeadlineSeconds;
    return {
      nowMs: Date.now(),
      createdAtMs: metadata!.creationTimestamp!.getTime(),
      gracePeriodMs: (spec!.terminationGracePeriodSeconds ?? defaultGraceSeconds) * 1000,
      expired: this.expired,
      blocked: this.blocked,
      containers: this.containers.map(container => container.view()),
      ...(admittedAtMs !== undefined && { admittedAtMs }),
      ...(deletion && { deletion }),
      ...(admittedAtMs !== undefined && deadline !== undefined && { deadlineAtMs: admittedAtMs + deadline * 1000 }),
    };
  }

  private computeStatus(): V1PodStatus {
    return podStatus(this.view(), this.uid, this.host.queueMessage, this.refusalTold);
  }

  private async work(): Promise<void> {
    while (this.again && !this.stopped && !this.removed) {
      this.again = false;
      clearTimeout(this.timer);
      try {
        await this.step();
      } catch (error) {
        this.host.log.error({ err: error, pod: this.name }, 'a step of a pod failed and is tried again');
        this.wakeAt(Date.now() + retryMs);
      }
    }
  }

  private async step(): Promise<void> {
    let unsettled = false;
    for (const container of this.containers) unsettled = (await container.refresh()) || unsettled;
    const plan = planPod(this.view());
    for (const name of plan.restart) this.container(name)!.restart();
    for (const name of plan.start) {
      const container = this.container(name)!;
      await container.launch(() => this.prepare(container.spec));
    }
    if (plan.expire) await this.expire();
    for (const { name, signal } of plan.signal) {
      // Killed is not yet gone, and a SIGTERM may have come before the payload was there to get it.
      if (!(await this.container(name)!.signal(signal)) || signal === 'SIGKILL') unsettled = true;
    }
    this.tell();
    if (plan.remove && (await this.swept())) return this.remove();
    if (plan.expire || plan.start.length > 0 || plan.restart.length > 0) this.again = true;
    if (unsettled || plan.remove) this.wakeAt(Date.now() + lookAgainMs);
    else if (plan.wakeAtMs !== undefined) this.wakeAt(plan.wakeAtMs);
  }

  private async prepare(container: V1Container): Promise<Launch> {
    const { baseEnv, binDirs, niceness } = this.host;
    const mappings = await mountVolumes(this.pod, container, path.join(this.dir, 'volumes'));
    const { command, env } = await containerCommand({
      pod: this.pod,
      container,
      baseEnv,
      binDirs,
      mappings,
      resolveSecret: (name, key) => this.host.resolveSecret(name, key),
    });
    return { command, env, niceness, workDir: workDirectory(container, mappings, path.join(this.dir, 'work')) };
  }

  /** From now on the pod has failed by its deadline, whatever its containers still do. */
  private async expire(): Promise<void> {
    this.expired = true;
    await this.host.store.mark(this.name, 'expired');
  }

  private tell(): void {
    const status = this.computeStatus();
    if (isDeepStrictEqual(status, this.status)) return;
    this.status = status;
    this.host.onChange(this);
    if (!this.refusalTold && this.containers.some(container => container.view().state.is === 'refused')) {
      this.refusalTold = true;
      this.again = true;
    }
  }

  /** Ends processes that made themselves a session of their own (daemons); true when none is left. */
  private async swept(): Promise<boolean> {
    if (this.admittedAtMs === undefined) return true;
    const strays = processesWithVariable(POD_UID_VARIABLE, this.uid);
    for (const pid of strays) sendSignal(pid, 'SIGKILL');
    return strays.length === 0;
  }

  private async remove(): Promise<void> {
    const gone = await this.host.store.detach(this.name);
    this.removed = true;
    clearTimeout(this.timer);
    this.host.onRemoved(this);
    if (gone) await this.host.store.sweep(gone);
  }

  private wakeAt(atMs: number): void {
    clearTimeout(this.timer);
    // A timer holds at most 2^31 ms; looking too early does no harm.
    this.timer = setTimeout(() => this.poke(), Math.min(Math.max(0, atMs - Date.now()), 2 ** 31 - 1));
  }
}
