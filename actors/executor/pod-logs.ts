import type { ObjectStore } from '../../storage/object-store.ts';
import type { LogFile, PodFacts } from './messages.ts';
import { PodNotFoundError, type PodRuntime } from './runtime/pod-runtime.ts';

/** What was kept of a pod's output. */
export interface KeptLogs {
  /** The primary container first. */
  readonly files: readonly LogFile[];
  /** Last lines by container. */
  readonly tails: ReadonlyMap<string, string>;
}

/** Enough for what obstore prints of itself below its one sentence, which store-outage.ts looks for. */
const TAIL_LINES = 60;
const TAIL_CHARS = 4_096;
/** What is kept of one container: copying must end well before an effect is given up. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;
const FILE = /\/([^/]+)\.log$/;

/** Where the log of a container is kept: one line per line, `<RFC 3339 time> <text>`, as `kubectl logs --timestamps` shows it. */
export function logUri(logsUri: string, container: string): string {
  return `${logsUri}/${container}.log`;
}

export interface CopyOptions {
  /** Go on until the containers have ended. */
  readonly follow: boolean;
  /** How long the copy may take; what comes later is left out. */
  readonly maxMs: number;
  readonly signal: AbortSignal;
}

/**
 * Copies what the containers of a pod have written to the object store, before the pod and its logs are deleted.
 * Repeating it writes the same again; files of a pod that is gone by now are found in the store.
 * @throws the errors of the object store
 */
export async function keepLogs(
  runtime: PodRuntime,
  store: ObjectStore,
  pod: PodFacts,
  logsUri: string,
  options: CopyOptions,
): Promise<KeptLogs> {
  const tails = new Map<string, string>();
  const started = pod.containers.filter(({ startedAtMs }) => startedAtMs !== undefined);
  const copies = started.map(async ({ name: container }): Promise<LogFile | undefined> => {
    const tail = new Tail();
    const uri = logUri(logsUri, container);
    try {
      await store.put(uri, lines(runtime, pod.name, container, tail, options), {
        contentType: 'text/plain; charset=utf-8',
      });
      tails.set(container, tail.text);
      return { container, uri };
    } catch (error) {
      if (error instanceof PodNotFoundError) return undefined;
      throw error;
    }
  });
  const files = (await Promise.all(copies)).filter(file => file !== undefined);
  const isWhole = files.length === started.length && files.length > 0;
  return {
    files: isWhole ? primaryFirst(files, pod.primaryContainer) : await keptFiles(store, logsUri, pod.primaryContainer),
    tails,
  };
}

/** The last lines of each container, of a pod whose logs cannot be kept. */
export async function lastWords(
  runtime: PodRuntime,
  pod: PodFacts,
  options: CopyOptions,
): Promise<ReadonlyMap<string, string>> {
  const tails = new Map<string, string>();
  for (const { name, startedAtMs } of pod.containers) {
    if (startedAtMs === undefined) continue;
    const tail = new Tail();
    try {
      for await (const _ of lines(runtime, pod.name, name, tail, options));
    } catch (error) {
      if (!(error instanceof PodNotFoundError)) throw error;
    }
    tails.set(name, tail.text);
  }
  return tails;
}

async function* lines(
  runtime: PodRuntime,
  pod: string,
  container: string,
  tail: Tail,
  { follow, maxMs, signal }: CopyOptions,
): AsyncGenerator<Uint8Array> {
  const late = AbortSignal.timeout(maxMs);
  let left = MAX_LOG_BYTES;
  for await (const { timestamp, text } of runtime.logs(pod, container, {
    follow,
    signal: AbortSignal.any([signal, late]),
  })) {
    tail.add(text);
    const line = Buffer.from(`${timestamp.toISOString()} ${text}\n`);
    left -= line.length;
    if (left < 0) break;
    yield line;
  }
  signal.throwIfAborted();
  if (left < 0 || late.aborted)
    yield Buffer.from(`${new Date().toISOString()} … the rest of this log was not kept …\n`);
}

/** The log files of an incarnation that are in the store, the primary container's first. */
export async function keptFiles(store: ObjectStore, logsUri: string, primary: string): Promise<LogFile[]> {
  const files: LogFile[] = [];
  for await (const { uri } of store.list(`${logsUri}/`)) {
    const container = FILE.exec(uri)?.[1];
    if (container !== undefined) files.push({ container, uri });
  }
  return primaryFirst(files, primary);
}

function primaryFirst(files: LogFile[], primary: string): LogFile[] {
  return files.sort((a, b) => Number(b.container === primary) - Number(a.container === primary));
}

/** The last lines of a stream, however long it is. */
class Tail {
  private readonly kept: string[] = [];

  add(line: string): void {
    this.kept.push(line);
    if (this.kept.length > TAIL_LINES) this.kept.shift();
  }

  get text(): string {
    return this.kept.join('\n').slice(-TAIL_CHARS);
  }
}
