import { taskListColumns } from '../../db/tasks.ts';
import { columnsOf } from './columns.ts';

const { name, version, created_at, deployed_at } = taskListColumns;

/** The fields of ListTasks (services.md §8.3). */
export const taskFields = columnsOf(
  Object.fromEntries(Object.entries(taskListColumns).map(([field, column]) => [field, { column }])),
);

/** The fields of ListVersions (services.md §8.4). */
export const versionFields = columnsOf({
  name: { column: name },
  version: { column: version },
  created_at: { column: created_at },
  deployed_at: { column: deployed_at },
});
