import { sql } from 'slonik';
import { type Column, integerColumn, textColumn, timestampColumn } from './list-query.ts';

const nullable = { nullable: true };

/**
 * What the rows of `action a` can be filtered and sorted by, by the names clients use (runs.md 1.10, sdk.md §3.4). A list of
 * runs has the same fields: they are those of the root action.
 */
export const actionListColumns = {
  name: textColumn(sql.fragment`a.name`),
  phase: integerColumn(sql.fragment`a.phase`),
  action_type: integerColumn(sql.fragment`a.type`),
  parent_name: textColumn(sql.fragment`a.parent`, nullable),
  group: textColumn(sql.fragment`a.group_name`, nullable),
  task_project: textColumn(sql.fragment`a.task_project`, nullable),
  task_domain: textColumn(sql.fragment`a.task_domain`, nullable),
  task_name: textColumn(sql.fragment`a.task_name`, nullable),
  task_version: textColumn(sql.fragment`a.task_version`, nullable),
  task_type: textColumn(sql.fragment`a.task_type`),
  function_name: textColumn(sql.fragment`a.function_name`),
  environment_name: textColumn(sql.fragment`a.environment`),
  created_at: timestampColumn(sql.fragment`a.created_at`),
  updated_at: timestampColumn(sql.fragment`a.updated_at`),
  ended_at: timestampColumn(sql.fragment`a.ended_at`, nullable),
  duration_ms: integerColumn(sql.fragment`(extract(epoch from a.ended_at - a.created_at) * 1000)::bigint`, nullable),
} satisfies Record<string, Column>;

/** The order in which the actions of a run came into being: unique and immutable. */
export const actionSequence = integerColumn(sql.fragment`a.seq`);
