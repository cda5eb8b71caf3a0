import { ObjectStoreFull } from '../../storage/object-errors.ts';
import type { ExecutorTools } from './executor-actor.ts';
import type { ExecutorEffect, ExecutorMessage } from './executor-mail.ts';
import { identityOf } from './executor-state.ts';
import { runsPython } from './images.ts';
import type { AttemptPlan, PodFacts } from './messages.ts';
import { judge } from './outcome.ts';
import { attemptPaths } from './paths.ts';
import { podFacts } from './pod-facts.ts';
import { type CopyOptions, type KeptLogs, keepLogs, keptFiles, lastWords } from './pod-logs.ts';
import { rawPod } from './raw-pod.ts';

type Owner = { readonly runId: number; readonly action: string; readonly attempt: number };
type Collect = Extract<ExecutorEffect, { type: 'collect' }>;
type Stop = Extract<ExecutorEffect, { type: 'stop' }>;

/** Copying the logs of an ended pod; of one that somebody waits for to be stopped; and its last words after its grace. */
const MAX_COPY_MS = 20_000;
const MAX_COPY_BEFORE_STOP_MS = 3_000;
const MAX_LAST_WORDS_MS = 5_000;
/** An effect may take a minute; a longer grace is waited out by the state, which looks again. */
const MAX_GRACE_WAIT_MS = 40_000;

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
  const copying = keepSomeLogs(tools, pod, paths.logsUri, signal);
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

/**
 * Keeps what a pod has written so far, then tells it to end and waits for its last words, so that the log of an attempt that
 * is over does not grow any more. A pod that is gone, or never was, is fine. If this process dies meanwhile, what was written
 * before the stop is kept.
 */
export async function stopPod(
  tools: ExecutorTools,
  owner: Owner,
  { incarnation, plan, podName, graceSeconds, order }: Stop,
  signal: AbortSignal,
): Promise<ExecutorMessage> {
  const { runtime, store } = tools;
  const { logsUri, outputUri } = attemptPaths(identityOf(owner, plan, incarnation), plan);
  const pod = await runtime.get(podName);
  // Only the first look at it: once it is being deleted its logs may vanish while they are read.
  if (pod !== undefined && pod.metadata?.deletionTimestamp === undefined) {
    const facts = podFacts(pod);
    await tryToKeepLogs(tools, facts, logsUri, { follow: false, maxMs: MAX_COPY_BEFORE_STOP_MS, signal });
    signal.throwIfAborted();
    const maxMs = Math.min(graceSeconds * 1_000, MAX_GRACE_WAIT_MS) + MAX_LAST_WORDS_MS;
    const lastWords = tryToKeepLogs(tools, facts, logsUri, { follow: true, maxMs, signal });
    await runtime.delete(podName, { gracePeriodSeconds: graceSeconds });
    await lastWords;
  } else await runtime.delete(podName, { gracePeriodSeconds: graceSeconds });
  const gone = (await runtime.get(podName)) === undefined;
  // An attempt ends also while the store is away: then its report and logs are not mentioned.
  const [report, logs] = await Promise.all([
    store.head(`${outputUri}/report.html`).catch(() => undefined),
    keptFiles(store, logsUri, pod === undefined ? '' : podFacts(pod).primaryContainer).catch(() => []),
  ]);
  return { type: 'pod-stopped', incarnation, order, gone, hasReport: report !== undefined, logs };
}

/** Never fails: a pod must end whether or not its logs can be kept. */
async function tryToKeepLogs(
  { runtime, store, log }: ExecutorTools,
  pod: PodFacts,
  logsUri: string,
  options: CopyOptions,
): Promise<void> {
  try {
    await keepLogs(runtime, store, pod, logsUri, options);
  } catch (error) {
    log.warn({ err: error, pod: pod.name }, 'the logs of a pod that is stopped could not be kept');
  }
}

/** A full store must not keep an attempt from ending: then its logs are lost, and the log of the server says so. */
async function keepSomeLogs(
  { runtime, store, log }: ExecutorTools,
  pod: PodFacts,
  logsUri: string,
  signal: AbortSignal,
): Promise<KeptLogs> {
  const options = { follow: false, maxMs: MAX_COPY_MS, signal };
  try {
    return await keepLogs(runtime, store, pod, logsUri, options);
  } catch (error) {
    if (!(error instanceof ObjectStoreFull)) throw error;
    log.error({ err: error, pod: pod.name }, 'the logs of a pod are lost: the object store is full');
    return { files: [], tails: await lastWords(runtime, pod, options) };
  }
}

/** The SDK always leaves outputs.pb, also for a task that returns nothing; other programs only when outputs are declared. */
async function outputsExpected({ specs }: ExecutorTools, { runId }: Owner, plan: AttemptPlan): Promise<boolean> {
  const { template } = await specs.read(runId, plan);
  if ((template.interface?.outputs?.variables.length ?? 0) > 0) return true;
  const { primary, spec } = rawPod(template);
  return runsPython(spec.containers.find(({ name }) => name === primary)!);
}
