import type { Logger } from 'pino';
import { duePods, loadPods, savePods } from '../../db/pods.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { ActorDefinition } from '../runtime/actor.ts';
import type { AttemptSpecReader } from './attempt-specs.ts';
import { decide } from './decide.ts';
import type { ExecutorEffect, ExecutorMessage } from './executor-mail.ts';
import { type ExecutorState, newExecutor } from './executor-state.ts';
import { EXECUTOR_KIND, parseExecutorKey } from './messages.ts';
import { collectOutcome, stopPod } from './pod-end.ts';
import type { PodSettings } from './pod-input.ts';
import { createPod } from './pod-start.ts';
import type { PodRuntime } from './runtime/pod-runtime.ts';
import type { RuntimeAbilities } from './task-plugin.ts';

/** What an executor works with. */
export interface ExecutorTools {
  readonly runtime: PodRuntime;
  readonly store: ObjectStore;
  readonly specs: AttemptSpecReader;
  readonly settings: PodSettings;
  readonly abilities: RuntimeAbilities;
  /** Longest inputs.pb and outputs.pb that are read. */
  readonly maxDocumentBytes: number;
  readonly log: Logger;
  /** Epoch milliseconds. */
  now(): number;
}

/**
 * The durable actor of one attempt; its machine is in decide.ts. Effects are idempotent: a pod is created by its name,
 * logs and verdict are the same whenever they are taken, deleting a pod that is gone does nothing. What the platform
 * refuses is answered with `effect-failed` and its reason, so that people see why an attempt waits; the state's wakeAt
 * orders the effect again, also when this process dies in between.
 */
export function createExecutorActor(
  tools: ExecutorTools,
): ActorDefinition<ExecutorState, ExecutorMessage, ExecutorEffect> {
  return {
    kind: EXECUTOR_KIND,
    load: loadPods,
    blank: newExecutor,
    decide: (state, mail, now) => decide(state, mail, now),
    save: savePods,
    due: duePods,
    isFinished: state => state.stage === 'done',
    async perform(key, effect, signal) {
      try {
        return await perform(tools, key, effect, signal);
      } catch (error) {
        signal.throwIfAborted();
        tools.log.warn({ err: error, executor: key, effect: effect.type }, 'an effect of an executor failed');
        const reason = error instanceof Error ? error.message : String(error);
        return { type: 'effect-failed', incarnation: effect.incarnation, effect: effect.type, reason };
      }
    },
  };
}

async function perform(
  tools: ExecutorTools,
  key: string,
  effect: ExecutorEffect,
  signal: AbortSignal,
): Promise<ExecutorMessage | undefined> {
  const owner = parseExecutorKey(key);
  switch (effect.type) {
    case 'create':
      return createPod(tools, owner, effect);
    case 'collect':
      return collectOutcome(tools, owner, effect, signal);
    case 'stop':
      return stopPod(tools, owner, effect, signal);
    case 'release': {
      const { podName, graceSeconds, incarnation } = effect;
      await tools.runtime.delete(podName, { gracePeriodSeconds: graceSeconds });
      const gone = (await tools.runtime.get(podName)) === undefined;
      return { type: 'pod-released', incarnation, gone };
    }
  }
}
