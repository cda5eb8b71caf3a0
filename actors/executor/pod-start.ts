import { fromBinary } from '@bufbuild/protobuf';
import { type Inputs, InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import { ObjectNotFound, ObjectTooLarge } from '../../storage/object-errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { Failure } from '../action/failure.ts';
import { needsInputs } from './args.ts';
import { SpecMissing } from './attempt-specs.ts';
import type { ExecutorTools } from './executor-actor.ts';
import type { ExecutorEffect, ExecutorMessage } from './executor-mail.ts';
import { identityOf } from './executor-state.ts';
import type { AttemptPlan } from './messages.ts';
import { type AttemptIdentity, type AttemptPaths, attemptPaths, checkpointOf } from './paths.ts';
import { buildPod } from './pod-template.ts';
import { templateTexts } from './raw-pod.ts';
import { InvalidPodError } from './runtime/pod-runtime.ts';
import { checkTask } from './task-plugin.ts';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

type Owner = { readonly runId: number; readonly action: string; readonly attempt: number };
type Create = Extract<ExecutorEffect, { type: 'create' }>;

/** Earlier attempts whose checkpoints are looked for. */
const CHECKPOINTS_BACK = 10;

/**
 * Creates the pod of an incarnation. Idempotent by its name. An order that comes too late creates nothing and answers
 * nothing: its executor has stopped to wait for it.
 * @throws what the platform answers when it cannot now: stores, database, pod runtime
 */
export async function createPod(
  tools: ExecutorTools,
  owner: Owner,
  order: Create,
): Promise<ExecutorMessage | undefined> {
  const { incarnation, plan, notAfterMs } = order;
  const identity = identityOf(owner, plan, incarnation);
  try {
    const { template, runSpec } = await tools.specs.read(owner.runId, plan);
    checkTask(template, tools.abilities);
    const paths = attemptPaths(identity, plan);
    const [previousCheckpointUri, inputs] = await Promise.all([
      previousCheckpoint(tools.store, identity, plan, paths),
      needsInputs(templateTexts(template)) ? readInputs(tools, plan.inputUri) : undefined,
    ]);
    const pod = buildPod(
      {
        identity,
        plan,
        template,
        runSpec,
        paths,
        ...(previousCheckpointUri !== undefined && { previousCheckpointUri }),
        ...(inputs !== undefined && { inputs }),
      },
      tools.settings,
    );
    if (tools.now() > notAfterMs) return undefined;
    await tools.runtime.create(pod);
    return { type: 'pod-created', incarnation };
  } catch (error) {
    const failure = refusalOf(error);
    if (failure === undefined) throw error;
    return { type: 'pod-refused', incarnation, failure };
  }
}

/** The failure of a task that can never have a pod; undefined when it is the platform that cannot now. */
function refusalOf(error: unknown): Failure | undefined {
  if (error instanceof TaskRefused) return error.failure;
  if (error instanceof InvalidPodError) {
    return { code: 'InvalidResource', kind: 'USER', message: error.message, recoverable: false };
  }
  if (error instanceof SpecMissing) {
    return { code: 'SpecNotFound', kind: 'SYSTEM', message: error.message, recoverable: false };
  }
  // Not the platform's mood but a mistake of ours: waiting would not mend it.
  if (error instanceof TypeError || error instanceof RangeError) {
    const message = `the executor cannot build the pod: ${error.message}`;
    return { code: 'ExecutorError', kind: 'SYSTEM', message, recoverable: false };
  }
  return undefined;
}

/** The newest checkpoint there is: of a lost pod of this attempt, else of the attempts before it. */
async function previousCheckpoint(
  store: ObjectStore,
  { run, action, attempt, incarnation }: AttemptIdentity,
  { outputBase }: AttemptPlan,
  { checkpointUri }: AttemptPaths,
): Promise<string | undefined> {
  if (incarnation > 1 && (await store.head(checkpointUri)) !== undefined) return checkpointUri;
  for (let earlier = attempt - 1; earlier >= Math.max(1, attempt - CHECKPOINTS_BACK); earlier -= 1) {
    const uri = checkpointOf(outputBase, run, action, earlier);
    if ((await store.head(uri)) !== undefined) return uri;
  }
  return undefined;
}

async function readInputs({ store, maxDocumentBytes }: ExecutorTools, uri: string): Promise<Inputs> {
  try {
    return fromBinary(InputsSchema, await store.read(uri, { maxBytes: maxDocumentBytes }));
  } catch (error) {
    if (error instanceof ObjectNotFound) {
      throw new TaskRefused('InputsNotFound', `the inputs of the task are not there: ${uri}`);
    }
    if (error instanceof ObjectTooLarge) throw new TaskRefused(BAD_TASK, `the inputs are too large: ${error.message}`);
    if ((error as { code?: unknown }).code !== undefined) throw error;
    throw new TaskRefused(
      'InputsCorrupt',
      `the inputs of the task in ${uri} cannot be decoded: ${(error as Error).message}`,
    );
  }
}
