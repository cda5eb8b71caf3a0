import { create, fromBinary } from '@bufbuild/protobuf';
import { Phase } from '../actors/action/phase.ts';
import { LiteralSchema } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { type Inputs, InputsSchema, type Outputs, OutputsSchema } from '../proto/gen/flyteidl2/task/common_pb.js';
import { ActionType } from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { ObjectNotFound, ObjectTooLarge } from '../storage/object-errors.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { outputsUri } from './action-attempts.ts';
import type { ActionDetail } from './action-reader.ts';
import { Code, resourceExhausted, StarlingError } from './errors.ts';

/** Larger inputs or outputs are read from the store, not through the gateway (services.md §12.4). */
const MAX_DATA_BYTES = 20 * 1024 * 1024;

/** Full paths of the blobs of an action; empty where there is none. */
export interface ActionDataUris {
  readonly inputsUri: string;
  readonly outputsUri: string;
}

export interface ActionData extends ActionDataUris {
  readonly inputs: Inputs;
  readonly outputs: Outputs;
}

/** Outputs exist only of a success; a condition has neither blob: its value stands in its row (runs.md 1.19). */
export function actionDataUris(action: ActionDetail): ActionDataUris {
  if (action.type === ActionType.CONDITION) return { inputsUri: '', outputsUri: '' };
  const succeeded = action.phase === Phase.succeeded || action.phase === Phase.recovered;
  if (!succeeded || !action.outputUri) return { inputsUri: action.inputUri, outputsUri: '' };
  return {
    inputsUri: action.inputUri,
    outputsUri: action.type === ActionType.TRACE ? action.outputUri : outputsUri(action.outputUri),
  };
}

/**
 * Inputs and outputs of an action.
 * @throws StarlingError not_found when a blob is gone: its text holds the word "inputs" only when it is the inputs, which is how
 * the SDK tells the cases apart (sdk.md §3.6); resource_exhausted beyond 20 MiB; data_loss for a blob that is none
 */
export async function readActionData(store: ObjectStore, action: ActionDetail): Promise<ActionData> {
  const uris = actionDataUris(action);
  const [inputs, outputs] = await Promise.all([
    readBlob(store, uris.inputsUri, 'inputs', bytes => fromBinary(InputsSchema, bytes)),
    readBlob(store, uris.outputsUri, 'outputs', bytes => fromBinary(OutputsSchema, bytes)),
  ]);
  if (inputs === 'gone') throw gone('inputs', uris.inputsUri);
  if (outputs === 'gone' && declaresOutputs(action)) throw gone('outputs', uris.outputsUri);
  return {
    inputsUri: uris.inputsUri,
    outputsUri: outputs === 'gone' ? '' : uris.outputsUri,
    inputs: inputs ?? create(InputsSchema),
    outputs: conditionOutputs(action) ?? (outputs === 'gone' ? undefined : outputs) ?? create(OutputsSchema),
  };
}

async function readBlob<T>(
  store: ObjectStore,
  uri: string,
  what: string,
  decode: (bytes: Uint8Array) => T,
): Promise<T | 'gone' | undefined> {
  if (uri === '') return undefined;
  let bytes: Uint8Array;
  try {
    bytes = await store.read(uri, { maxBytes: MAX_DATA_BYTES });
  } catch (error) {
    if (error instanceof ObjectNotFound) return 'gone';
    if (error instanceof ObjectTooLarge) {
      throw resourceExhausted(
        `the ${what} at ${uri} are larger than ${MAX_DATA_BYTES} bytes: read them from the store`,
      );
    }
    throw error;
  }
  try {
    return decode(bytes);
  } catch (cause) {
    throw new StarlingError(Code.DataLoss, `the blob ${uri} is corrupt: it holds no ${what}`, { cause });
  }
}

/** The URI of outputs is not told: a run may be called "inputs…". */
function gone(what: 'inputs' | 'outputs', uri: string): StarlingError {
  const where = what === 'inputs' ? `: there is no object ${uri}` : ' from the object store';
  return new StarlingError(Code.NotFound, `the ${what} of the action are gone${where}`);
}

/** A task without outputs may never have written any. */
function declaresOutputs({ spec }: ActionDetail): boolean {
  if (spec.case !== 'task') return true;
  const outputs = spec.value.taskTemplate?.interface?.outputs;
  return (outputs?.variables.length ?? 0) > 0;
}

/** The answer of a condition under the name the first output of a task has. */
function conditionOutputs({ type, value }: ActionDetail): Outputs | undefined {
  if (type !== ActionType.CONDITION || value === null) return undefined;
  return create(OutputsSchema, { literals: [{ name: 'o0', value: fromBinary(LiteralSchema, value) }] });
}
