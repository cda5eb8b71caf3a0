import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import type { DownloadMode, DownloadRequest, ValueFormat } from './download.ts';
import { textToDuration } from './duration-text.ts';
import type { FileInputLayout } from './input-layout.ts';
import type { UploadMode, UploadRequest } from './upload.ts';

/** The command line is wrong; the message says which flag and what it takes. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

type Common = { errorUri: string; timeoutMs: number };

export type Command =
  | { name: 'help' }
  | (Common & { name: 'download'; request: DownloadRequest; awaitFile: string | null })
  | (Common & {
      name: 'upload';
      request: Omit<UploadRequest, 'interface'>;
      /** Base64 of flyteidl2.core.TypedInterface; decoded later, so that a bad one can be told in error.pb. */
      interface: string;
      readyFile: string | null;
      waitFor: 'sigterm' | 'nothing';
    })
  | { name: 'await'; file: string; timeoutMs: number };

export const HELP = `flyte-copilot: gives the inputs of a task to any container as files, and takes its outputs from files

  flyte-copilot download   before the container: inputs.pb -> files
  flyte-copilot upload     beside the container: waits for its end (SIGTERM), then files -> outputs.pb
  flyte-copilot await      before a container without inputs: waits until "upload" is ready

download
  -f, --from-remote URI         inputs.pb of the task (required)
      --to-output-prefix URI    where error.pb goes (required)
  -o, --to-local-dir DIR        directory to fill (required)
  -m, --format FORMAT           JSON, YAML or PROTO: which file of all values to add [JSON]
      --file-input-layout NAME  DIRECT (by variable) or NAMED_DIR (files keep their names) [DIRECT]
  -d, --download-mode MODE      DOWNLOAD_EAGER, DOWNLOAD_STREAM or DO_NOT_DOWNLOAD [DOWNLOAD_EAGER]
      --await-file FILE         end only when this file is there (the ready file of "upload")
  -t, --timeout DURATION        0 is none [1h]
      --err-output-name NAME    [error.pb]

upload
  -f, --from-local-dir DIR      directory with the outputs (required)
      --input-dir DIR           directory with the inputs, to which outputs may link
  -x, --to-raw-output URI       where files and directories go (required)
  -o, --to-output-prefix URI    where outputs.pb and error.pb go (required)
  -i, --interface BASE64        flyteidl2.core.TypedInterface of the task (required)
  -u, --upload-mode MODE        UPLOAD_ON_EXIT, UPLOAD_EAGER or DO_NOT_UPLOAD [UPLOAD_ON_EXIT]
      --ready-file FILE         created as soon as SIGTERM will not be missed
      --wait-for EVENT          sigterm or nothing [sigterm]
  -t, --timeout DURATION        from the end of the container; 0 is none [1h]
      --meta-output-name NAME   [outputs.pb]
      --err-output-name NAME    [error.pb]

await
      --file FILE               (required)
  -t, --timeout DURATION        0 is none [2m]

The object store is the one of FLYTE_AWS_ENDPOINT, FLYTE_AWS_ACCESS_KEY_ID, FLYTE_AWS_SECRET_ACCESS_KEY and AWS_REGION; without
them, what the AWS SDK finds (workload identity). Exit codes: 0 done; 1 failed, error.pb tells why; 2 wrong command line;
3 failed, and error.pb could not be written; 143 ended by a signal.
`;

const string = (short?: string, preset?: string): ParseArgsOptionsConfig[string] => ({
  type: 'string',
  ...(short !== undefined && { short }),
  ...(preset !== undefined && { default: preset }),
});

const DOWNLOAD: ParseArgsOptionsConfig = {
  'from-remote': string('f'),
  'to-output-prefix': string(),
  'to-local-dir': string('o'),
  format: string('m', 'JSON'),
  'file-input-layout': string(undefined, 'DIRECT'),
  'download-mode': string('d', 'DOWNLOAD_EAGER'),
  'await-file': string(),
  timeout: string('t', '1h'),
  'err-output-name': string(undefined, 'error.pb'),
};

const UPLOAD: ParseArgsOptionsConfig = {
  'from-local-dir': string('f'),
  'input-dir': string(),
  'to-raw-output': string('x'),
  'to-output-prefix': string('o'),
  interface: string('i'),
  'upload-mode': string('u', 'UPLOAD_ON_EXIT'),
  'ready-file': string(),
  'wait-for': string(undefined, 'sigterm'),
  timeout: string('t', '1h'),
  'meta-output-name': string(undefined, 'outputs.pb'),
  'err-output-name': string(undefined, 'error.pb'),
};

