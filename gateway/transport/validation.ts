import type { DescMessage, Message } from '@bufbuild/protobuf';
import { pathToString, reflect } from '@bufbuild/protobuf/reflect';
import { createValidator, type Violation, violationsToProto } from '@bufbuild/protovalidate';
import { Code, StarlingError, show } from '../errors.ts';

/**
 * Rules of the contract that requests may break, as `type.member rule`. The server we replace enforced none of them, so clients grew
 * to rely on it (runs.md §0.2, services.md §5.1, sdk.md §0 row 12). The minimum length of organisations is already gone from our
 * .proto files. A rule belongs here only if a shipped client is known to break it and the handler has a meaning for what it then gets.
 */
const TOLERATED: ReadonlySet<string> = new Set([
  // Attempt 0 on a read means the latest attempt.
  'flyteidl2.common.ActionAttemptIdentifier.attempt uint32.gt',
  'flyteidl2.dataproxy.TailLogsRequest.attempt uint32.gt',
  'flyteidl2.workflow.TailLogsRequest.attempt uint32.gt',
  'flyteidl2.workflow.GetActionLogContextRequest.attempt uint32.gt',
  'flyteidl2.workflow.WatchClusterEventsRequest.attempt uint32.gt',
  // Files of a folder may come without one (services.md §12.1); the handler knows both lengths.
  'flyteidl2.dataproxy.CreateUploadLocationRequest.content_md5 bytes.len',
  // A list without a scope lists everything the caller may see.
  'flyteidl2.workflow.ListRunsRequest.scope_by required',
  'flyteidl2.workflow.WatchGroupsRequest.scope_by required',
  'flyteidl2.task.ListTasksRequest.scope_by required',
  'flyteidl2.trigger.ListTriggersRequest.scope_by required',
  // A spec without template is stored as it is; running it fails with an error of its own.
  'flyteidl2.task.TaskSpec.task_template required',
  // A trigger without a task name is looked up by its own name alone.
  'flyteidl2.common.TriggerName.task_name string.min_len',
  // The organisation of a single-tenant installation has no name.
  'flyteidl2.common.OrgIdentifier.name string.min_len',
  'flyteidl2.common.OrgIdentifier.name string.pattern',
]);

const SHOWN_VIOLATIONS = 5;

/** Returns what is wrong with a request, or undefined. The error names every field (the first five), its value and its rule. */
export type RequestValidator = (desc: DescMessage, request: Message) => StarlingError | undefined;

function memberOf(violation: Violation): string {
  const last = violation.field.findLast(step => step.kind === 'field' || step.kind === 'oneof');
  return last?.kind === 'field' || last?.kind === 'oneof' ? `${last.parent.typeName}.${last.name}` : '';
}

/** Field, value (of texts and numbers, which is where people look for their mistake) and rule. */
function lineOf(desc: DescMessage, request: Message, { field, message, ruleId }: Violation): string {
  const value = ruleId === 'required' ? undefined : valueAt(desc, request, field);
  return `${pathToString(field) || desc.name}${value === undefined ? '' : ` is ${show(value)}`}: ${message} (${ruleId})`;
}

/** The scalar a path leads to; undefined when it ends in anything else, or passes through a list, a map or a secret. */
function valueAt(desc: DescMessage, request: Message, path: Violation['field']): string | number | bigint | undefined {
  if (desc.typeName.startsWith('flyteidl2.secret.')) return undefined;
  let at = reflect(desc, request);
  for (const [index, step] of path.entries()) {
    if (step.kind !== 'field') return undefined;
    if (step.fieldKind === 'message' && at.isSet(step)) at = at.get(step);
    else if (step.fieldKind === 'scalar' && index === path.length - 1) {
      const value: unknown = at.get(step);
      return typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? value : undefined;
    } else return undefined;
  }
  return undefined;
}

/**
 * One per process: it compiles the rules of a message type when it first meets it, and keeps them. An unknown or broken rule is our
 * fault and throws; the caller reports it as internal.
 */
export function createRequestValidator(): RequestValidator {
  const validator = createValidator();
  return (desc, request) => {
    const result = validator.validate(desc, request);
    if (result.kind === 'valid') return undefined;
    if (result.kind === 'error') throw result.error;
    const broken = result.violations.filter(violation => !TOLERATED.has(`${memberOf(violation)} ${violation.ruleId}`));
    if (broken.length === 0) return undefined;
    const lines = broken.slice(0, SHOWN_VIOLATIONS).map(violation => lineOf(desc, request, violation));
    if (broken.length > SHOWN_VIOLATIONS) lines.push(`and ${broken.length - SHOWN_VIOLATIONS} more`);
    const [value, schema] = violationsToProto(broken);
    return new StarlingError(Code.InvalidArgument, lines.join('; '), { details: [{ desc: schema, value }] });
  };
}
