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

const TAIL_LINES = 20;
const TAIL_CHARS = 4_096;
/** What is kept of one container: copying must end well before an effect is given up. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;
const MAX_COPY_MS = 20_000;
const FILE = /\/([^/]+)\.log$/;

/** Where the log of a container is kept: one line per line, `<RFC 3339 time> <text>`, as `kubectl logs --timestamps` shows it. */
export function logUri(logsUri: string, container: string): string {
  return `${logsUri}/${container}.log`;
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
  signal: AbortSignal,
): Promise<KeptLogs> {
  const tails = new Map<string, string>();
  for (const { name, startedAtMs } of pod.containers) {
    if (startedAtMs === undefined) continue;
    const tail = new Tail();
    try {
      await store.put(logUri(logsUri, name), lines(runtime, pod.name, name, tail, signal), {
        contentType: 'text/plain; charset=utf-8',
      });
    } catch (error) {
      if (!(error instanceof PodNotFoundError)) throw error;
    }
    tails.set(name, tail.text);
  }
  return { files: await keptFiles(store, logsUri, pod.primaryContainer), tails };
}

async function* lines(
  runtime: PodRuntime,
  pod: string,
  container: string,
  tail: Tail,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const copyUntil = AbortSignal.timeout(MAX_COPY_MS);
  let left = MAX_LOG_BYTES;
  for await (const { timestamp, text } of runtime.logs(pod, container, {
    follow: false,
    signal: AbortSignal.any([signal, copyUntil]),
  })) {
    tail.add(text);
    const line = Buffer.from(`${timestamp.toISOString()} ${text}\n`);
    left -= line.length;
    if (left >= 0) yield line;
    if (left < 0) break;
  }
  signal.throwIfAborted();
  if (left < 0 || copyUntil.aborted)
    yield Buffer.from(`${new Date().toISOString()} … the rest of this log was too long to keep …\n`);
}

async function keptFiles(store: ObjectStore, logsUri: string, primary: string): Promise<LogFile[]> {
  const files: LogFile[] = [];
  for await (const { uri } of store.list(`${logsUri}/`)) {
    const container = FILE.exec(uri)?.[1];
    if (container !== undefined) files.push({ container, uri });
  }
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
