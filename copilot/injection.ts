import { posix } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import type { V1Container, V1EnvVar, V1PodSpec, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import {
  type TypedInterface,
  TypedInterfaceSchema,
  VariableEntrySchema,
  VariableMapSchema,
  VariableSchema,
} from '../proto/gen/flyteidl2/core/interface_pb.js';
import {
  type DataLoadingConfig,
  DataLoadingConfig_FileInputLayout,
  DataLoadingConfig_LiteralMapFormat,
  IOStrategy_DownloadMode,
  IOStrategy_UploadMode,
} from '../proto/gen/flyteidl2/core/tasks_pb.js';
import { declarationFailure } from './failure.ts';

/*
 * How the co-pilot gets into a pod, for both pod runtimes (kubernetes and process):
 *
 *   initContainers  flyte-copilot-uploader    restartPolicy Always (a native sidecar), first of all; only with outputs
 *                   …the task's own…
 *                   flyte-copilot-downloader  last; only with inputs
 *                   flyte-copilot-gate        last, in its place; only with outputs and without inputs
 *   containers      …the task's own…; the main one mounts the data volumes, read-write
 *
 * How the uploader learns that the main container ended: by SIGTERM, which both runtimes send to sidecars when all main containers
 * have ended. A SIGTERM before its handler is there would be lost (it is ignored in a container, deadly to a plain process), so
 * the main container must not start earlier: the uploader creates a ready file in the output volume as its first act, and the
 * init container behind it (downloader or gate) ends only when that file is there. Nothing else of the runtime is needed:
 * no startup probe, no shared process namespace, no marker that somebody has to write.
 *
 * When the main container fails, the sidecar still gets its SIGTERM, and may find outputs missing and write error.pb. So the exit of
 * the main container decides first; error.pb and outputs.pb count only when it was 0.
 *
 * A downloader that fails exits 1: the pod fails in init and the main container never starts. error.pb then says why. An uploader that
 * fails exits 1 too, but the exit of a sidecar does not change the phase of a pod: success needs outputs.pb when outputs
 * are declared, whatever the phase says.
 */

/** `data_config` of a raw-container task, as far as it is about data. */
export type DataConfig = Pick<
  DataLoadingConfig,
  'inputPath' | 'outputPath' | 'format' | 'fileInputLayout' | 'ioStrategy'
>;

export type CopilotOptions = {
  interface: TypedInterface;
  data: DataConfig;
  /** URI of the task's inputs.pb. */
  inputsUri: string;
  /** Prefix of the attempt: outputs.pb and error.pb go directly below. */
  outputPrefix: string;
  /** Prefix for files and directories. */
  rawOutputPrefix: string;
  /** Image with Node and this program. The process runtime ignores it. */
  image: string;
  /** How to start this program, without its arguments: `['node', '/app/copilot/main.ts']`; in the process runtime, this node's own. */
  command: readonly string[];
  /**
   * Access to the object store (FLYTE_AWS_*, AWS_REGION). Credentials come by `valueFrom.secretKeyRef` or by workload identity, never
   * as values in a real pod spec.
   */
  env: readonly V1EnvVar[];
  /** Prefix of the container names. Default `flyte-copilot-`. */
  namePrefix?: string;
  /** Requests and limits of each container. Defaults 500m and 384Mi (main.ts has the measurements). */
  cpu?: string;
  memory?: string;
  /** For the download, whole seconds. Default 1 h. */
  downloadTimeoutSeconds?: number;
  /** For the upload, whole seconds; also the grace period of the pod on its normal end. Default 1 h. */
  uploadTimeoutSeconds?: number;
  /** Size limit of each data volume, from the task's storage request; none by default. */
  volumeSizeLimit?: string;
};

/** The pieces to put into a pod; {@link withCopilot} does it. */
export type CopilotContainers = {
  /** First init container. */
  uploader: V1Container | null;
  /** Last init container: the downloader, or the gate of a task without inputs. */
  last: V1Container | null;
  volumes: V1Volume[];
  /** For the main container. */
  mounts: V1VolumeMount[];
  /** For the pod. A pod that is *aborted* must be deleted with an explicit, short grace period (copilot.md §8.4). */
  terminationGracePeriodSeconds: number | null;
};

const DEFAULT_INPUT_PATH = '/var/flyte/inputs';
const DEFAULT_OUTPUT_PATH = '/var/flyte/outputs';
const INPUT_VOLUME = 'flyte-inputs';
const OUTPUT_VOLUME = 'flyte-outputs';
/** Hidden, and not a name a variable can have. */
const READY_FILE = '.flyte-copilot-ready';
const HOUR_SECONDS = 3_600;

const dataPath = (field: string, given: string, preset: string): string => {
  const path = posix.normalize(given === '' ? preset : given).replace(/(?<=.)\/$/, '');
  if (!path.startsWith('/') || path === '/') {
    throw declarationFailure(`data_config.${field} is ${JSON.stringify(given)}; give an absolute path below /`);
  }
  return path;
};

/** Only what the uploader reads, to keep the argument short: the outputs without their descriptions. */
const encodedOutputs = (outputs: NonNullable<TypedInterface['outputs']>): string => {
  const variables = outputs.variables.map(({ key, value }) =>
    create(VariableEntrySchema, { key, value: create(VariableSchema, value?.type && { type: value.type }) }),
  );
  const reduced = create(TypedInterfaceSchema, { outputs: create(VariableMapSchema, { variables }) });
  return Buffer.from(toBinary(TypedInterfaceSchema, reduced)).toString('base64');
};

/**
 * The co-pilot's part of a pod (copilot.md §1), empty for a task without inputs and outputs. Pure.
 *
 * @throws CopilotFailure when `data_config` has paths that cannot be mounted.
 */
export const copilotContainers = (options: CopilotOptions): CopilotContainers => {
  const { data, namePrefix = 'flyte-copilot-', uploadTimeoutSeconds = HOUR_SECONDS } = options;
  const hasInputs = (options.interface.inputs?.variables.length ?? 0) > 0;
  const outputs = options.interface.outputs?.variables.length ? options.interface.outputs : null;
  const inputPath = dataPath('input_path', data.inputPath, DEFAULT_INPUT_PATH);
  const outputPath = dataPath('output_path', data.outputPath, DEFAULT_OUTPUT_PATH);
  if (hasInputs && outputs !== null && inputPath === outputPath) {
    throw declarationFailure(`data_config has ${inputPath} for both inputs and outputs; give two directories`);
  }
  const sized = options.volumeSizeLimit === undefined ? {} : { sizeLimit: options.volumeSizeLimit };
  const mounts: V1VolumeMount[] = [];
  if (hasInputs) mounts.push({ name: INPUT_VOLUME, mountPath: inputPath });
  if (outputs !== null) mounts.push({ name: OUTPUT_VOLUME, mountPath: outputPath });
  const resources = { cpu: options.cpu ?? '500m', memory: options.memory ?? '384Mi' };
  const container = (name: string, args: string[]): V1Container => ({
    name: namePrefix + name,
    image: options.image,
    imagePullPolicy: 'IfNotPresent',
    command: [...options.command],
    args,
    env: [...options.env],
    workingDir: '/',
    resources: { requests: { ...resources }, limits: { ...resources } },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: mounts.map(mount => ({ ...mount })),
  });
  const readyFile = posix.join(outputPath, READY_FILE);
  const uploader = (): V1Container => ({
    ...container('uploader', [
      'upload',
      ...['--from-local-dir', outputPath],
      ...(hasInputs ? ['--input-dir', inputPath] : []),
      ...['--to-raw-output', options.rawOutputPrefix],
      ...['--to-output-prefix', options.outputPrefix],
      ...['--interface', encodedOutputs(outputs!)],
      ...['--upload-mode', IOStrategy_UploadMode[data.ioStrategy?.uploadMode ?? 0]!],
      ...['--ready-file', readyFile],
      ...['--timeout', `${uploadTimeoutSeconds}s`],
    ]),
    restartPolicy: 'Always',
  });
  const downloader = (): V1Container =>
    container('downloader', [
      'download',
      ...['--from-remote', options.inputsUri],
      ...['--to-output-prefix', options.outputPrefix],
      ...['--to-local-dir', inputPath],
      ...['--format', DataLoadingConfig_LiteralMapFormat[data.format]!],
      ...['--file-input-layout', DataLoadingConfig_FileInputLayout[data.fileInputLayout]!],
      ...['--download-mode', IOStrategy_DownloadMode[data.ioStrategy?.downloadMode ?? 0]!],
      ...(outputs === null ? [] : ['--await-file', readyFile]),
      ...['--timeout', `${options.downloadTimeoutSeconds ?? HOUR_SECONDS}s`],
    ]);
  const gate = (): V1Container => container('gate', ['await', '--file', readyFile]);
  return {
    uploader: outputs === null ? null : uploader(),
    last: hasInputs ? downloader() : outputs === null ? null : gate(),
    volumes: mounts.map(({ name }) => ({ name, emptyDir: { ...sized } })),
    mounts,
    terminationGracePeriodSeconds: outputs === null ? null : uploadTimeoutSeconds,
  };
};

/**
 * `spec` with the co-pilot in it: order, mounts and grace period as described at the top of this file. Returns a new object.
 *
 * @param main name of the container that does the task's work
 * @throws CopilotFailure when `main` is not there, or when the task's own volumes, mounts or containers use the co-pilot's names.
 */
export const withCopilot = (spec: V1PodSpec, main: string, copilot: CopilotContainers): V1PodSpec => {
  const { uploader, last, volumes, mounts, terminationGracePeriodSeconds } = copilot;
  const target = spec.containers.find(({ name }) => name === main);
  if (target === undefined)
    throw declarationFailure(`the pod has no container ${JSON.stringify(main)}; name its primary one`);
  const added = [uploader, last].filter(container => container !== null);
  refuseClash(
    'container',
    [...spec.containers, ...(spec.initContainers ?? [])].map(({ name }) => name),
    added.map(({ name }) => name),
  );
  refuseClash(
    'volume',
    (spec.volumes ?? []).map(({ name }) => name),
    volumes.map(({ name }) => name),
  );
  refuseClash(
    'mount path',
    (target.volumeMounts ?? []).map(mount => mount.mountPath),
    mounts.map(mount => mount.mountPath),
  );
  return {
    ...spec,
    initContainers: [
      ...(uploader === null ? [] : [uploader]),
      ...(spec.initContainers ?? []),
      ...(last === null ? [] : [last]),
    ],
    containers: spec.containers.map(container =>
      container === target ? { ...container, volumeMounts: [...(container.volumeMounts ?? []), ...mounts] } : container,
    ),
    volumes: [...(spec.volumes ?? []), ...volumes],
    ...(terminationGracePeriodSeconds !== null && { terminationGracePeriodSeconds }),
  };
};

const refuseClash = (kind: string, taken: string[], wanted: string[]): void => {
  const clash = wanted.find(name => taken.includes(name));
  if (clash !== undefined)
    throw declarationFailure(`the task's own ${kind} ${clash} is one that inputs and outputs need; rename it`);
};
