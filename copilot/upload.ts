import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { type TypedInterface, TypedInterfaceSchema } from '../proto/gen/flyteidl2/core/interface_pb.js';
import { LiteralTypeSchema } from '../proto/gen/flyteidl2/core/types_pb.js';
import { type NamedLiteral, NamedLiteralSchema, OutputsSchema } from '../proto/gen/flyteidl2/task/common_pb.js';
import { forEachBounded } from './bounded.ts';
import { declarationFailure, told, userFailure } from './failure.ts';
import { MAX_VALUE_BYTES, OutputCollector, type Upload } from './output-collector.ts';
import { type Found, OutputFiles } from './output-files.ts';
import { PARALLEL_FILES, type Remote } from './remote.ts';

export type UploadMode = 'UPLOAD_ON_EXIT' | 'UPLOAD_EAGER' | 'DO_NOT_UPLOAD';

export type UploadRequest = {
  /** Directory that the main container filled; absolute, the same path as there. */
  directory: string;
  /** The task's input directory, to which outputs may link; null when the task has no inputs. */
  inputDirectory: string | null;
  /** URI below which files and directories go. */
  rawPrefix: string;
  /** URI of the object that makes the outputs visible. */
  outputsUri: string;
  /** The task's interface; only its outputs matter. */
  interface: TypedInterface;
  /** UPLOAD_EAGER is served on exit: nobody may look at outputs before outputs.pb is there. */
  mode: UploadMode;
};

export type UploadDeps = { remote: Remote; log: Pick<Logger, 'info' | 'warn'> };

/** The file by which a command says in words that it failed, though it exits 0 (copilot.md §4.2 step 4). */
const USER_ERROR = '_ERROR';
const MAX_USER_ERROR_BYTES = 1024 * 1024;

/** Objects in the attempt's directory that mean something; with the raw prefix equal to it, no data may go there. */
const RESERVED_OBJECTS = ['outputs.pb', 'error.pb', 'errors.pb', 'inputs.pb', 'report.html', '_flytecheckpoints'];

/** Decodes the `--interface` flag: base64 of flyteidl2.core.TypedInterface. @throws CopilotFailure. */
export const decodeInterface = (base64: string): TypedInterface => {
  try {
    return fromBinary(TypedInterfaceSchema, Buffer.from(base64, 'base64'));
  } catch {
    throw declarationFailure(
      '--interface is not base64 of a TypedInterface; the executor and the co-pilot may not match',
    );
  }
};

const throwUserError = async (files: OutputFiles): Promise<void> => {
  const found = await files.at(USER_ERROR);
  if (found === null) return;
  if (found.kind === 'directory') throw userFailure(`${found.path} is a directory; write the error message to a file`);
  const message = Buffer.from(await files.read(found, MAX_USER_ERROR_BYTES))
    .toString()
    .trim();
  throw userFailure(`User Error: ${message}`);
};

/**
 * Collects the outputs of a raw-container task and stores them (copilot.md §4.2): first all files and directories, then outputs.pb.
 *
 * What must never happen: an outputs.pb that speaks of data which is not there. It is therefore the last write, one atomic put, and
 * is reached only if everything before succeeded; data already stored by then stays without anybody pointing to it, and goes
 * when the attempt's prefix is collected. If this process dies, nothing is visible and the executor retries the attempt.
 *
 * @throws CopilotFailure naming the output, its file and the remedy.
 */
export const upload = async (request: UploadRequest, { remote, log }: UploadDeps): Promise<void> => {
  const startedAt = performance.now();
  const files = await OutputFiles.open(request.directory, request.inputDirectory);
  await throwUserError(files);
  const collector = new OutputCollector({
    files,
    rawPrefix: request.rawPrefix,
    uploadRemote: request.mode !== 'DO_NOT_UPLOAD',
  });
  const literals: NamedLiteral[] = [];
  for (const { key, value } of request.interface.outputs?.variables ?? []) {
    if (key === '' || key.includes('/') || key === '.' || key === '..' || RESERVED_OBJECTS.includes(key)) {
      throw declarationFailure(`output ${JSON.stringify(key)} cannot be a file name of a value; rename the output`);
    }
    const type = value?.type ?? create(LiteralTypeSchema);
    const literal = await told(`output "${key}"`, () => collector.collect(key, type));
    literals.push(create(NamedLiteralSchema, { name: key, value: literal }));
  }
  const outputs = toBinary(OutputsSchema, create(OutputsSchema, { literals }));
  if (outputs.length > MAX_VALUE_BYTES) {
    throw userFailure(
      `the values of all outputs take ${outputs.length} bytes, ${MAX_VALUE_BYTES} are allowed; declare large ones as File`,
    );
  }
  let bytes = 0;
  const transferred = await forEachBounded(
    transfers(files, collector.uploads.values(), log),
    PARALLEL_FILES,
    async ({ file, uri }) => {
      await told(`${file.path} to ${uri}`, () => remote.storeFile(file.path, file.size, uri));
      bytes += file.size;
    },
  );
  await remote.write(request.outputsUri, outputs, 'application/x-protobuf');
  const durationMs = Math.round(performance.now() - startedAt);
  log.info({ outputs: literals.length, files: transferred, bytes, durationMs }, 'outputs are stored');
};

/** Every single file of the uploads. Empty directories cannot exist in an object store; they are told in the log. */
async function* transfers(
  files: OutputFiles,
  uploads: Iterable<Upload>,
  log: UploadDeps['log'],
): AsyncGenerator<{ file: Found; uri: string }> {
  for (const { uri, source } of uploads) {
    if (source.kind === 'file') {
      yield { file: source, uri };
      continue;
    }
    let count = 0;
    for await (const { file, relative } of files.below(source)) {
      count += 1;
      yield { file, uri: `${uri}/${relative}` };
    }
    if (count === 0) log.warn({ path: source.path }, 'an output directory is empty');
  }
}
