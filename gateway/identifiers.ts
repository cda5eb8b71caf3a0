import { randomInt } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ActionPath, RunPath } from '../actors/run/commands.ts';
import type {
  ActionIdentifier,
  ActionIdentifierSchema,
  ProjectIdentifier,
  RunIdentifier,
  RunIdentifierSchema,
} from '../proto/gen/flyteidl2/common/identifier_pb.js';
import type { TaskIdentifier, TaskIdentifierSchema } from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import { invalidArgument } from './errors.ts';

/** Name of the action every run starts with. */
export const ROOT_ACTION = 'a0';

/** Project and domain: what every object belongs to. Organisation is part of no key (runs.md 0.3). */
export interface ProjectDomain {
  readonly project: string;
  readonly domain: string;
}

/** A version of a deployed task. */
export interface TaskPath extends ProjectDomain {
  readonly name: string;
  readonly version: string;
}

const RUN_NAME = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const ACTION_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SCOPE_NAME = /^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const CONTROL = /[\u0000-\u001f\u007f]/;
const MAX_RUN_NAME = 30;
const MAX_SCOPE_NAME = 63;
const MAX_TASK_NAME = 255;

const GENERATED_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const GENERATED_LENGTH = 19;

/** A name for a run whose caller gave none: `r` and 19 characters that spell no words (runs.md 1.1). */
export function drawRunName(): string {
  let name = 'r';
  for (let i = 0; i < GENERATED_LENGTH; i++) name += GENERATED_ALPHABET[randomInt(GENERATED_ALPHABET.length)];
  return name;
}

/**
 * The path of a run that is to be made: its name must be a DNS label that starts with a letter, at most 30 characters.
 * @throws StarlingError invalid_argument
 */
export function newRunPath(id: RunIdentifier): RunPath {
  const { project, domain } = scope(id.project, id.domain, 'run_id');
  if (!RUN_NAME.test(id.name) || id.name.length > MAX_RUN_NAME) {
    throw invalidArgument(
      'run_id.name',
      id.name,
      `must be at most ${MAX_RUN_NAME} lower-case letters, digits and hyphens, start with a letter and not end with a hyphen`,
    );
  }
  return { project, domain, run: id.name };
}

/** The path of a run that is read. A name no run can have is simply not found. @throws StarlingError invalid_argument */
export function runPath(id: RunIdentifier | undefined, field = 'run_id'): RunPath {
  if (id === undefined) throw invalidArgument(field, undefined, 'name the run: project, domain and name');
  return { ...scope(id.project, id.domain, field), run: text(id.name, `${field}.name`, MAX_TASK_NAME) };
}

/** The path of an action that is read. @throws StarlingError invalid_argument */
export function actionPath(id: ActionIdentifier | undefined, field = 'action_id'): ActionPath {
  if (id === undefined) throw invalidArgument(field, undefined, 'name the action: run and name');
  return { ...runPath(id.run, `${field}.run`), action: text(id.name, `${field}.name`, MAX_TASK_NAME) };
}

/**
 * The path of an action that is to be made: lower-case letters, digits and hyphens, at most 30, because pods and objects
 * are named for it (runs.md 1.1).
 * @throws StarlingError invalid_argument
 */
export function newActionPath(id: ActionIdentifier | undefined, field: string): ActionPath {
  const path = actionPath(id, field);
  actionName(path.action, `${field}.name`);
  return path;
}

/** @throws StarlingError invalid_argument if no action can have this name */
export function actionName(name: string, field: string): string {
  if (!ACTION_NAME.test(name) || name.length > MAX_RUN_NAME) {
    throw invalidArgument(field, name, `must be at most ${MAX_RUN_NAME} lower-case letters, digits and hyphens`);
  }
  return name;
}

/** @throws StarlingError invalid_argument */
export function projectDomain(id: ProjectIdentifier | undefined, field = 'project_id'): ProjectDomain {
  if (id === undefined) throw invalidArgument(field, undefined, 'name the project and the domain');
  return scope(id.name, id.domain, field);
}

/** Names the version of a task. @throws StarlingError invalid_argument */
export function taskPath(id: TaskIdentifier | undefined, field = 'task_id'): TaskPath {
  if (id === undefined) throw invalidArgument(field, undefined, 'name the task: project, domain, name and version');
  return {
    ...scope(id.project, id.domain, field),
    name: text(id.name, `${field}.name`, MAX_TASK_NAME),
    version: text(id.version, `${field}.version`, MAX_TASK_NAME),
  };
}

/** Both become segments of object keys, so they are plain names. @throws StarlingError invalid_argument */
export function scope(project: string, domain: string, field: string): ProjectDomain {
  for (const [name, value] of [
    ['project', project],
    ['domain', domain],
  ] as const) {
    if (!SCOPE_NAME.test(value) || value.length > MAX_SCOPE_NAME) {
      throw invalidArgument(
        `${field}.${name}`,
        value,
        `must be 1 to ${MAX_SCOPE_NAME} letters, digits, hyphens, dots and underscores`,
      );
    }
  }
  return { project, domain };
}

/** Text that is looked up: not empty, of bounded length, without control characters. @throws StarlingError invalid_argument */
export function text(value: string, field: string, maxLength: number): string {
  if (value === '' || value.length > maxLength || CONTROL.test(value)) {
    throw invalidArgument(field, value, `must be 1 to ${maxLength} characters, no control characters among them`);
  }
  return value;
}

/** A run as its user would name it. */
export function nameOfRun(path: RunPath): string {
  return `${path.project}/${path.domain}/${path.run}`;
}

/** An action as its user would name it. */
export function nameOfAction(path: ActionPath): string {
  return `${nameOfRun(path)}/${path.action}`;
}

/** @param org what the caller called the organisation; echoed, never compared (runs.md 0.3) */
export function runIdentifier(path: RunPath, org = ''): MessageInitShape<typeof RunIdentifierSchema> {
  return { org, project: path.project, domain: path.domain, name: path.run };
}

/** @param org see {@link runIdentifier} */
export function actionIdentifier(
  path: RunPath,
  action: string,
  org = '',
): MessageInitShape<typeof ActionIdentifierSchema> {
  return { run: runIdentifier(path, org), name: action };
}

export function taskIdentifier(path: TaskPath): MessageInitShape<typeof TaskIdentifierSchema> {
  return { project: path.project, domain: path.domain, name: path.name, version: path.version };
}
