#!/usr/bin/env node
/**
 * The co-pilot: a program of its own in the pods of raw-container tasks. `download` is an init container that turns the task's inputs
 * into files; `upload` is a sidecar that turns files into the task's outputs when the main container has ended; `await` stands
 * in for `download` when there are no inputs. injection.ts says how they get into a pod and how they learn what they must;
 * command-line.ts has the flags, and `--help` tells them.
 *
 *   download   reading → placing → done (0) | failed (1: error.pb, the pod fails before the main container starts)
 *   upload     ready (ready file) → SIGTERM → collecting → storing → outputs.pb → done (0) | failed (1: error.pb)
 *
 * Invariants: outputs.pb is the last write, so a part of an upload never looks like success. A process that dies at any point
 * leaves neither outputs.pb nor error.pb; the executor finds that and starts the attempt anew.
 *
 * Start-up time counts twice per task, so this file imports nothing up front, and each sub-command only what it needs. Measured on two
 * busy cores: `await` 0.15 s; `upload` ready for SIGTERM after 0.15 s, small outputs stored 0.07 s after it; `download` of small
 * inputs 0.4 s in all. Memory: 120 MiB at rest, 190 MiB while four large files come down, 220 MiB while four go up (two at a
 * time, in parts); hence the 384Mi of injection.ts.
 */
import type { Command } from './command-line.ts';
import type { FailureCode } from './error-document.ts';

const EXIT = { done: 0, failed: 1, usage: 2, untold: 3, signalled: 143 } as const;
/** How long the error document may take once the work has failed. */
const ERROR_TIMEOUT_MS = 60_000;

/** The first signal ends the wait of `upload`; to all others, and as a second one, it means: stop. */
const mainEnded = Promise.withResolvers<void>();
let isWaiting = process.argv[2] === 'upload';
const onSignal = (): void => {
  if (!isWaiting) process.exit(EXIT.signalled);
  isWaiting = false;
  mainEnded.resolve();
};
process.on('SIGTERM', onSignal);
process.on('SIGINT', onSignal);

/** Signal handlers do not keep a process alive; a timer does. */
const untilMainEnded = async (): Promise<void> => {
  const alive = setInterval(() => {}, 3_600_000);
  await mainEnded.promise;
  clearInterval(alive);
};

type DataCommand = Extract<Command, { name: 'download' | 'upload' }>;

/** The object store that the environment describes; the variables are those that the SDK reads in task pods (sdk.md §6.2). */
const openStore = async (env: NodeJS.ProcessEnv) => {
  const { S3Store } = await import('../storage/s3.ts');
  const { FLYTE_AWS_ENDPOINT: endpoint, FLYTE_AWS_ACCESS_KEY_ID: key, FLYTE_AWS_SECRET_ACCESS_KEY: secret } = env;
  return new S3Store({
    client: {
      region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1',
      ...(endpoint && { endpoint, forcePathStyle: env.FLYTE_AWS_S3_ADDRESSING_STYLE !== 'virtual' }),
      ...(key && secret && { credentials: { accessKeyId: key, secretAccessKey: secret } }),
    },
  });
};

/** A signal that ends after `timeoutMs` (0: never) with a failure that says so. */
const deadline = async (timeoutMs: number): Promise<AbortSignal> => {
  const { systemFailure } = await import('./failure.ts');
  const controller = new AbortController();
  const expire = () =>
    controller.abort(systemFailure(`not finished after ${timeoutMs / 1_000} s; raise the timeout or move less data`));
  if (timeoutMs > 0) setTimeout(expire, timeoutMs).unref();
  return controller.signal;
};

const awaitFile = async (file: string, timeoutMs: number): Promise<void> => {
  const { awaitReady } = await import('./ready-file.ts');
  await awaitReady(file, await deadline(timeoutMs));
};

/** Does the work of `download` or `upload`, or tells in error.pb why not. Returns the exit code. */
const work = async (command: DataCommand): Promise<number> => {
  if (command.name === 'upload' && command.readyFile !== null) {
    const { announceReady } = await import('./ready-file.ts');
    await announceReady(command.readyFile);
  }
  const [{ Remote }, { pino }, store] = await Promise.all([
    import('./remote.ts'),
    import('pino'),
    openStore(process.env),
  ]);
  const log = pino({ name: 'copilot', base: { part: command.name } }, pino.destination({ fd: 2, sync: true }));
  const code: FailureCode = command.name === 'download' ? 'InputDownloadFailed' : 'OutputUploadFailed';
  try {
    if (command.name === 'download') {
      const { download } = await import('./download.ts');
      // The main container may run as any user.
      process.umask(0);
      const signal = await deadline(command.timeoutMs);
      await download(command.request, { remote: new Remote(store, { signal }), log });
      if (command.awaitFile !== null) await awaitFile(command.awaitFile, command.timeoutMs);
    } else {
      const { decodeInterface, upload } = await import('./upload.ts');
      if (command.waitFor === 'sigterm') await untilMainEnded();
      isWaiting = false;
      const signal = await deadline(command.timeoutMs);
      const request = { ...command.request, interface: decodeInterface(command.interface) };
      await upload(request, { remote: new Remote(store, { signal }), log });
    }
    return EXIT.done;
  } catch (thrown) {
    const [{ asFailure }, { errorDocument }] = await Promise.all([
      import('./failure.ts'),
      import('./error-document.ts'),
    ]);
    const failure = asFailure(thrown);
    log.error({ code, origin: failure.origin, recoverable: failure.recoverable, err: failure }, 'failed');
    const remote = new Remote(store, { signal: await deadline(ERROR_TIMEOUT_MS) });
    try {
      // A download that failed says why; the outputs that are missing for that reason must not hide it.
      await remote.writeFirst(command.errorUri, errorDocument(code, failure), 'application/x-protobuf');
    } catch (cause) {
      log.error({ err: cause, errorUri: command.errorUri }, 'the error document could not be written');
      console.error(`flyte-copilot: ${code}: ${failure.message}`);
      return EXIT.untold;
    }
    // The last line of the log: with FallbackToLogsOnError it becomes the container's termination message.
    console.error(`flyte-copilot: ${code}: ${failure.message}`);
    return EXIT.failed;
  }
};

const run = async (args: string[]): Promise<number> => {
  const { HELP, parseCommandLine, UsageError } = await import('./command-line.ts');
  try {
    const command = parseCommandLine(args);
    switch (command.name) {
      case 'help':
        console.log(HELP);
        return EXIT.done;
      case 'await':
        await awaitFile(command.file, command.timeoutMs);
        return EXIT.done;
      default:
        return await work(command);
    }
  } catch (thrown) {
    console.error(`flyte-copilot: ${thrown instanceof Error ? thrown.message : thrown}`);
    return thrown instanceof UsageError ? EXIT.usage : EXIT.untold;
  }
};

process.exit(await run(process.argv.slice(2)));
