import { fromBinary } from '@bufbuild/protobuf';
import type { FailureCode } from '../../copilot/error-document.ts';
import { OutputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import { ObjectNotFound, ObjectTooLarge } from '../../storage/object-errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { Failure } from '../action/failure.ts';
import { readErrorDocument, shorten } from './error-document.ts';
import type { PodExit } from './pod-view.ts';
import { blameStoreOutage } from './store-outage.ts';

/** What an ended pod did with its attempt. */
export interface Verdict {
  /** Null: it succeeded. */
  readonly failure: Failure | null;
  /** The platform lost the pod and nothing it wrote says how it went: another pod may take its place. */
  readonly podLost: boolean;
  readonly hasReport: boolean;
}

export interface Evidence {
  readonly exit: PodExit;
  /** Where the pod wrote to. */
  readonly outputUri: string;
  /** The task has to leave outputs.pb: the SDK always does, other programs when outputs are declared. */
  readonly outputsExpected: boolean;
  /** The last lines the container to blame has written. Asked only for a failure nobody explained. */
  logTail(): Promise<string>;
}

/** What the co-pilot's uploader says of itself (copilot/error-document.ts). */
const UPLOAD_FAILED: FailureCode = 'OutputUploadFailed';
/** Longest error document that is read whole. */
const MAX_ERROR_BYTES = 4 * 1024 * 1024;

/**
 * Judges an ended pod by its evidence in the order error.pb, outputs.pb, exit (sdk.md §5.3): a failing task of the SDK
 * writes error.pb and exits 0, and one that wrote its outputs and then crashed has done its work. Only a main container
 * with the co-pilot around it is judged by its exit first. Never writes anything (executor.md C1).
 * @param maxOutputsBytes longest outputs.pb that is accepted
 * @throws ObjectStoreUnavailable and its kin: nothing is known then, ask again
 */
export async function judge(store: ObjectStore, evidence: Evidence, maxOutputsBytes: number): Promise<Verdict> {
  const { exit, outputUri } = evidence;
  const [report, told, outputs] = await Promise.all([
    store.head(`${outputUri}/report.html`),
    exit.decisive ? undefined : readError(store, `${outputUri}/error.pb`),
    exit.decisive ? ('absent' as const) : checkOutputs(store, `${outputUri}/outputs.pb`, maxOutputsBytes),
  ]);
  const ended = (failure: Failure | null, podLost = false): Verdict => ({
    failure,
    podLost,
    hasReport: report !== undefined,
  });
  // An uploader works also after a failed download, and then tells of outputs that nobody could write.
  const isConsequence = exit.failure !== null && told?.code === UPLOAD_FAILED;
  if (told !== undefined && !isConsequence) return ended(blameStoreOutage(told, outputUri));
  if (outputs === 'good') return ended(null);
  if (outputs !== 'absent') return ended(outputs);
  if (exit.failure !== null) {
    // A task that could not write its error either says so with its last words.
    const failure = blameStoreOutage(await withWords(exit.failure, evidence), outputUri);
    return ended(failure, exit.failure.kind === 'SYSTEM');
  }
  if (!evidence.outputsExpected) return ended(null);
  if (exit.container !== undefined) {
    // The last line is the one for people (copilot/main.ts); those before it are its log.
    const words = (await evidence.logTail()).trim() || exit.detail.trim();
    const message = `the task ended with exit code 0, but its outputs could not be uploaded to ${outputUri}: ${words.split('\n').at(-1)}`;
    return ended({ code: UPLOAD_FAILED, kind: 'SYSTEM', message: shorten(message), recoverable: true });
  }
  return ended(
    await withWords(
      {
        code: 'OutputsNotFound',
        kind: 'USER',
        message: `the task ended with exit code 0, but wrote neither outputs nor an error to ${outputUri}: its process was stopped from inside, for example by os._exit(0)`,
        recoverable: true,
      },
      evidence,
    ),
  );
}

async function readError(store: ObjectStore, uri: string): Promise<Failure | undefined> {
  try {
    const object = await store.open(uri, { range: { start: 0, endInclusive: MAX_ERROR_BYTES - 1 } });
    const chunks: Uint8Array[] = [];
    for await (const chunk of object.body) chunks.push(chunk);
    return readErrorDocument(Buffer.concat(chunks), uri, object.info.size <= MAX_ERROR_BYTES);
  } catch (error) {
    if (error instanceof ObjectNotFound) return undefined;
    // An empty object has no first byte.
    if ((error as { code?: unknown }).code === 'range-not-satisfiable')
      return readErrorDocument(new Uint8Array(), uri, true);
    throw error;
  }
}

async function checkOutputs(store: ObjectStore, uri: string, maxBytes: number): Promise<'good' | 'absent' | Failure> {
  let bytes: Uint8Array;
  try {
    bytes = await store.read(uri, { maxBytes });
  } catch (error) {
    if (error instanceof ObjectNotFound) return 'absent';
    if (!(error instanceof ObjectTooLarge)) throw error;
    const message = `the outputs of the task are too large: ${error.message}; return files or data frames instead of large values`;
    return { code: 'OutputsTooLarge', kind: 'USER', message, recoverable: false };
  }
  try {
    fromBinary(OutputsSchema, bytes);
    return 'good';
  } catch (error) {
    const message = `the outputs of the task in ${uri} cannot be decoded (${(error as Error).message}); something other than the SDK wrote them`;
    return { code: 'OutputsCorrupt', kind: 'USER', message, recoverable: true };
  }
}

/** The failure with the last words of its container, which often are all there is to go by. */
async function withWords(failure: Failure, { exit, logTail }: Evidence): Promise<Failure> {
  const words = (await logTail()).trim() || exit.detail.trim();
  if (words === '') return failure;
  return { ...failure, message: shorten(`${failure.message}\n${words}`) };
}
