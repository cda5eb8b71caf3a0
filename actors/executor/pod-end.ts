import { ObjectStoreFull } from '../../storage/object-errors.ts';
import type { ExecutorTools } from './executor-actor.ts';
import type { ExecutorEffect, ExecutorMessage } from './executor-mail.ts';
import { identityOf } from './executor-state.ts';
import { runsPython } from './images.ts';
import type { AttemptPlan, PodFacts } from './messages.ts';
import { judge } from './outcome.ts';
import { attemptPaths } from './paths.ts';
import { podFacts } from './pod-facts.ts';
import { type KeptLogs, keepLogs, keptFiles } from './pod-logs.ts';
import { rawPod } from './raw-pod.ts';

type Owner = { readonly runId: number; readonly action: string; readonly attempt: number };
type Collect = Extract<ExecutorEffect, { type: 'collect' }>;
type Stop = Extract<ExecutorEffect, { type: 'stop' }>;

/** Copying the log of an ended pod; and of one that somebody waits for to be stopped. */
const MAX_COPY_MS = 20_000;
const MAX_COPY_BEFORE_STOP_MS = 3_000;

/**
 * Keeps the logs of an ended pod and judges it. Reads only, but for the logs; repeating it gives the same answer.
 * @throws what the stores answer when they cannot be reached
 */
export async function collectOutcome(
  tools: ExecutorTools,
  owner: Owner,
  { incarnation, plan, pod, exit }: Collect,
  signal: AbortSignal,
): Promise<ExecutorMessage> {
  const paths = attemptPaths(identityOf(owner, plan, incarnation), plan);
  const copying = keepSomeLogs(tools, pod, paths.logsUri, MAX_COPY_MS, signal);
  const tail = async () => (await copying).tails.get(exit.container ?? pod.primaryContainer) ?? '';
  const [verdict, logs] = await Promise.all([
    outputsExpected(tools, owner, plan).then(expected =>
      judge(
        tools.store,
        { exit, outputUri: paths.outputUri, outputsExpected: expected, logTail: tail },
        tools.maxDocumentBytes,
      ),
    ),
    copying,
  ]);
  return { type: 'outcome-collected', incarnation, verdict, logs: logs.files };
}

/** Keeps what a pod has written so far, then tells it to end. A pod that is gone, or never was, is fine. */
export async function stopPod(
  { runtime, store, log }: ExecutorTools,
  owner: Owner,
  { incarnation, plan, podName, graceSeconds, order }: Stop,
  signal: AbortSignal,
): Promise<ExecutorMessage> {
  const { logsUri, outputUri } = attemptPaths(identityOf(owner, plan, incarnation), plan);
  const pod = await runtime.get(podName);
  // Only the first look at it: once it is being deleted its logs may vanish while they are read.
  if (pod !== undefined && pod.metadata?.deletionTimestamp === undefined) {
    await keepLogs(runtime, store, podFacts(pod), logsUri, MAX_COPY_BEFORE_STOP_MS, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      log.warn({ err: error, pod: podName }, 'the logs of a pod could not be kept before it was stopped');
    });
  }
  await runtime.delete(podName, { gracePeriodSeconds: graceSeconds });
  const gone = (await runtime.get(podName)) === undefined;
  const [report, logs] = await Promise.all([
    store.head(`${outputUri}/report.html`),
    keptFiles(store, logsUri, pod === undefined ? '' : podFacts(pod).primaryContainer),
  ]);
  return { type: 'pod-stopped', incarnation, order, gone, hasReport: report !== undefined, logs };
}

/** A full store must not keep an attempt from ending: then its logs are lost, and the log of the server says so. */
async function keepSomeLogs(
  { runtime, store, log }: ExecutorTools,
  pod: PodFacts,
  logsUri: string,
  maxCopyMs: number,
  signal: AbortSignal,
): Promise<KeptLogs> {
  try {
    return await keepLogs(runtime, store, pod, logsUri, maxCopyMs, signal);
  } catch (error) {
    if (!(error instanceof ObjectStoreFull)) throw error;
    log.error({ err: error, pod: pod.name }, 'the logs of a pod are lost: the object store is full');
    return { files: [], tails: new Map() };
  }
}

/** The SDK always leaves outputs.pb, also for a task that returns nothing; other programs only when outputs are declared. */
async function outputsExpected({ specs }: ExecutorTools, { runId }: Owner, plan: AttemptPlan): Promise<boolean> {
  const { template } = await specs.read(runId, plan);
  if ((template.interface?.outputs?.variables.length ?? 0) > 0) return true;
  const { primary, spec } = rawPod(template);
  return runsPython(spec.containers.find(({ name }) => name === primary)!);
}
