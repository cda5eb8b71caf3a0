import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { isTerminal } from '../../actors/action/phase.ts';
import { ActionsService } from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { BenchClient } from '../bench/connect-client.ts';
import { enqueue, plantTree } from '../bench/workloads.ts';
import { expectHistory, type History } from '../support/history.ts';

const SUCCEEDED = 5;
const ABORTED = 7;
const AGAIN_MS = 100;

/** A root action with core-sleep leaves, and a watch that is taken up again whenever it breaks: what a parent task does. */
export interface LeavesJob {
  readonly run: string;
  /** Enqueues the next leaves; what fails is asked again until it is accepted. */
  enqueue(count: number): Promise<void>;
  /** Leaves enqueued and leaves seen to end, so far. */
  readonly enqueued: number;
  readonly ended: number;
  /** How often the watch broke, and with what. */
  readonly interruptions: readonly string[];
  /** Waits until the watch has seen every leaf end. */
  seenAll(withinMs?: number): Promise<void>;
  /** Ends the root; then every leaf is there once, ended once and well, and the history is in order. */
  expectAllOnce(where: { databaseUrl: string; podsDir?: string }): Promise<History>;
  close(): void;
}

/** @param endpoints the first is asked to create the run and is watched; leaves are enqueued through all in turn */
export async function startLeaves(endpoints: readonly string[], sleepMs: number): Promise<LeavesJob> {
  const clients = endpoints.map(endpoint => new BenchClient(endpoint, 64));
  const tree = await plantTree(clients[0]!, sleepMs);
  const names: string[] = [];
  const phases = new Map<string, Set<number>>();
  const interruptions: string[] = [];
  let closed = false;

  async function follow(): Promise<void> {
    const filter = { case: 'parentActionId' as const, value: { run: tree.run, name: 'a0' } };
    while (!closed) {
      try {
        for await (const { message } of clients[0]!.follow(ActionsService.method.watchForUpdates, { filter })) {
          if (closed) return;
          if (message.case !== 'actionUpdate' || !isTerminal(message.value.phase)) continue;
          const name = message.value.actionId!.name;
          phases.set(name, (phases.get(name) ?? new Set()).add(message.value.phase));
        }
      } catch (error) {
        interruptions.push((error as Error).message);
      }
      await sleep(AGAIN_MS);
    }
  }
  const following = follow();

  async function enqueueOne(name: string, turn: number): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await enqueue(clients[(turn + attempt) % clients.length]!, tree, name);
        return;
      } catch (error) {
        const { message } = error as Error;
        // The node took it and died before it could say so.
        if (attempt > 0 && message.includes('already_exists')) return;
        // What a client may ask again: the node is gone, or says so.
        if (!/ECONN|socket hang up|unavailable|deadline_exceeded/.test(message)) throw error;
        await sleep(AGAIN_MS);
      }
    }
  }

  return {
    run: tree.run.name,
    interruptions,
    get enqueued() {
      return names.length;
    },
    get ended() {
      return phases.size;
    },
    async enqueue(count) {
      const fresh = Array.from({ length: count }, (_, index) => `leaf${names.length + index}`);
      names.push(...fresh);
      let next = 0;
      const worker = async () => {
        while (next < count) {
          const turn = next++;
          await enqueueOne(fresh[turn]!, turn);
        }
      };
      await Promise.all(Array.from({ length: 32 }, worker));
    },
    async seenAll(withinMs = 90_000) {
      const deadline = performance.now() + withinMs;
      while (phases.size < names.length) {
        if (performance.now() > deadline) {
          const missing = names.filter(name => !phases.has(name));
          throw new Error(
            `${missing.length} of ${names.length} leaves were not seen to end: ${missing.slice(0, 10)}; ${interruptions.slice(-5)}`,
          );
        }
        await sleep(20);
      }
    },
    async expectAllOnce(where) {
      const others = [...phases].filter(([, seen]) => seen.size !== 1 || !seen.has(SUCCEEDED)).map(([name]) => name);
      expect(others, 'leaves that were seen to end otherwise, or twice').to.deep.equal([]);
      await tree.end();
      const history = await expectHistory(where);
      const { run_id: ours } = history.actions.find(action => action.run === tree.run.name)!;
      const rows = history.actions.filter(action => action.run_id === ours && action.name !== 'a0');
      expect(rows.length, 'leaves in the table').to.equal(names.length);
      expect(rows.filter(row => row.phase !== SUCCEEDED || row.attempt !== 1)).to.deep.equal([]);
      expect(history.actions.find(action => action.run_id === ours && action.name === 'a0')?.phase).to.equal(ABORTED);
      return history;
    },
    close() {
      closed = true;
      for (const client of clients) client.close();
      void following.catch(() => undefined);
    },
  };
}
