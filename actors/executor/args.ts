import { primitiveToText } from '../../copilot/primitive-text.ts';
import type { Literal, Primitive } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import type { Inputs } from '../../proto/gen/flyteidl2/task/common_pb.js';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

/** What `{{.name}}` stands for in commands and arguments; names in lower case (executor.md 3.5). */
export type TemplateValues = Readonly<Record<string, string>>;

const PLACEHOLDER = /\{\{\s*[.$]([a-zA-Z_][\w-]*(?:\.[\w-]+)*)\s*\}\}/g;
const INPUT = 'inputs.';

/**
 * Replaces every `{{.name}}` and `{{$name}}` (any case, any spaces inside the braces, anywhere in the text). A value is
 * taken literally. An unknown name stays as it is.
 * @param inputs the task's inputs, when `needsInputs` says that `{{.inputs.x}}` occurs
 * @throws TaskRefused for an input that does not exist or has no text form
 */
export function renderText(text: string, values: TemplateValues, inputs?: Inputs): string {
  return text.replace(PLACEHOLDER, (whole, name: string) => {
    const key = name.toLowerCase();
    if (key.startsWith(INPUT)) return inputText(name.slice(INPUT.length), inputs);
    return Object.hasOwn(values, key) ? values[key]! : whole;
  });
}

/** Whether rendering these texts needs the values of the task's inputs, so that inputs.pb has to be read. */
export function needsInputs(texts: Iterable<string>): boolean {
  for (const text of texts) {
    for (const [, name] of text.matchAll(PLACEHOLDER)) {
      if (name!.toLowerCase().startsWith(INPUT)) return true;
    }
  }
  return false;
}

function inputText(name: string, inputs: Inputs | undefined): string {
  const entry = inputs?.literals.find(literal => literal.name === name);
  if (entry === undefined) {
    const known = inputs?.literals.map(literal => literal.name).join(', ') || 'none';
    throw new TaskRefused(BAD_TASK, `{{.inputs.${name}}} names an input that was not given; given are: ${known}`);
  }
  return literalText(name, entry.value);
}

function literalText(name: string, literal: Literal | undefined): string {
  const value = literal?.value;
  if (value?.case === 'collection') {
    return `[${value.value.literals.map(element => literalText(name, element)).join(',')}]`;
  }
  if (value?.case === 'scalar') {
    const scalar = value.value.value;
    switch (scalar.case) {
      case 'primitive':
        return primitiveText(scalar.value);
      case 'blob':
      case 'schema':
      case 'structuredDataset':
        return scalar.value.uri;
      case 'union':
        return literalText(name, scalar.value.value);
    }
    throw new TaskRefused(BAD_TASK, noText(name, scalar.case ?? 'nothing'));
  }
  throw new TaskRefused(BAD_TASK, noText(name, value?.case ?? 'nothing'));
}

function primitiveText(primitive: Primitive): string {
  return primitive.value.case === undefined ? '' : primitiveToText(primitive);
}

function noText(name: string, kind: string): string {
  return `input '${name}' is a ${kind} value, which has no form on a command line; read it from the input files instead of {{.inputs.${name}}}`;
}
