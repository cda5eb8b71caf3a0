import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DatabasePool } from 'slonik';
import { findProject, insertProject, listProjects, type ProjectRow, replaceProject } from '../../db/projects.ts';
import {
  type Project,
  type ProjectSchema,
  ProjectService,
  ProjectState,
} from '../../proto/gen/flyteidl2/project/project_service_pb.js';
import { alreadyExists, invalidArgument, notFound } from '../errors.ts';
import { decodeToken, encodeToken } from '../list/paging.ts';
import { projectConditions, projectFields } from '../list/project-filters.ts';
import { sortingOf } from '../list/sorting.ts';
import { implement, type ServiceImplementation } from '../transport/handler.ts';

/** A part of every project; which there are is a setting of the installation. */
export interface DomainSetting {
  readonly id: string;
  readonly name: string;
}

export interface ProjectServiceDeps {
  readonly db: DatabasePool;
  readonly domains: readonly DomainSetting[];
}

const PROJECT_ID = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const MAX_ID = 63;
const MAX_TEXT = 300;
const MAX_PROJECTS = 10_000;

/** Projects (services.md §7). */
export function projectService({ db, domains }: ProjectServiceDeps): ServiceImplementation {
  const message = (row: ProjectRow): MessageInitShape<typeof ProjectSchema> => ({
    id: row.id,
    name: row.name,
    description: row.description,
    labels: { values: row.labels },
    state: row.state,
    domains: domains.map(({ id, name }) => ({ id, name })),
  });

  return implement(ProjectService, {
    async createProject(request) {
      const project = rowOf(request.project);
      if (!PROJECT_ID.test(project.id) || project.id.length > MAX_ID) {
        throw invalidArgument(
          'project.id',
          project.id,
          `must be at most ${MAX_ID} lower-case letters, digits and hyphens, with no hyphen at its ends`,
        );
      }
      if (!(await insertProject(db, project))) throw alreadyExists('project', project.id);
      return {};
    },

    /** Replaces name, description, labels and state: what is left out is cleared. */
    async updateProject(request) {
      const project = rowOf(request.project);
      if (!(await replaceProject(db, project))) throw notFound('project', project.id);
      return {};
    },

    /** Archived ones too. */
    async getProject(request) {
      if (request.id === '') throw invalidArgument('id', '', 'must name a project');
      const project = await findProject(db, request.id);
      if (project === null) throw notFound('project', request.id);
      return { project: message(project) };
    },

    /** A limit of 0 means all. */
    async listProjects(request) {
      const sorting = sortingOf({ sortBy: request.sortBy }, projectFields, {
        fallback: [{ key: 'created_at', descending: false }],
        ties: ['id'],
      });
      const page = await listProjects(db, {
        conditions: projectConditions(request.filters),
        sort: sorting.keys,
        cursor: decodeToken(sorting, request.token),
        limit: request.limit === 0 ? MAX_PROJECTS : Math.min(request.limit, MAX_PROJECTS),
      });
      return { projects: { projects: page.rows.map(message), token: encodeToken(sorting, page.next) } };
    },
  });
}

function rowOf(project: Project | undefined): ProjectRow {
  if (project === undefined || project.id === '') throw invalidArgument('project.id', '', 'must name a project');
  for (const field of ['name', 'description'] as const) {
    if (project[field].length > MAX_TEXT || project[field].includes('\0')) {
      throw invalidArgument(`project.${field}`, project[field], `must be at most ${MAX_TEXT} characters`);
    }
  }
  if (ProjectState[project.state] === undefined) {
    throw invalidArgument('project.state', project.state, 'must be a state of the contract');
  }
  return {
    id: project.id,
    name: project.name,
    description: project.description,
    labels: { ...project.labels?.values },
    state: project.state,
  };
}
