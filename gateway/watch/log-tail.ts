import type { Attempt } from '../../actors/action/attempt.ts';
import { type LogLine, PodNotFoundError, type PodRuntime } from '../../actors/executor/runtime/pod-runtime.ts';
import type { ActionPath } from '../../actors/run/commands.ts';
import { ObjectNotFound } from '../../storage/object-errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { ActionReader } from '../action-reader.ts';
import { attemptOf } from '../attempt-choice.ts';
import { Code, StarlingError } from '../errors.ts';
import { nameOfAction } from '../identifiers.ts';
import type { RunDirectory } from '../run-directory.ts';
import { watchAction } from './action-watch.ts';
import { batches } from './batches.ts';
import type { ChangeFeed } from './change-feed.ts';
import { patiently } from './patience.ts';

/** Logs of pods that live: what the gateway needs of a pod runtime. */
export type LiveLogs = Pick<PodRuntime, 'logs'>;

export interface LogTailDeps {
  readonly directory: RunDirectory;
  readonly actions: ActionReader;
  readonly changes: ChangeFeed;
  readonly store: ObjectStore;
  readonly live: LiveLogs;
}

/** A line of output; `at` is unknown for a line that was kept without a time. */
export interface TailedLine {
  readonly at: Date | null;
  /** Without its newline. */
  readonly text: string;
}

const LINES_PER_MESSAGE = 100;
/** The SDK gives up on a log that says nothing for 30 s; an empty message is enough (sdk-2.12.md #22). */
const QUIET_MS = 10_000;

/**
 * The output of an attempt: from its pod while that lives, from the object store afterwards, complete and in order, until the attempt
 * is over. A second pod of the same attempt (the first was lost) follows the first. Yields an empty list when it has been quiet.
 * @param number 0 for the latest attempt
 * @throws StarlingError not_found until there is something to read, which the SDK takes as "not yet"
 */
export async function* tailLog(
  deps: LogTailDeps,
  path: ActionPath,
  number: number,
  signal: AbortSignal,
): AsyncGenerator<readonly TailedLine[]> {
  const run = await patiently(() => deps.directory.get(path), signal);
  const stopped = new AbortController();
  const ended = AbortSignal.any([signal, stopped.signal]);
  const changed = watchAction(deps.changes, run.id, path.action, ended);
  try {
    const lines = followAttempt(deps, path, number, changed, ended);
    yield* batches(lines, { size: LINES_PER_MESSAGE, quietMs: QUIET_MS, signal });
  } finally {
    stopped.abort();
  }
}

async function* followAttempt(
  deps: LogTailDeps,
  path: ActionPath,
  number: number,
  changed: AsyncIterable<void>,
  signal: AbortSignal,
): AsyncGenerator<TailedLine> {
  let chosen = number;
  let pod = '';
  let position = { lines: 0, nextByte: 0 };
  for await (const _ of changed) {
    const action = await patiently(() => deps.actions.get(path), signal);
    const attempt = attemptOf(action, chosen, path);
    chosen = attempt.attempt;
    if (attempt.pod !== undefined && attempt.pod.name !== pod) {
      pod = attempt.pod.name;
      position = { lines: 0, nextByte: 0 };
    }
    if (attempt.logUri !== undefined) {
      let line = 0;
      for await (const kept of keptLines(deps.store, attempt.logUri)) {
        if (line++ < position.lines) continue;
        position.lines++;
        yield kept;
      }
    } else if (attempt.pod?.startedAt !== undefined && attempt.endedAt === undefined) {
      for await (const { timestamp, text, nextByte } of liveLines(deps.live, attempt.pod, position.nextByte, signal)) {
        position = { lines: position.lines + 1, nextByte };
        yield { at: timestamp, text };
      }
    } else if (position.lines === 0) {
      throw notReadable(path, attempt);
    }
    if (attempt.endedAt !== undefined) return;
  }
}

function notReadable(path: ActionPath, { attempt, endedAt }: Attempt): StarlingError {
  const why = endedAt === undefined ? 'has not started yet: ask again' : 'ended before it could write a log';
  return new StarlingError(Code.NotFound, `attempt ${attempt} of ${nameOfAction(path)} ${why}`);
}

/** A pod that is gone (or on a node out of reach) says nothing; what it wrote is read from the store when the attempt is over. */
async function* liveLines(
  live: LiveLogs,
  pod: NonNullable<Attempt['pod']>,
  fromByte: number,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  try {
    yield* live.logs(pod.name, pod.container, { fromByte, follow: true, signal });
  } catch (error) {
    if (!(error instanceof PodNotFoundError)) throw error;
  }
}

const TIMED_LINE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (.*)$/s;

/** The lines of a kept log, `<RFC 3339 time> <text>` each. A log that is gone has none. */
async function* keptLines(store: ObjectStore, uri: string): AsyncGenerator<TailedLine> {
  const object = await open(store, uri);
  if (object === undefined) return;
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for await (const chunk of object.body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines) yield keptLine(line);
    }
  } finally {
    await object.close();
  }
  rest += decoder.decode();
  if (rest !== '') yield keptLine(rest);
}

async function open(store: ObjectStore, uri: string) {
  try {
    return await store.open(uri);
  } catch (error) {
    if (error instanceof ObjectNotFound) return undefined;
    throw error;
  }
}

function keptLine(line: string): TailedLine {
  const match = TIMED_LINE.exec(line);
  return match === null ? { at: null, text: line } : { at: new Date(match[1]!), text: match[2]! };
}