const AWAIT: ParseArgsOptionsConfig = { file: string(), timeout: string('t', '2m') };

/** The flags of one sub-command, read one by one. */
class Flags {
  readonly #values: Record<string, unknown>;

  constructor(args: string[], options: ParseArgsOptionsConfig) {
    try {
      this.#values = parseArgs({ args, options, strict: true, allowPositionals: false }).values;
    } catch (cause) {
      throw new UsageError((cause as Error).message, { cause });
    }
  }

  optional(name: string): string | null {
    const value = this.#values[name];
    return typeof value === 'string' && value !== '' ? value : null;
  }

  required(name: string): string {
    const value = this.optional(name);
    if (value === null) throw new UsageError(`--${name} is missing; see flyte-copilot --help`);
    return value;
  }

  directory(name: string): string {
    const value = this.required(name);
    if (!value.startsWith('/')) throw new UsageError(`--${name} is ${JSON.stringify(value)}; give an absolute path`);
    return value.replace(/(?<=.)\/+$/, '');
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const value = this.required(name);
    const found = values.find(one => one === value);
    if (found === undefined)
      throw new UsageError(`--${name} is ${JSON.stringify(value)}; it takes ${values.join(', ')}`);
    return found;
  }

  durationMs(name: string): number {
    const text = this.required(name);
    try {
      const { seconds, nanos } = textToDuration(text);
      const ms = Number(seconds) * 1_000 + nanos / 1e6;
      if (ms >= 0) return ms;
    } catch {
      // told below, with the name of the flag
    }
    throw new UsageError(`--${name} is ${JSON.stringify(text)}; give a duration like 90s or 1h, or 0 for none`);
  }

  below(prefix: string, name: string): string {
    return `${this.required(prefix).replace(/\/+$/, '')}/${this.required(name)}`;
  }
}

const downloadCommand = (flags: Flags): Command => ({
  name: 'download',
  errorUri: flags.below('to-output-prefix', 'err-output-name'),
  timeoutMs: flags.durationMs('timeout'),
  awaitFile: flags.optional('await-file'),
  request: {
    inputsUri: flags.required('from-remote'),
    directory: flags.directory('to-local-dir'),
    format: flags.oneOf<ValueFormat>('format', ['JSON', 'YAML', 'PROTO']),
    layout: flags.oneOf<FileInputLayout>('file-input-layout', ['DIRECT', 'NAMED_DIR']),
    mode: flags.oneOf<DownloadMode>('download-mode', ['DOWNLOAD_EAGER', 'DOWNLOAD_STREAM', 'DO_NOT_DOWNLOAD']),
  },
});

const uploadCommand = (flags: Flags): Command => ({
  name: 'upload',
  errorUri: flags.below('to-output-prefix', 'err-output-name'),
  timeoutMs: flags.durationMs('timeout'),
  interface: flags.required('interface'),
  readyFile: flags.optional('ready-file'),
  waitFor: flags.oneOf('wait-for', ['sigterm', 'nothing'] as const),
  request: {
    directory: flags.directory('from-local-dir'),
    inputDirectory: flags.optional('input-dir') === null ? null : flags.directory('input-dir'),
    rawPrefix: flags.required('to-raw-output'),
    outputsUri: flags.below('to-output-prefix', 'meta-output-name'),
    mode: flags.oneOf<UploadMode>('upload-mode', ['UPLOAD_ON_EXIT', 'UPLOAD_EAGER', 'DO_NOT_UPLOAD']),
  },
});

/**
 * What a command line asks for (the flags of copilot.md §3.1 and §4.1; see {@link HELP}).
 *
 * @param args what follows the program's name
 * @throws UsageError naming the flag, its value and what it takes.
 */
export const parseCommandLine = (args: readonly string[]): Command => {
  const [name, ...rest] = args;
  if (args.includes('--help') || args.includes('-h') || name === 'help') return { name: 'help' };
  switch (name) {
    case 'download':
      return downloadCommand(new Flags(rest, DOWNLOAD));
    case 'upload':
      return uploadCommand(new Flags(rest, UPLOAD));
    case 'await': {
      const flags = new Flags(rest, AWAIT);
      return { name: 'await', file: flags.required('file'), timeoutMs: flags.durationMs('timeout') };
    }
    default:
      throw new UsageError(
        `${name === undefined ? 'no sub-command' : JSON.stringify(name)}; use download, upload or await`,
      );
  }
};
