import { isDeepStrictEqual } from 'node:util';
import type { V1Pod } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { type CurrentPod, currentPods, podsThatExist } from '../../db/pods.ts';
import type { Sql } from '../../db/sql.ts';
import type { Mail } from '../runtime/mail.ts';
import type { PodObserved } from './executor-mail.ts';
import { EXECUTOR_KIND, parseExecutorKey } from './messages.ts';
import { EXECUTOR_ANNOTATION, INCARNATION_ANNOTATION } from './pod-metadata.ts';
import { classify } from './pod-status.ts';
import type { PodEvent, PodRuntime } from './runtime/pod-runtime.ts';

export interface PodWatchOptions {
  readonly runtime: PodRuntime;
  readonly db: Sql;
  readonly mail: Mail;
  readonly log: Logger;
  /** Epoch milliseconds. */
  now(): number;
  /** How long sights are gathered into one transaction. */
  readonly gatherMs?: number;
  /** How often executors and pods are compared as a whole. */
  readonly compareEveryMs?: number;
}

export interface PodWatch {
  /** Begins to tell, the present state first. Call it when the runtime has started: what is not there yet counts as gone. */
  start(): void;
  /** Tells no more. Resolves when what is under way has ended. */
  stop(): Promise<void>;
}

const GATHER_MS = 5;
const COMPARE_EVERY_MS = 10_000;
const RETRY_MS = 1_000;
/** Orphans run no longer than it takes to kill them: nobody waits for what they do. */
const ORPHAN_GRACE_SECONDS = 1;
/** Stages in which a pod of the current incarnation has no business to be there. */
const WITHOUT_POD: ReadonlySet<string> = new Set(['new', 'backoff', 'done']);

/** Which executor a pod belongs to, and as its how many-th pod. */
interface Owner {
  readonly key: string;
  readonly incarnation: number;
}

/**
 * Tells executors how their pods look. An event becomes a letter; the newest sight of a pod replaces an older one that is
 * not written yet, and what an executor knows already is not told again. Every few seconds all executors are compared with
 * all pods, so a lost event (a lost watch, a database that was away, a restart) costs seconds: whoever waits for a pod that
 * is not there is told that it is gone, and a pod that nobody waits for is deleted.
 *
 * Nothing here is remembered durably: if this process dies, the next one begins with a comparison.
 */
export function createPodWatch(options: PodWatchOptions): PodWatch {
  const { runtime, db, mail, log, now, gatherMs = GATHER_MS, compareEveryMs = COMPARE_EVERY_MS } = options;
  /** Sights that are not written yet, the newest per pod. */
  let pending = new Map<string, { owner: Owner; letter: PodObserved }>();
  /** What was told last of each pod that is there. */
  const told = new Map<string, PodObserved['pod']>();
  let unwatch: (() => void) | undefined;
  let flushing: Promise<void> | undefined;
  let comparing: Promise<void> | undefined;
  let flushTimer: NodeJS.Timeout | undefined;
  let compareTimer: NodeJS.Timeout | undefined;
  let stopped = false;

  function sight(pod: V1Pod, gone: boolean): void {
    const owner = ownerOf(pod);
    const name = pod.metadata?.name;
    if (owner === undefined || name === undefined) return;
    note(name, owner, gone ? { is: 'gone' } : classify(pod, now()));
  }

  function note(name: string, owner: Owner, pod: PodObserved['pod']): void {
    const last = pending.get(name)?.letter.pod ?? told.get(name);
    if (isDeepStrictEqual(last, pod)) return;
    pending.set(name, { owner, letter: { type: 'pod-observed', incarnation: owner.incarnation, pod } });
    scheduleFlush(gatherMs);
  }

  function scheduleFlush(delayMs: number): void {
    if (stopped || flushing !== undefined) return;
    flushTimer ??= setTimeout(() => {
      flushTimer = undefined;
      flushing = flush().finally(() => {
        flushing = undefined;
        if (pending.size > 0) scheduleFlush(RETRY_MS);
      });
    }, delayMs);
  }

  async function flush(): Promise<void> {
    while (pending.size > 0 && !stopped) {
      const batch = pending;
      pending = new Map();
      try {
        await mail.commit(async (_tx, outbox) => {
          for (const { owner, letter } of batch.values()) {
            outbox.letter({ to: { kind: EXECUTOR_KIND, key: owner.key }, body: letter });
          }
        });
      } catch (error) {
        log.warn({ err: error, pods: batch.size }, 'sights of pods could not be told; trying again');
        for (const [name, sighted] of batch) if (!pending.has(name)) pending.set(name, sighted);
        return;
      }
      for (const [name, { letter }] of batch) {
        if (letter.pod.is === 'gone') told.delete(name);
        else told.set(name, letter.pod);
      }
    }
  }

  /** Executors are read before pods: whoever has a pod by then finds it in the list. */
  async function compare(): Promise<void> {
    const waiting = await podsThatExist(db);
    const pods = await runtime.list();
    const present = new Set(pods.map(pod => pod.metadata?.name));
    for (const { key, incarnation, podName } of waiting) {
      if (!present.has(podName)) note(podName, { key, incarnation }, { is: 'gone' });
    }
    const owned = pods.flatMap(pod => {
      const owner = ownerOf(pod);
      return owner === undefined ? [] : [{ pod, owner }];
    });
    const executors = new Map(
      (
        await currentPods(
          db,
          owned.map(({ owner }) => owner.key),
        )
      ).map(one => [one.key, one]),
    );
    for (const { pod, owner } of owned) {
      const name = pod.metadata!.name!;
      if (isOrphan(name, executors.get(owner.key))) await removeOrphan(name, owner);
      else sight(pod, false);
    }
    for (const name of told.keys()) if (!present.has(name)) told.delete(name);
  }

  async function removeOrphan(name: string, owner: Owner): Promise<void> {
    log.warn(
      { pod: name, executor: owner.key, incarnation: owner.incarnation },
      'a pod that nobody waits for is deleted',
    );
    await runtime.delete(name, { gracePeriodSeconds: ORPHAN_GRACE_SECONDS });
  }

  function scheduleCompare(delayMs: number): void {
    if (stopped) return;
    compareTimer = setTimeout(() => {
      comparing = compare()
        .catch((error: unknown) => log.warn({ err: error }, 'executors and pods could not be compared; trying again'))
        .finally(() => {
          comparing = undefined;
          scheduleCompare(compareEveryMs);
        });
    }, delayMs);
  }

  return {
    start() {
      unwatch = runtime.watch((event: PodEvent) => sight(event.pod, event.type === 'deleted'));
      scheduleCompare(0);
    },
    async stop() {
      stopped = true;
      unwatch?.();
      clearTimeout(flushTimer);
      clearTimeout(compareTimer);
      await Promise.all([flushing, comparing]);
    },
  };
}

function ownerOf(pod: V1Pod): Owner | undefined {
  const { [EXECUTOR_ANNOTATION]: key, [INCARNATION_ANNOTATION]: incarnation } = pod.metadata?.annotations ?? {};
  if (key === undefined || !/^[1-9]\d*$/.test(incarnation ?? '')) return undefined;
  try {
    parseExecutorKey(key);
  } catch {
    return undefined; // somebody else's
  }
  return { key, incarnation: Number(incarnation) };
}

/** Nobody waits for it: its attempt is unknown or over, or has another pod by now. */
function isOrphan(name: string, executor: CurrentPod | undefined): boolean {
  return executor === undefined || executor.podName !== name || WITHOUT_POD.has(executor.stage);
}
