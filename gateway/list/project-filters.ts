import type { Condition } from '../../db/list-query.ts';
import { projectListColumns } from '../../db/projects.ts';
import { ProjectState } from '../../proto/gen/flyteidl2/project/project_service_pb.js';
import { invalidArgument } from '../errors.ts';
import { columnsOf, enumReader } from './columns.ts';
import { readers } from './filters.ts';

const state = {
  read: enumReader(ProjectState, 'PROJECT_STATE_'),
  values: 'a state as a number or a name, e.g. 1 or ARCHIVED',
};

/** The fields of ListProjects (services.md §7). `id` breaks ties. */
export const projectFields = columnsOf({
  ...Object.fromEntries(Object.entries(projectListColumns).map(([name, column]) => [name, { column }])),
  state: { column: projectListColumns.state, ...state },
});

const notArchived: Condition = {
  kind: 'compare',
  column: projectListColumns.state,
  by: '<>',
  value: String(ProjectState.ARCHIVED),
};

const TERM = /^\s*([a-z_]+)\s*\(\s*([a-z_]+)\s*,\s*(.*?)\s*\)\s*$/is;

/**
 * The conditions of a text such as `eq(state, 0)+contains(name, abc)`: all must hold (services.md §7). Without a text archived projects
 * are left out; any filter lifts that.
 * @throws StarlingError invalid_argument
 */
export function projectConditions(filters: string): Condition[] {
  if (filters.trim() === '') return [notArchived];
  return filters.split('+').map(condition);
}

function condition(term: string): Condition {
  const [, fn = '', name = '', value = ''] = TERM.exec(term) ?? [];
  if (fn === '') throw invalidArgument('filters', term, 'must be terms like eq(state, 0), joined by +');
  const field = projectFields.field(name);
  if (field === undefined) {
    throw invalidArgument('filters', name, `fields are ${projectFields.names().join(', ')}`);
  }
  const { column } = field;
  const read = (text: string): string => {
    const result = (field.read ?? readers[column.type])(text);
    if (result === undefined) throw invalidArgument('filters', text, `is no value of ${name}`);
    return result;
  };
  switch (fn.toLowerCase()) {
    case 'eq':
      return { kind: 'compare', column, by: '=', value: read(value) };
    case 'ne':
      return { kind: 'compare', column, by: '<>', value: read(value) };
    case 'value_in':
      return { kind: 'in', column, values: value.split(';').map(part => read(part.trim())) };
    case 'contains':
      if (column.type !== 'text') throw invalidArgument('filters', term, `${name} is not text`);
      return { kind: 'like', column, where: 'anywhere', value: read(value), ignoreCase: false, negated: false };
    default:
      throw invalidArgument('filters', fn, 'functions are eq, ne, contains and value_in');
  }
}
