/** What the bench does through the public port, with `core-sleep` leaves: fan-out, chain, single-action runs. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { ActionsService } from '../../proto/gen/flyteidl2/actions/actions_service_pb.js';
import { SimpleType } from '../../proto/gen/flyteidl2/core/types_pb.js';
import { DataProxyService } from '../../proto/gen/flyteidl2/dataproxy/dataproxy_service_pb.js';
import type { TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';
import { RunService } from '../../proto/gen/flyteidl2/workflow/run_service_pb.js';
import type { BenchClient } from './connect-client.ts';

const project = 'flytesnacks';
const domain = 'development';
export const TERMINAL: ReadonlySet<number> = new Set([5, 6, 7, 8, 10]);
const SUCCEEDED = 5;

type TaskSpecInit = MessageInitShape<typeof TaskSpecSchema>;

const sleepTask: TaskSpecInit = {
  taskTemplate: {
    id: { resourceType: 1, project, domain, name: 'bench.sleep', version: 'bench' },
    type: 'core-sleep',
    interface: {
      inputs: {
        variables: [{ key: 'duration', value: { type: { type: { case: 'simple', value: SimpleType.DURATION } } } }],
      },
    },
  },
  shortName: 'sleep',
};

export interface Result {
  readonly seconds: number;
  readonly latenciesMs: number[];
  /** What else the workload has to tell, by name. */
  readonly extra?: Readonly<Record<string, number>>;
}

/** @returns the value below which `share` of all lie */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** A root action that sleeps for an hour, so that children can be enqueued under it; aborted with `end`. */
export interface Tree {
  readonly run: { org: string; project: string; domain: string; name: string };
  readonly outputBase: string;
  /** Inputs blob of a leaf that sleeps `sleepMs`. */
  readonly leafInput: string;
  end(): Promise<void>;
}

export async function plantTree(client: BenchClient, sleepMs: number): Promise<Tree> {
  const root = await uploadSleep(client, 3_600_000);
  const leaf = await uploadSleep(client, sleepMs);
  const created = await client.call(RunService.method.createRun, {
    id: { case: 'projectId', value: { organization: '', name: project, domain } },
    task: { case: 'taskSpec', value: sleepTask },
    inputWrapper: { case: 'offloadedInputData', value: root },
    runSpec: {},
  });
  const run = { org: '', project, domain, name: created.run!.action!.id!.run!.name };
  const end = async () => {
    await client.call(RunService.method.abortRun, { runId: run, reason: 'the bench is over' });
  };
  return { run, outputBase: `${leaf.uri}/`, leafInput: `${leaf.uri}/inputs.pb`, end };
}

