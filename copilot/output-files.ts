import { constants } from 'node:fs';
import { access, open, readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { userFailure } from './failure.ts';

/** A place below the output directory that holds something. `path` has no symbolic links in it. */
export type Found = { readonly path: string; readonly kind: 'file' | 'directory'; readonly size: number };

/** Names directly in the output directory that belong to the co-pilot and are never a variable's file. */
export const RESERVED_OUTPUTS = ['outputs.json', '_ERROR'] as const;

/**
 * Reads what the main container left in its output directory. What must never happen: reading outside it. A link may point
 * anywhere, and the co-pilot's file system is not the main container's; so links are followed only to places inside it
 * or inside the input directory.
 */
export class OutputFiles {
  readonly directory: string;
  readonly #root: string;
  readonly #inputRoot: string | null;

  private constructor(directory: string, root: string, inputRoot: string | null) {
    this.directory = directory;
    this.#root = root;
    this.#inputRoot = inputRoot;
  }

  /**
   * @param inputDirectory where links may also lead: a task may give an input back by linking to it
   * @throws CopilotFailure when `directory` is not there.
   */
  static async open(directory: string, inputDirectory: string | null): Promise<OutputFiles> {
    const root = await realpath(directory).catch(cause => {
      throw userFailure(`the output directory ${directory} is gone; the command must not remove it`, { cause });
    });
    const inputRoot = inputDirectory === null ? null : await realpath(inputDirectory).catch(() => null);
    return new OutputFiles(directory, root, inputRoot);
  }

  #holds(real: string): boolean {
    const roots = this.#inputRoot === null ? [this.#root] : [this.#root, this.#inputRoot];
    return roots.some(root => real === root || real.startsWith(root + path.sep));
  }

  /** What is at `place` (absolute, or relative to the output directory); null when nothing is. @throws CopilotFailure. */
  async at(place: string): Promise<Found | null> {
    const written = path.resolve(this.directory, place);
    const real = await realpath(written).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return null;
      throw userFailure(`${written} cannot be followed: ${cause.message}`, { cause });
    });
    if (real === null) return null;
    if (!this.#holds(real)) {
      throw userFailure(
        `${written} leads out of ${this.directory}, to ${real}; copy the data there instead of linking to it`,
      );
    }
    const { size, ...info } = await stat(real).then(s => ({
      size: s.size,
      file: s.isFile(),
      directory: s.isDirectory(),
    }));
    if (!info.file && !info.directory) {
      throw userFailure(`${written} is neither a file nor a directory (a socket, a pipe or a device); write a file`);
    }
    const needed = info.file ? constants.R_OK : constants.R_OK | constants.X_OK;
    await access(real, needed).catch(cause => {
      throw userFailure(`${written} is not readable; make it so (chmod a+rX) before the command ends`, { cause });
    });
    return { path: real, kind: info.file ? 'file' : 'directory', size };
  }

  /**
   * The place of a variable: `<directory>/<name>`, else the only match of `<directory>/<name>.*` (copilot.md §4.2).
   *
   * @throws CopilotFailure when several match.
   */
  async variable(name: string): Promise<Found | null> {
    const exact = await this.at(name);
    if (exact !== null) return exact;
    const matches = (await readdir(this.#root)).filter(
      entry => entry.startsWith(`${name}.`) && !RESERVED_OUTPUTS.some(reserved => reserved === entry),
    );
    if (matches.length > 1) {
      throw userFailure(
        `${matches.sort().join(', ')} in ${this.directory} all match it; leave one, or call one of them ${name}`,
      );
    }
    return matches.length === 0 ? null : this.at(matches[0]!);
  }

  /** Names in a directory, in byte order. */
  async names(directory: Found): Promise<string[]> {
    return (await readdir(directory.path)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  /** Every file below `directory`, at any depth, with its path relative to it (with slashes). @throws CopilotFailure. */
  async *below(directory: Found, above: readonly string[] = []): AsyncGenerator<{ file: Found; relative: string }> {
    // Links may form a circle; real paths grow longer than the system allows long after this bound is met.
    if (above.includes(directory.path))
      throw userFailure(`${directory.path} contains itself through a link; remove the link`);
    for (const name of await this.names(directory)) {
      const found = await this.at(path.join(directory.path, name));
      if (found === null) throw userFailure(`${path.join(directory.path, name)} is a link to nothing; remove it`);
      if (found.kind === 'file') {
        yield { file: found, relative: name };
        continue;
      }
      for await (const inner of this.below(found, [...above, directory.path])) {
        yield { file: inner.file, relative: `${name}/${inner.relative}` };
      }
    }
  }

  /** The content of a small file. @throws CopilotFailure when it has more than `maxBytes`. */
  async read(file: Found, maxBytes: number): Promise<Uint8Array> {
    const handle = await open(file.path);
    try {
      const { size } = await handle.stat();
      if (size > maxBytes) {
        throw userFailure(
          `${file.path} has ${size} bytes, a value may have ${maxBytes}; declare the output as File instead`,
        );
      }
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  }
}
