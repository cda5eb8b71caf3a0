import { fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { ActionRow } from '../db/action-reads.ts';
import type { RunRow } from '../db/run-reads.ts';
import { RunSpecSchema } from '../proto/gen/flyteidl2/task/run_pb.js';
import {
  type ActionMetadataSchema,
  type ActionSchema,
  ActionType,
  ConditionActionSchema,
} from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { actionStatus } from './action-status.ts';
import { enrichedIdentity } from './caller.ts';
import { actionIdentifier, ROOT_ACTION } from './identifiers.ts';

type Metadata = MessageInitShape<typeof ActionMetadataSchema>;

/**
 * What is said about an action besides its state: the same wherever actions are listed, watched or shown (the reference has
 * three variants, runs.md 1.9 and W24). Trigger and relation are the run's and stand at its root.
 */
export function actionMetadata(action: ActionRow, run: RunRow) {
  const executedBy = enrichedIdentity(run.createdBy);
  return {
    parent: action.parent ?? '',
    group: action.group ?? '',
    actionType: action.type,
    environmentName: action.environment,
    funtionName: action.functionName,
    source: run.source,
    spec: specMetadata(action),
    ...(executedBy && { executedBy }),
    ...(action.recoveredFrom && {
      recoveredFrom: actionIdentifier({ ...run, run: action.recoveredFrom.run }, action.recoveredFrom.action),
    }),
    ...(action.name === ROOT_ACTION && originOf(run)),
  } satisfies Metadata;
}

/** An action as lists and watches show it. @param org see actionIdentifier */
export function actionMessage(action: ActionRow, run: RunRow, org = '') {
  return {
    id: actionIdentifier(run, action.name, org),
    metadata: actionMetadata(action, run),
    status: actionStatus(action),
  } satisfies MessageInitShape<typeof ActionSchema>;
}

/** The name people know an action by: the last part of the task's name, or of the trace or condition. */
export function displayName(action: ActionRow): string {
  if (action.shortName !== '') return action.shortName;
  const name = action.taskName ?? action.functionName;
  return name.slice(name.lastIndexOf('.') + 1) || action.name;
}

function specMetadata(action: ActionRow): NonNullable<Metadata['spec']> {
  switch (action.type) {
    case ActionType.TRACE:
      return { case: 'trace', value: { name: action.functionName || (action.taskName ?? '') } };
    case ActionType.CONDITION: {
      const spec = action.condition === null ? undefined : fromBinary(ConditionActionSchema, action.condition);
      const name = spec?.name || action.functionName || (action.taskName ?? '');
      return { case: 'condition', value: { name, ...(spec?.type && { type: spec.type }) } };
    }
    default:
      return {
        case: 'task',
        value: {
          id: {
            project: action.taskProject ?? '',
            domain: action.taskDomain ?? '',
            name: action.taskName ?? '',
            version: action.taskVersion ?? '',
          },
          taskType: action.taskType,
          shortName: displayName(action),
        },
      };
  }
}

function originOf(run: RunRow) {
  const { relation } = fromBinary(RunSpecSchema, run.runSpec);
  const { triggerName: name, triggerTaskName: taskName, triggerRevision: revision, project, domain } = run;
  return {
    ...(relation && { relation }),
    ...(name !== null && {
      triggerName: name,
      triggerId: { name: { project, domain, name, taskName: taskName ?? '' }, revision: BigInt(revision ?? 0) },
    }),
  };
}
