import { appendFileSync, closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { appendFile, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogLine } from '../pod-runtime.ts';

const chunkBytes = 256 * 1024;
/** A longer line comes in pieces of this size, so that no output can fill the memory of a reader. */
export const longestLineBytes = 1024 * 1024;
const followPauseMs = 100;

/**
 * The raw output of one container, written by the payload itself (nothing stands between a process and its log), and beside
 * it `log.times`: lines `<size> <epoch ms>`, appended whenever the node sees that the log has grown. A byte was written, to
 * about the node's pulse, at the time of the first entry beyond it. While no node runs, one entry stands for all growth.
 */
export class LogFile {
  readonly path: string;
  private seenBytes: number | undefined;

  constructor(file: string) {
    this.path = file;
  }

  private get timesPath(): string {
    return `${this.path}.times`;
  }

  /** Makes sure the log is there, so that readers and the shim find it. */
  async create(): Promise<void> {
    await mkdir(path.dirname(this.path), { recursive: true });
    await appendFile(this.path, '');
  }

  /** Writes down how long the log is and when it was written last, if it has grown. Two system calls when it has not. */
  noteGrowth(): void {
    const found = statSync(this.path, { throwIfNoEntry: false });
    if (!found) return;
    this.seenBytes ??= this.readTimes(0).entries.at(-1)?.size ?? 0;
    if (found.size === this.seenBytes) return;
    this.seenBytes = found.size;
    try {
      appendFileSync(this.timesPath, `${found.size} ${Math.round(found.mtimeMs)}\n`);
    } catch {
      // The disk is full: lines then carry a later entry's time, or the file's.
    }
  }

  private readTimes(from: number): { entries: { size: number; ms: number }[]; end: number } {
    const entries: { size: number; ms: number }[] = [];
    let text = '';
    try {
      text = readFileSync(this.timesPath, 'latin1');
    } catch {
      return { entries, end: 0 };
    }
    const end = text.lastIndexOf('\n') + 1;
    for (const line of text.slice(from, end).split('\n')) {
      const [size, ms] = line.split(' ').map(Number);
      if (size && ms) entries.push({ size, ms });
    }
    return { entries, end };
  }

  /**
   * Lines from a byte offset on. With `follow` it waits for more until `ended()`; whatever was written before that is
   * delivered, a last line without newline included. Pull-driven: a slow reader costs nothing but its own time.
   */
  async *read(options: {
    fromByte: number;
    follow: boolean;
    ended: () => boolean;
    signal: AbortSignal | undefined;
  }): AsyncGenerator<LogLine> {
    const clock = new LineClock(this.path, from => this.readTimes(from));
    const { signal } = options;
    let offset = options.fromByte;
    let rest: Buffer = Buffer.alloc(0);
    const file = await this.openWhenThere(options);
    if (!file) return;
    try {
      while (!signal?.aborted) {
        const over = options.ended(); // asked before reading: then end of file is the end
        const buffer = Buffer.allocUnsafe(chunkBytes);
        const { bytesRead } = await file.read(buffer, 0, chunkBytes, offset + rest.length);
        if (bytesRead > 0) {
          const { pieces, left } = cutLines(rest, buffer.subarray(0, bytesRead));
          rest = left;
          for (const { bytes, newline } of pieces) {
            const start = offset;
            offset += bytes.length + (newline ? 1 : 0);
            yield { timestamp: clock.at(start), text: bytes.toString('utf8'), nextByte: offset };
            if (signal?.aborted) return;
          }
        } else if (over || !options.follow) {
          if (rest.length > 0) {
            yield { timestamp: clock.at(offset), text: rest.toString('utf8'), nextByte: offset + rest.length };
          }
          return;
        } else {
          await sleep(followPauseMs, undefined, signal && { signal }).catch(() => {});
        }
      }
    } finally {
      await file.close();
    }
  }

  private async openWhenThere({ follow, ended, signal }: Parameters<LogFile['read']>[0]) {
    while (!signal?.aborted) {
      const over = ended();
      const file = await open(this.path, 'r').catch(() => undefined);
      if (file || over || !follow) return file;
      await sleep(followPauseMs, undefined, signal && { signal }).catch(() => {});
    }
    return undefined;
  }
}

type Piece = { bytes: Buffer; newline: boolean };

/** Cuts at newlines and, where a line is too long, at a character's beginning. */
function cutLines(rest: Buffer, chunk: Buffer): { pieces: Piece[]; left: Buffer } {
  const pieces: Piece[] = [];
  const first = chunk.indexOf(10);
  let data = chunk;
  if (rest.length > 0) {
    // Joined per chunk, not per line, and at most up to the longest line: linear for any output.
    data = Buffer.concat([rest, chunk]);
  }
  let start = 0;
  for (let end = first < 0 ? -1 : first + rest.length; end >= 0; end = data.indexOf(10, start)) {
    start = cutLong(data, start, end, pieces);
    pieces.push({ bytes: data.subarray(start, end), newline: true });
    start = end + 1;
  }
  start = cutLong(data, start, data.length, pieces);
  return { pieces, left: Buffer.from(data.subarray(start)) };
}

function cutLong(data: Buffer, from: number, end: number, pieces: Piece[]): number {
  let start = from;
  while (end - start > longestLineBytes) {
    let cut = start + longestLineBytes;
    for (let back = 0; back < 3 && (data[cut]! & 0xc0) === 0x80; back += 1) cut -= 1;
    pieces.push({ bytes: data.subarray(start, cut), newline: false });
    start = cut;
  }
  return start;
}

/** Finds times for growing offsets, reading `log.times` again only when an offset lies beyond what it knows. */
class LineClock {
  private readonly logPath: string;
  private readonly readTimes: (from: number) => { entries: { size: number; ms: number }[]; end: number };
  private entries: { size: number; ms: number }[] = [];
  private read = 0;
  private next = 0;
  private fallback = { untilMs: 0, at: new Date(0) };

  constructor(logPath: string, readTimes: LineClock['readTimes']) {
    this.logPath = logPath;
    this.readTimes = readTimes;
  }

  at(offset: number): Date {
    this.skipTo(offset);
    if (this.next < this.entries.length) return new Date(this.entries[this.next]!.ms);
    if (Date.now() < this.fallback.untilMs) return this.fallback.at;
    const { entries, end } = this.readTimes(this.read);
    if (end > this.read) {
      this.entries = entries;
      this.read = end;
      this.next = 0;
      this.skipTo(offset);
      if (this.next < this.entries.length) return new Date(this.entries[this.next]!.ms);
    }
    // Written since the last pulse, or never noted: the file's own time, good for a few lines.
    const found = statSync(this.logPath, { throwIfNoEntry: false });
    this.fallback = { untilMs: Date.now() + 50, at: new Date(found?.mtimeMs ?? Date.now()) };
    return this.fallback.at;
  }

  private skipTo(offset: number): void {
    while (this.next < this.entries.length && this.entries[this.next]!.size <= offset) this.next += 1;
  }
}

const tailBytes = 2048;
const tailLines = 80;

/** The end of a log, at most 2048 bytes and 80 lines: the kubelet's measure for a termination message. */
export async function logTail(log: LogFile): Promise<string> {
  try {
    const file = openSync(log.path, 'r');
    try {
      const { size } = statSync(log.path);
      const buffer = Buffer.alloc(Math.min(size, tailBytes));
      const read = readSync(file, buffer, 0, buffer.length, Math.max(0, size - tailBytes));
      return buffer.toString('utf8', 0, read).trimEnd().split('\n').slice(-tailLines).join('\n');
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
