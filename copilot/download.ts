import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { InputsSchema } from '../proto/gen/flyteidl2/task/common_pb.js';
import { forEachBounded } from './bounded.ts';
import { systemFailure, told } from './failure.ts';
import { type FileInputLayout, type InputStep, planInputs } from './input-layout.ts';
import { type PlainValue, toJsonText } from './json-text.ts';
import { resolveOffloaded } from './offloaded-literal.ts';
import { PARALLEL_FILES, type Remote } from './remote.ts';
import { toYamlText } from './yaml-text.ts';

export type ValueFormat = 'JSON' | 'YAML' | 'PROTO';
export type DownloadMode = 'DOWNLOAD_EAGER' | 'DOWNLOAD_STREAM' | 'DO_NOT_DOWNLOAD';

export type DownloadRequest = {
  /** URI of inputs.pb. */
  inputsUri: string;
  /** Directory to fill; absolute, the same path in the main container. */
  directory: string;
  format: ValueFormat;
  layout: FileInputLayout;
  /** DOWNLOAD_STREAM is served eagerly: a whole file is everything a stream is. */
  mode: DownloadMode;
};

export type DownloadDeps = { remote: Remote; log: Pick<Logger, 'info'> };

/** inputs.pb and each offloaded literal: far above every limit of inline inputs (sdk.md §5.4), and still fits the memory. */
const MAX_LITERAL_BYTES = 64 * 1024 * 1024;
const ANYBODY = 0o777;

const writeLocal = (target: string, content: Uint8Array | string): Promise<void> =>
  writeFile(target, content, { mode: ANYBODY }).catch(cause => {
    throw systemFailure(`cannot write ${target}: ${(cause as Error).message}`, { cause });
  });

const perform = (step: InputStep, remote: Remote): Promise<unknown> => {
  switch (step.kind) {
    case 'directory':
      return mkdir(step.path, { recursive: true });
    case 'file':
      return mkdir(path.dirname(step.path), { recursive: true }).then(() => writeLocal(step.path, step.content));
    case 'object':
      return remote.fetchFile(step.uri, step.path);
    case 'tree':
      return remote.fetchTree(step.uri, step.path);
    case 'dataset':
      return remote.fetchDataset(step.uri, step.path);
  }
};

const aggregate = (format: ValueFormat, values: Map<string, PlainValue>): { name: string; text: string } | null => {
  if (format === 'PROTO') return null;
  return format === 'JSON'
    ? { name: 'inputs.json', text: toJsonText(values) }
    : { name: 'inputs.yaml', text: toYamlText(values) };
};

/**
 * Puts the inputs of a raw-container task on disk (copilot.md §3.2): one place per variable, inputs.pb, and inputs.json or
 * inputs.yaml. The aggregates are written last, so a directory that has inputs.pb is complete.
 *
 * @throws CopilotFailure naming the input, its URI or path, and the remedy; what is on disk by then is of no use.
 */
export const download = async (request: DownloadRequest, { remote, log }: DownloadDeps): Promise<void> => {
  const startedAt = performance.now();
  await mkdir(request.directory, { recursive: true, mode: ANYBODY });
  const bytes = await told('the inputs of the task', () => remote.read(request.inputsUri, MAX_LITERAL_BYTES));
  const inputs = await told(`${request.inputsUri} is not readable as inputs`, async () =>
    fromBinary(InputsSchema, bytes),
  );
  for (const input of inputs.literals) {
    if (input.value === undefined) continue;
    const read = (uri: string) => remote.read(uri, MAX_LITERAL_BYTES);
    input.value = await told(`input "${input.name}"`, () => resolveOffloaded(input.value!, read));
  }
  const { directory, layout } = request;
  const plan = await planInputs(inputs, { directory, layout, fetchRemote: request.mode !== 'DO_NOT_DOWNLOAD' });
  log.info({ inputs: inputs.literals.length, steps: plan.steps.length }, 'downloading inputs');
  await forEachBounded(plan.steps, PARALLEL_FILES, async step => {
    const what = 'uri' in step ? `${step.uri} to ${step.path}` : step.path;
    await told(`input "${step.variable}" (${what})`, () => perform(step, remote));
  });
  const whole = aggregate(request.format, plan.values);
  if (whole !== null) await writeLocal(path.join(directory, whole.name), whole.text);
  await writeLocal(path.join(directory, 'inputs.pb'), toBinary(InputsSchema, plan.localized));
  log.info({ durationMs: Math.round(performance.now() - startedAt) }, 'inputs are in place');
};
