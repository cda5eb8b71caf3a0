import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node';
import { POD_UID_VARIABLE } from '../pod-runtime.ts';

/** A container that cannot be started as it is written: the kubelet's CreateContainerConfigError. */
export class ContainerConfigError extends Error {
  override readonly name = 'ContainerConfigError';
}

/** The command is not there or may not be run: Docker's ContainerCannotRun. */
export class CommandNotFoundError extends Error {
  override readonly name = 'CommandNotFoundError';
}

/** A directory of this machine that stands for a path in the container. */
export type PathMapping = { mountPath: string; hostPath: string };

export type CommandOptions = {
  pod: V1Pod;
  container: V1Container;
  /** Environment of the server; only what {@link allowed} names is handed on. */
  baseEnv: Record<string, string | undefined>;
  /** Directories put in front of PATH (the Python environment's bin). */
  binDirs: string[];
  mappings: PathMapping[];
  /** Value of a key of a secret; undefined when there is none. */
  resolveSecret(name: string, key: string): Promise<string | undefined>;
};

/**
 * Variables of the server's own environment that a container gets (sdk.md §5.2, "Danger for local processes"): who and where
 * one is, language, the user's Python environment, and which authorities TLS trusts. Everything else stays out, above all
 * UCTL_CONFIG, FLYTECTL_CONFIG, FLYTE_*, _U_*, _F_*, AWS_*, GOOGLE_* and AZURE_*, which would redirect the SDK.
 */
const allowed =
  /^(PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LANGUAGE|LC_[A-Z]+|VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV|PYENV_ROOT|PYENV_VERSION|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE)$/;

/** `$(NAME)` → value, `$$` → `$`, an unknown name stays as it is: the rules of Kubernetes for command, args and env. */
export function expandVariables(text: string, variables: Record<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    return Object.hasOwn(variables, name) ? variables[name]! : whole;
  });
}

/**
 * Replaces container paths by the directories that stand for them. A process here sees the machine's own file system, so
 * `/var/inputs/x` in a command line or variable becomes `<pod dir>/volumes/<volume>/x`. Matches whole path components only
 * (`/var/inputs2` and `/my/var/inputs` stay) and the longest mount path first. Paths that a program has built in are out of
 * reach: such a program needs the paths as arguments or environment, or a real container.
 */
export function mapPaths(text: string, mappings: PathMapping[]): string {
  if (mappings.length === 0) return text;
  const escaped = mappings
    .toSorted((a, b) => b.mountPath.length - a.mountPath.length)
    .map(({ mountPath }) => mountPath.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return text.replace(new RegExp(`(?<![\\w.\\-/])(?:${escaped.join('|')})(?![\\w.\\-])`, 'g'), found => {
    return mappings.find(({ mountPath }) => mountPath === found)!.hostPath;
  });
}

/** What the environment of every container begins with: the allow-listed variables, and `binDirs` in front of PATH. */
export function containerBaseEnv(
  baseEnv: Record<string, string | undefined>,
  binDirs: string[],
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(baseEnv)) {
    if (value !== undefined && allowed.test(name)) env[name] = value;
  }
  return { ...env, PATH: searchPath(env.PATH, binDirs) };
}

function searchPath(given: string | undefined, binDirs: string[]): string {
  return [...binDirs, given ?? '/usr/local/bin:/usr/bin:/bin'].join(path.delimiter);
}

function fieldValue(pod: V1Pod, fieldPath: string): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (keyed) return pod.metadata?.[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  switch (fieldPath) {
    case 'metadata.name':
      return pod.metadata?.name;
    case 'metadata.namespace':
      return pod.metadata?.namespace ?? 'default';
    case 'metadata.uid':
      return pod.metadata?.uid;
    case 'spec.serviceAccountName':
      return pod.spec?.serviceAccountName ?? 'default';
    case 'spec.nodeName':
      return 'localhost';
    case 'status.podIP':
    case 'status.hostIP':
      return '127.0.0.1';
    default:
      return undefined;
  }
}

async function resolveValue(options: CommandOptions, variable: V1EnvVar, soFar: Record<string, string>) {
  const source = variable.valueFrom;
  if (!source) return expandVariables(variable.value ?? '', soFar);
  if (source.secretKeyRef) {
    const { name = '', key, optional } = source.secretKeyRef;
    const value = await options.resolveSecret(name, key);
    if (value === undefined && !optional) {
      throw new ContainerConfigError(
        `env ${variable.name} of container ${options.container.name} needs key "${key}" of secret "${name}", which is not there: create it, or remove it from the task's secrets`,
      );
    }
    return value;
  }
  if (source.fieldRef) {
    const value = fieldValue(options.pod, source.fieldRef.fieldPath);
    if (value !== undefined) return value;
  }
  if (source.configMapKeyRef?.optional) return undefined;
  throw new ContainerConfigError(
    `env ${variable.name} of container ${options.container.name} has a source that the process runtime does not have (${JSON.stringify(source)}): give it as a value or as a secret`,
  );
}

/**
 * Command line and environment of a container. `command` and `args` are joined (there is no image whose entry point either
 * could replace), `$(NAME)` is expanded from the variables before it, container paths are mapped last and once.
 * Throws {@link ContainerConfigError}.
 */
export async function containerCommand(
  options: CommandOptions,
): Promise<{ command: string[]; env: Record<string, string> }> {
  const { pod, container, mappings } = options;
  for (const { secretRef, configMapRef } of container.envFrom ?? []) {
    const ref = secretRef ?? configMapRef;
    if (ref && !ref.optional) {
      throw new ContainerConfigError(
        `envFrom of container ${container.name} names "${ref.name}", and the process runtime knows no whole secrets or config maps: list the variables under env`,
      );
    }
  }
  const declared: Record<string, string> = {};
  const env = containerBaseEnv(options.baseEnv, options.binDirs);
  for (const variable of container.env ?? []) {
    const value = await resolveValue(options, variable, declared);
    if (value === undefined) continue;
    declared[variable.name] = value;
    env[variable.name] = variable.valueFrom ? value : mapPaths(value, mappings);
  }
  if (declared.PATH !== undefined) env.PATH = searchPath(env.PATH, options.binDirs);
  env[POD_UID_VARIABLE] = pod.metadata?.uid ?? '';

  const words = [...(container.command ?? []), ...(container.args ?? [])];
  const command = words.map(word => mapPaths(expandVariables(word, declared), mappings));
  if (!command[0]) {
    throw new ContainerConfigError(
      `container ${container.name} has neither command nor args, and the process runtime knows no image entry point: give the command`,
    );
  }
  return { command, env };
}

/**
 * Makes sure that a command can be run before a process is spent on it. A name without a slash is looked up in PATH, else
 * it is a path relative to `workDir`. Throws {@link CommandNotFoundError}.
 */
export async function findCommand(command: string, env: Record<string, string>, workDir: string): Promise<string> {
  const searched = env.PATH ?? '';
  const candidates = command.includes('/')
    ? [path.resolve(workDir, command)]
    : searched.split(path.delimiter).map(dir => path.resolve(workDir, dir, command));
  let refused: string | undefined;
  for (const candidate of candidates) {
    const found = await stat(candidate).catch(() => undefined);
    if (!found?.isFile()) continue;
    const runnable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runnable) return candidate;
    refused = candidate;
  }
  throw new CommandNotFoundError(
    refused
      ? `command "${command}" (${refused}) is not executable: give it the execute permission`
      : `command "${command}" was not found${command.includes('/') ? '' : ` in PATH ${searched}`}: install it in the environment of the server, or name its full path`,
  );
}