async function uploadSleep(client: BenchClient, ms: number): Promise<{ uri: string; inputsHash: string }> {
  const duration = { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
  const answer = await client.call(DataProxyService.method.uploadInputs, {
    id: { case: 'projectId', value: { organization: '', name: project, domain } },
    task: { case: 'taskSpec', value: sleepTask },
    inputs: {
      literals: [
        {
          name: 'duration',
          value: {
            value: {
              case: 'scalar',
              value: { value: { case: 'primitive', value: { value: { case: 'duration', value: duration } } } },
            },
          },
        },
      ],
    },
  });
  const { uri, inputsHash } = answer.offloadedInputData!;
  return { uri, inputsHash };
}

/** Asks for a leaf below the root. Asking again is harmless. */
export function enqueue(client: BenchClient, tree: Tree, name: string): Promise<unknown> {
  return client.call(ActionsService.method.enqueue, {
    action: {
      actionId: { run: tree.run, name },
      parentActionName: 'a0',
      inputUri: tree.leafInput,
      runOutputBase: tree.outputBase,
      spec: {
        case: 'task',
        value: { id: { org: '', project, domain, name: 'bench.sleep', version: 'bench' }, spec: sleepTask },
      },
    },
  });
}

/** Waits for the terminal update of each child of the root, in the order they come. */
export async function* terminals(client: BenchClient, tree: Tree): AsyncGenerator<string> {
  const parentActionId = { run: tree.run, name: 'a0' };
  const seen = new Set<string>();
  const stream = client.follow(ActionsService.method.watchForUpdates, {
    filter: { case: 'parentActionId', value: parentActionId },
  });
  for await (const { message } of stream) {
    if (message.case !== 'actionUpdate' || !TERMINAL.has(message.value.phase)) continue;
    const name = message.value.actionId!.name;
    if (name === 'a0' || seen.has(name)) continue;
    if (message.value.phase !== SUCCEEDED) throw new Error(`leaf ${name} ended in phase ${message.value.phase}`);
    seen.add(name);
    yield name;
  }
}

/**
 * `count` leaves under one parent, `inFlight` Enqueues at a time: from the first Enqueue to the last terminal update. Afterwards another
 * watch takes its snapshot of all of them.
 */
export async function fanOut(
  client: BenchClient,
  count: number,
  inFlight = 64,
  planted: (tree: Tree) => Promise<void> = async () => undefined,
): Promise<Result> {
  const tree = await plantTree(client, 0);
  await planted(tree);
  const began = performance.now();
  const startedAt = new Map<string, number>();
  const latenciesMs: number[] = [];
  const acceptedMs: number[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const name = `f${next++}`;
      const sent = performance.now();
      startedAt.set(name, sent);
      await enqueue(client, tree, name);
      acceptedMs.push(performance.now() - sent);
    }
  };
  const workers = Promise.all(Array.from({ length: inFlight }, worker));
  for await (const name of terminals(client, tree)) {
    latenciesMs.push(performance.now() - startedAt.get(name)!);
    if (latenciesMs.length === count) break;
  }
  const seconds = (performance.now() - began) / 1000;
  await workers;
  const snapshotMs = await snapshot(client, tree, count);
  await tree.end();
  return { seconds, latenciesMs, extra: { enqueueP99Ms: percentile(acceptedMs, 0.99), snapshotMs } };
}

/** How long a watch takes that begins when all is there, until its sentinel. */
async function snapshot(client: BenchClient, tree: Tree, count: number): Promise<number> {
  const began = performance.now();
  let shown = 0;
  const filter = { case: 'parentActionId', value: { run: tree.run, name: 'a0' } } as const;
  for await (const { message } of client.follow(ActionsService.method.watchForUpdates, { filter })) {
    if (message.case === 'controlMessage') break;
    shown++;
  }
  if (shown !== count) throw new Error(`the snapshot shows ${shown} of ${count} actions`);
  return performance.now() - began;
}

/** `count` leaves one after the other: each is enqueued when the one before was seen to end. */
export async function chain(client: BenchClient, count: number): Promise<Result> {
  const tree = await plantTree(client, 0);
  const watch = terminals(client, tree);
  const latenciesMs: number[] = [];
  const began = performance.now();
  for (let index = 0; index < count; index++) {
    const sent = performance.now();
    const [ended] = await Promise.all([watch.next(), enqueue(client, tree, `c${index}`)]);
    if (ended.value !== `c${index}`) throw new Error(`expected c${index} to end, but it was ${ended.value}`);
    latenciesMs.push(performance.now() - sent);
  }
  const seconds = (performance.now() - began) / 1000;
  await watch.return(undefined);
  await tree.end();
  return { seconds, latenciesMs };
}

/** `count` runs of one leaf, `inFlight` at a time: from CreateRun to the terminal phase on WatchActionDetails. */
export async function singleRuns(client: BenchClient, count: number, inFlight = 64): Promise<Result> {
  const input = await uploadSleep(client, 0);
  const latenciesMs: number[] = [];
  const began = performance.now();
  let next = 0;
  const worker = async () => {
    while (next++ < count) {
      const sent = performance.now();
      const created = await client.call(RunService.method.createRun, {
        id: { case: 'projectId', value: { organization: '', name: project, domain } },
        task: { case: 'taskSpec', value: sleepTask },
        inputWrapper: { case: 'offloadedInputData', value: input },
        runSpec: {},
      });
      const actionId = created.run!.action!.id!;
      for await (const { details } of client.follow(RunService.method.watchActionDetails, { actionId })) {
        const phase = details?.status?.phase ?? 0;
        if (TERMINAL.has(phase) && phase !== SUCCEEDED)
          throw new Error(`run ${actionId.run?.name} ended in phase ${phase}`);
        if (TERMINAL.has(phase)) latenciesMs.push(performance.now() - sent);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return { seconds: (performance.now() - began) / 1000, latenciesMs };
}
