/**
 * Reads the configuration once: defaults ← file ← environment ← flags. Remembers where each value came from, so that a bad
 * one can be traced to the line a person has to change.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { z } from 'zod';
import { allSettings, type Config, ConfigSchema, readBytes, type Setting } from './config.ts';
import { parseJsonc } from './jsonc.ts';
import { StartError } from './start-error.ts';

/** What the configuration may depend on besides its own layers. */
export interface Surroundings {
  env: Readonly<Record<string, string | undefined>>;
  home: string;
  /** Where relative paths on the command line and in the environment start. */
  cwd: string;
  isRoot: boolean;
  processors: number;
  isTerminal: boolean;
}

/** A setting that cannot be used: which, from where, what it was, and what to do. */
export class ConfigError extends StartError {
  override name = 'ConfigError';
  readonly path: string;
  readonly source: string;
  constructor(where: { path: string; source: string }, message: string) {
    super(message);
    this.path = where.path;
    this.source = where.source;
  }
}

export interface Loaded {
  config: Config;
  /** Things that look like mistakes but do not stop the start. */
  warnings: string[];
}

/** Flags that are not settings. */
export interface Invocation {
  help: boolean;
  version: boolean;
  configFile: string | undefined;
  values: Map<Setting, unknown>;
}

type Layered = { values: Record<string, unknown>; sources: Map<string, string> };

/**
 * Merges all layers into the frozen configuration.
 * @throws ConfigError for the first value that cannot be used, for unknown settings in the file, and for settings that
 * contradict each other.
 */
export function loadConfig(invocation: Invocation, around: Surroundings): Loaded {
  const layered: Layered = { values: {}, sources: new Map() };
  if (invocation.configFile) addFile(layered, path.resolve(around.cwd, invocation.configFile));
  const warnings = addEnvironment(layered, around.env);
  for (const [setting, value] of invocation.values) put(layered, setting.path, value, `flag --${setting.flag}`);

  const parsed = ConfigSchema.safeParse(layered.values);
  if (!parsed.success) throw explain(parsed.error.issues[0]!, layered);
  const config = deepFreeze(complete(parsed.data, around));
  checkTogether(config, layered);
  return { config, warnings };
}

/**
 * Reads the command line.
 * @throws ConfigError for a flag that does not exist or lacks its value.
 */
export function readFlags(args: readonly string[]): Invocation {
  const flagged = allSettings().filter(setting => setting.flag);
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
    config: { type: 'string' },
  };
  for (const { flag, reads } of flagged) options[flag!] = { type: reads === 'boolean' ? 'boolean' : 'string' };

  let given: Record<string, string | boolean | undefined>;
  try {
    given = parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values as typeof given;
  } catch (error) {
    const reason = (error as Error).message.split('. ')[0]!;
    throw new ConfigError({ path: '', source: 'command line' }, `${reason}. Run with --help to see all flags.`);
  }
  const values = new Map<Setting, unknown>();
  for (const setting of flagged) {
    const value = given[setting.flag!];
    if (value === undefined) continue;
    values.set(setting, setting.flag!.startsWith('no-') ? value !== true : readText(setting, String(value)));
  }
  return {
    help: given.help === true,
    version: given.version === true,
    configFile: given.config as string | undefined,
    values,
  };
}

function addFile(layered: Layered, file: string): void {
  const source = `file ${file}`;
  let content: unknown;
  try {
    content = parseJsonc(readFileSync(file, 'utf8'));
  } catch (error) {
    const reason =
      error instanceof SyntaxError
        ? `is not valid JSON: ${error.message}`
        : `cannot be read: ${(error as Error).message}`;
    throw new ConfigError({ path: '', source }, `The configuration file ${file} ${reason}`);
  }
  if (content === null || typeof content !== 'object' || Array.isArray(content)) {
    throw new ConfigError(
      { path: '', source },
      `The configuration file ${file} must hold one JSON object, like { "gateway": { "port": 9000 } }`,
    );
  }
  layered.values = content as Record<string, unknown>;
  for (const setting of allSettings()) {
    if (pick(layered.values, setting.path) !== undefined) layered.sources.set(setting.path, source);
  }
  layered.sources.set('', source);
}

/**
 * Adds every STARLING_… variable that names a setting. Others only warn: Kubernetes itself puts variables of that form into
 * pods beside a Service named "starling".
 */
function addEnvironment(layered: Layered, env: Surroundings['env']): string[] {
  const byVariable = new Map(allSettings().map(setting => [setting.variable, setting]));
  const warnings: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('STARLING_') || value === undefined || value === '') continue;
    const setting = byVariable.get(name);
    if (setting) put(layered, setting.path, readText(setting, value), `environment variable ${name}`);
    else warnings.push(`Environment variable ${name} names no setting and is ignored; --help lists all.`);
  }
  return warnings;
}

