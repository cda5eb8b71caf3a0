import { type ChildProcess, spawn } from 'node:child_process';
import os from 'node:os';

/**
 * The little program between the node and a container's payload. It leads the container's session and process group and
 * outlives the node, so the exit code is on disk whatever happens to the node. It runs in the directory of one run of the
 * container, and all its paths are relative to it: when that directory is gone, nothing it does can reach a later pod.
 *
 *   born      waits on its standard input. The node writes down pid and start time, and only then says `go`.
 *             If the node dies before, the pipe closes and the shim leaves: the payload never ran, and whoever finds the
 *             directory may start it afresh.
 *   started   it has created the empty file `started`, which only one shim per directory can (O_EXCL). From here on the
 *             container counts as started and is never started again.
 *   ended     it writes the exit code (128 + n for signal n, as every shell) to `exit` in one write, then ends whatever the
 *             payload left behind in the process group, itself included, as a container's kernel would.
 *
 * Signals to the group reach the payload; the shim's own handlers do nothing (handlers, unlike ignored signals, are not
 * handed down to the payload). Invariant: `exit` is there only after the payload's main process has ended.
 */
const script = `
trap : HUP INT QUIT TERM USR1 USR2
IFS= read -r go && [ "$go" = go ] || exit 75
exec </dev/null
set -C
{ : >started; } 2>/dev/null || exit 75
set +C
work=$1
shift
(cd -- "$work" && exec "$@") >>../log 2>&1
code=$?
echo $code >exit || exit $code
kill -9 0
`;

export type ShimOptions = {
  /** Directory of this run; its parent holds the log. */
  runDir: string;
  /** Where the payload starts. */
  workDir: string;
  command: string[];
  env: Record<string, string>;
  /** Name for `ps`. */
  label: string;
};

/** A shim that waits for its `go`. */
export type Shim = {
  pid: number;
  /** Lets the payload start; write down the pid before. */
  go(): void;
  /**
   * Settles when the shim is gone, with its exit code (128 + n for signal n), or with undefined when nobody will tell any
   * more: then one has to look whether it lives.
   */
  end: Promise<number | undefined>;
};

/** A shim that is a child of this process. */
export type SpawnedShim = Shim & { process: ChildProcess };

/** Forks a shim. Rejects when the machine cannot (no `/bin/sh`, process limit, run directory gone). */
export function spawnShim(options: ShimOptions): Promise<SpawnedShim> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', script, options.label, options.workDir, ...options.command], {
      cwd: options.runDir,
      env: options.env,
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    const stdin = child.stdin!;
    stdin.on('error', () => {}); // the shim died before it was told to go; its exit event says so
    child.on('error', reject);
    const end = new Promise<number>(told => {
      child.once('exit', (code, signal) => told(signal ? 128 + os.constants.signals[signal] : (code ?? 255)));
    });
    child.once('spawn', () => {
      child.unref();
      resolve({ pid: child.pid!, process: child, end, go: () => stdin.end('go\n') });
    });
  });
}
