import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { V1Container, V1ContainerState, V1Pod, V1PodSpec } from '@kubernetes/client-node';
import { pino } from 'pino';
import type { PodEvent } from '../../../../../actors/executor/runtime/pod-runtime.ts';
import {
  ProcessPodRuntime,
  type ProcessPodRuntimeOptions,
} from '../../../../../actors/executor/runtime/process/process-pod-runtime.ts';
import { identityOf } from '../../../../../actors/executor/runtime/process/process-table.ts';

/** A container that runs a shell script. */
export const shell = (script: string, more: Partial<V1Container> = {}): V1Container => ({
  name: 'main',
  image: 'any',
  command: ['sh', '-c', script],
  ...more,
});

export const aPod = (name: string, containers: V1Container[], spec: Partial<V1PodSpec> = {}): V1Pod => ({
  metadata: { name },
  spec: { restartPolicy: 'Never', containers, ...spec },
});

/** Resolves when `holds` is true; asks every few milliseconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

/** Zombies that nobody has collected yet do not count. */
export const isAlive = async (pid: number): Promise<boolean> => (await identityOf(pid)) !== undefined;

export const allAlive = async (pids: number[]): Promise<boolean[]> => Promise.all(pids.map(isAlive));

/** A runtime over a directory of its own, with what it told, and the questions specs ask. */
export class PodBench {
  readonly dir: string;
  readonly events: PodEvent[] = [];
  readonly runtime: ProcessPodRuntime;

  constructor(dir: string, options: Partial<ProcessPodRuntimeOptions> = {}) {
    this.dir = dir;
    this.runtime = new ProcessPodRuntime({
      dir,
      log: pino({ level: 'silent' }),
      slots: 8,
      baseEnv: process.env,
      binDirs: [],
      niceness: 0,
      resolveSecret: async () => undefined,
      idlePods: async () => new Set(),
      ...options,
    });
    this.runtime.watch(event => this.events.push(event));
  }

  static async open(options: Partial<ProcessPodRuntimeOptions> = {}): Promise<PodBench> {
    const dir = path.join(await mkdtemp(path.join(os.tmpdir(), 'starling-pods-')), 'pods');
    const bench = new PodBench(dir, options);
    await bench.runtime.start();
    return bench;
  }

  /** Ends all pods, the runtime and the directory. */
  async close(): Promise<void> {
    for (const { metadata } of await this.runtime.list()) {
      await this.runtime.delete(metadata!.name!, { gracePeriodSeconds: 0 });
    }
    await until('all pods are gone', async () => (await this.runtime.list()).length === 0);
    await this.runtime.stop();
    await rm(path.dirname(this.dir), { recursive: true, force: true });
  }

  async phase(name: string): Promise<string | undefined> {
    return (await this.runtime.get(name))?.status?.phase;
  }

  /** The state of a container, init containers and sidecars included. */
  async state(name: string, container = 'main'): Promise<V1ContainerState> {
    const status = (await this.runtime.get(name))?.status;
    const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
    return all.find(found => found.name === container)?.state ?? {};
  }

  async untilRunning(name: string, container = 'main'): Promise<void> {
    await until(`${container} of ${name} runs`, async () => (await this.state(name, container)).running !== undefined);
  }

  /** Waits for the terminal phase and returns the pod. */
  async untilOver(name: string): Promise<V1Pod> {
    await until(`pod ${name} is over`, async () => /Succeeded|Failed/.test((await this.phase(name)) ?? ''));
    return (await this.runtime.get(name))!;
  }

  async untilGone(name: string): Promise<void> {
    await until(`pod ${name} is gone`, async () => (await this.runtime.get(name)) === undefined);
  }

  /** Creates a pod and waits for its end. */
  async run(pod: V1Pod): Promise<V1Pod> {
    await this.runtime.create(pod);
    return this.untilOver(pod.metadata!.name!);
  }

  async lines(name: string, container = 'main', follow = false): Promise<string[]> {
    const lines: string[] = [];
    for await (const { text } of this.runtime.logs(name, container, { follow })) lines.push(text);
    return lines;
  }
}