/** Turns text into what the schema expects; text that does not fit is passed on for the schema to refuse. */
function readText(setting: Setting, text: string): unknown {
  switch (setting.reads) {
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;
    case 'bytes':
      return readBytes(text);
    case 'boolean':
      return /^(true|yes|on|1)$/i.test(text) ? true : /^(false|no|off|0)$/i.test(text) ? false : text;
    case 'list':
      return text
        .split(',')
        .map(part => part.trim())
        .filter(Boolean);
    case 'text':
      return text;
  }
}

function put(layered: Layered, dotted: string, value: unknown, source: string): void {
  const keys = dotted.split('.');
  let at = layered.values;
  for (const key of keys.slice(0, -1)) {
    const next = at[key];
    at = at[key] =
      next !== null && typeof next === 'object' && !Array.isArray(next) ? (next as Record<string, unknown>) : {};
  }
  at[keys.at(-1)!] = value;
  layered.sources.set(dotted, source);
}

function pick(values: unknown, dotted: string): unknown {
  return dotted.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], values);
}

function explain(issue: z.core.$ZodIssue, layered: Layered): ConfigError {
  const dotted = issue.path.filter(part => typeof part === 'string').join('.');
  const setting = allSettings().find(candidate => candidate.path === dotted);
  const source = layered.sources.get(dotted) ?? layered.sources.get('') ?? 'default';
  if (issue.code === 'unrecognized_keys') {
    const unknown = [dotted, issue.keys[0]!].filter(Boolean).join('.');
    const near = nearest(unknown);
    return new ConfigError(
      { path: unknown, source },
      `There is no setting ${unknown} (from ${source}). ${near ? `Did you mean ${near}?` : 'Run with --help to see all settings.'}`,
    );
  }
  const value = pick(layered.values, dotted);
  const shown = setting?.secret ? '(not shown)' : JSON.stringify(value);
  const expects = setting?.expects ?? 'a group of settings, like { "port": 9000 }';
  return new ConfigError(
    { path: dotted, source },
    `Setting ${dotted} cannot be ${shown} (from ${source}): it must be ${expects}. ${whereToChange(setting)}`,
  );
}

function whereToChange(setting: Setting | undefined): string {
  if (!setting) return 'Run with --help to see all settings.';
  const flag = setting.flag && !setting.flag.startsWith('no-') ? `--${setting.flag}, ` : '';
  return `Set it with ${flag}${setting.variable} or "${setting.path}" in the configuration file.`;
}

function nearest(unknown: string): string | undefined {
  const distance = (a: string, b: string) => {
    let row = Array.from({ length: b.length + 1 }, (_, i) => i);
    for (let i = 1; i <= a.length; i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++) {
        next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
      }
      row = next;
    }
    return row[b.length]!;
  };
  const ranked = allSettings()
    .map(({ path: known }) => ({ known, away: distance(unknown.toLowerCase(), known.toLowerCase()) }))
    .sort((a, b) => a.away - b.away);
  return ranked[0] && ranked[0].away <= 3 ? ranked[0].known : undefined;
}

/** Fills in the defaults that depend on the machine. */
function complete(parsed: z.output<typeof ConfigSchema>, around: Surroundings): Config {
  const dataDir = parsed.dataDir ?? (around.isRoot ? '/var/lib/starling' : path.join(around.home, '.starling'));
  return {
    ...parsed,
    dataDir: path.resolve(around.cwd, dataDir.replace(/^~(?=\/|$)/, around.home)),
    executor: { ...parsed.executor, slots: parsed.executor.slots ?? 4 * around.processors },
    log: { ...parsed.log, pretty: parsed.log.pretty ?? around.isTerminal },
  };
}

/** Settings that are fine alone but not together. */
function checkTogether(config: Config, layered: Layered): void {
  const refuse = (dotted: string, message: string) => {
    throw new ConfigError({ path: dotted, source: layered.sources.get(dotted) ?? 'default' }, message);
  };
  const { host, allowAnonymousRemote } = config.gateway;
  if (!isLoopback(host) && !allowAnonymousRemote) {
    refuse(
      'gateway.host',
      `Setting gateway.host is ${JSON.stringify(host)} (from ${layered.sources.get('gateway.host') ?? 'default'}), which other machines can reach, but nobody ` +
        `has to sign in here: whoever reaches the port could run code as this user. Use 127.0.0.1, or say that this is what you want with STARLING_GATEWAY_ALLOW_ANONYMOUS_REMOTE=true.`,
    );
  }
  if (new Set(config.roles).size < 3 && !config.database.url) {
    refuse(
      'roles',
      `Setting roles is ${config.roles.join(',')}: such a node shares its work with others, so all of them need the same database. Set STARLING_DATABASE_URL, or leave roles at its default.`,
    );
  }
  if (config.storage.kind === 's3' && Boolean(config.storage.accessKeyId) !== Boolean(config.storage.secretAccessKey)) {
    refuse(
      'storage.accessKeyId',
      'Settings storage.accessKeyId and storage.secretAccessKey go together: set both, or neither.',
    );
  }
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
