import path from 'node:path';
import { declarationFailure } from './failure.ts';

/** Files the downloader writes beside the variables (copilot.md §3.2); a variable may not be called like one. */
export const AGGREGATE_INPUTS = ['inputs.pb', 'inputs.json', 'inputs.yaml'] as const;

const isPlainName = (name: string): boolean =>
  name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');

/**
 * Gives out paths below one directory, each at most once. What must never happen: a path outside the directory, or two values
 * written to the same place. Both can only come from strange variable names or map keys, so they are failures of the task's
 * declaration or input, told with the name.
 */
export class InputPaths {
  readonly #root: string;
  readonly #taken = new Map<string, 'leaf' | 'directory'>();

  constructor(root: string) {
    this.#root = root;
  }

  /** The place of a variable. */
  variable(name: string): string {
    if (!isPlainName(name) || AGGREGATE_INPUTS.some(reserved => reserved === name)) {
      throw declarationFailure(`input ${JSON.stringify(name)} cannot be a file name; rename the input`);
    }
    return path.join(this.#root, name);
  }

  /** The place of a map entry below `parent`. A key with slashes means folders, as in the reference; none may be empty or dots. */
  entry(parent: string, key: string): string {
    const segments = key.split('/');
    if (!segments.every(isPlainName)) {
      throw declarationFailure(
        `the key ${JSON.stringify(key)} cannot be a path below ${parent}; rename the key, or pass the map as one value`,
      );
    }
    return path.join(parent, ...segments);
  }

  /** Claims `place` for a value (`leaf`) or for a directory that holds values. */
  claim(place: string, kind: 'leaf' | 'directory'): string {
    for (let above = path.dirname(place); above.length > this.#root.length; above = path.dirname(above)) {
      if (this.#taken.get(above) === 'leaf')
        throw declarationFailure(`two inputs need the same place ${above}; rename one`);
      this.#taken.set(above, 'directory');
    }
    if (this.#taken.has(place) && !(kind === 'directory' && this.#taken.get(place) === 'directory')) {
      throw declarationFailure(`two inputs need the same place ${place}; rename one of them`);
    }
    this.#taken.set(place, kind);
    return place;
  }
}

/**
 * The last segment of a URI, '' when there is none. Of http(s) URLs the query is no part of it; object keys are literal, so there
 * `?` belongs to the name.
 */
export const baseName = (uri: string): string => {
  const plain = /^https?:/.test(uri) ? uri.replace(/[?#].*$/, '') : uri;
  const withoutScheme = plain.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '');
  const name = withoutScheme.slice(withoutScheme.lastIndexOf('/') + 1);
  return isPlainName(name) ? name : '';
};

/**
 * The names of the files of one list in the NAMED_DIR layout: the original name, and `<index>_<name>` when it is empty or used
 * already (copilot.md §3.4).
 */
export const distinctNames = (uris: readonly string[]): string[] => {
  const used = new Set<string>();
  return uris.map((uri, index) => {
    const base = baseName(uri);
    let name = base === '' ? `${index}_` : base;
    while (used.has(name)) name = `${index}_${name}`;
    used.add(name);
    return name;
  });
};
