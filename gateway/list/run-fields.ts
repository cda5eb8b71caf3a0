import { actionListColumns, actionSequence } from '../../db/action-list-columns.ts';
import type { Column } from '../../db/list-query.ts';
import { labelColumn, labelEquals, runListColumns, runSequence } from '../../db/run-reads.ts';
import { ActionPhase } from '../../proto/gen/flyteidl2/common/phase_pb.js';
import { ActionType, RunSource } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { columnsOf, enumReader, type Field } from './columns.ts';

const enums: Readonly<Record<string, Omit<Field, 'column'>>> = {
  phase: {
    read: enumReader(ActionPhase, 'ACTION_PHASE_'),
    values: 'a phase as a number or a name, e.g. 5 or SUCCEEDED',
    splitDigits: true,
  },
  action_type: {
    read: enumReader(ActionType, 'ACTION_TYPE_'),
    values: 'an action type as a number or a name, e.g. 3 or CONDITION',
  },
  run_source: {
    read: enumReader(RunSource, 'RUN_SOURCE_'),
    values: 'a run source as a number or a name, e.g. 2 or CLI',
  },
};

/** The fields of ListRuns, `labels.<key>` among them (runs.md 1.10). `run` breaks ties. */
export const runFields = columnsOf(fields({ ...runListColumns, run: runSequence }), {
  prefix: 'labels.',
  field: key => ({ column: labelColumn(key), equals: value => labelEquals(key, value) }),
});

/** The fields of ListActions. `sequence` is the order of creation and breaks ties. */
export const actionFields = columnsOf(fields({ ...actionListColumns, sequence: actionSequence }));

function fields(columns: Readonly<Record<string, Column>>): Record<string, Field> {
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, { column, ...enums[name] }]));
}
