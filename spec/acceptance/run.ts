import { randomBytes } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { expect } from 'chai';
import { isTerminal } from '../../actors/action/phase.ts';
import type { InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import type { RunSpecSchema } from '../../proto/gen/flyteidl2/task/run_pb.js';
import type { ActionDetails } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import type { Starling } from './starling.ts';
import { domain, project, sleepInputs, sleepTask, type TaskSpecInit } from './tasks.ts';

export interface RunId {
  readonly org: string;
  readonly project: string;
  readonly domain: string;
  readonly name: string;
}

/** What no run is called yet. */
export function freshName(prefix = 'acc'): string {
  return `${prefix}-${randomBytes(6).toString('hex')}`;
}

export function runId(name: string): RunId {
  return { org: '', project, domain, name };
}

export function actionId(run: RunId, name = 'a0') {
  return { run, name };
}

/** Starts a run under a name of the server's choice. */
export async function createRun(
  { runs }: Starling,
  task: TaskSpecInit,
  options: {
    inputs?: MessageInitShape<typeof InputsSchema>;
    runSpec?: MessageInitShape<typeof RunSpecSchema>;
  } = {},
): Promise<RunId> {
  const { run } = await runs.createRun({
    id: { case: 'projectId', value: { name: project, domain } },
    task: { case: 'taskSpec', value: task },
    inputWrapper: { case: 'inputs', value: options.inputs ?? {} },
    runSpec: options.runSpec ?? {},
  });
  return runId(run!.action!.id!.run!.name);
}

/** A run that only waits, under which actions can be enqueued: what the pod of a parent would be to the gateway. */
export async function createParent(starling: Starling, ms = 600_000): Promise<RunId> {
  return createRun(starling, sleepTask, { inputs: sleepInputs(ms) });
}

export interface Child {
  readonly task?: TaskSpecInit;
  readonly parent?: string;
  readonly group?: string;
  readonly inputUri?: string;
}

/** Enqueues a task as the controller in the pod of its parent does. Its inputs are empty unless a blob is named. */
export async function enqueue({ actions }: Starling, run: RunId, name: string, child: Child): Promise<void> {
  const { task = sleepTask, parent = 'a0', group = '', inputUri = 's3://flyte-data/nothing/inputs.pb' } = child;
  await actions.enqueue({
    action: {
      ...{ actionId: actionId(run, name), parentActionName: parent, group, inputUri },
      runOutputBase: 's3://flyte-data/ignored/',
      spec: { case: 'task', value: { spec: task } },
    },
  });
}

/** Uploads inputs as a client does; the blob they are in. */
export async function uploadInputs(
  { data }: Starling,
  inputs: MessageInitShape<typeof InputsSchema>,
  task: TaskSpecInit = sleepTask,
): Promise<string> {
  const answer = await data.uploadInputs({
    id: { case: 'projectId', value: { name: project, domain } },
    task: { case: 'taskSpec', value: task },
    inputs,
  });
  return `${answer.offloadedInputData!.uri}/inputs.pb`;
}

/** Follows an action to its end, and answers what a client sees then. */
export async function ended({ runs }: Starling, run: RunId, name = 'a0'): Promise<ActionDetails> {
  let last: ActionDetails | undefined;
  for await (const { details } of runs.watchActionDetails({ actionId: actionId(run, name) })) last = details;
  expect(isTerminal(last!.status!.phase), `the watch of ${name} ended in phase ${last!.status!.phase}`).to.equal(true);
  return last!;
}

/** Follows an action until it is as it should be. */
export async function following(
  { runs }: Starling,
  run: RunId,
  isSo: (details: ActionDetails) => boolean,
  name = 'a0',
): Promise<ActionDetails> {
  for await (const { details } of runs.watchActionDetails({ actionId: actionId(run, name) })) {
    if (isSo(details!)) return details!;
  }
  throw new Error(`${name} ended and never was so`);
}

/** Code and message of the failure of an action. */
export function errorOf(details: ActionDetails): { code: string; message: string; kind: number } {
  if (details.result.case !== 'errorInfo')
    throw new Error(`it has ${details.result.case ?? 'no result'}: ${JSON.stringify(details.status?.phase)}`);
  const { code, message, kind } = details.result.value;
  return { code, message, kind };
}

/** The error a call is answered with: the name of its code, and its text. */
export async function refusal(call: Promise<unknown>): Promise<{ code: keyof typeof Code; message: string }> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return { code: Code[error.code] as keyof typeof Code, message: error.rawMessage };
  }
  throw new Error('this was to be refused');
}

/** The first message of a stream, which is then left. */
export async function first<T>(stream: AsyncIterable<T>): Promise<T> {
  for await (const message of stream) return message;
  throw new Error('the stream ended without a message');
}
