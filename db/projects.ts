import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import {
  cursorOf,
  integerColumn,
  orderAndLimit,
  type Page,
  type PageRequest,
  textColumn,
  timestampColumn,
  toPage,
  whereOf,
} from './list-query.ts';
import { cursor, labels } from './row-types.ts';

const projectRow = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  labels,
  /** flyteidl2.project.ProjectState */
  state: z.number(),
});

export type ProjectRow = z.infer<typeof projectRow>;

const columns = sql.fragment`p.id as "id", p.name as "name", p.description as "description", p.labels as "labels", p.state as "state"`;

/** Fields projects can be filtered and sorted by (services.md §7); ids are unique. */
export const projectListColumns = {
  identifier: textColumn(sql.fragment`p.id`),
  id: textColumn(sql.fragment`p.id`),
  name: textColumn(sql.fragment`p.name`),
  description: textColumn(sql.fragment`p.description`),
  labels: textColumn(sql.fragment`p.labels::text`),
  state: integerColumn(sql.fragment`p.state`),
  created_at: timestampColumn(sql.fragment`p.created_at`),
  updated_at: timestampColumn(sql.fragment`p.updated_at`),
};

export async function findProject(db: DatabasePool, id: string): Promise<ProjectRow | null> {
  return await db.maybeOne(sql.type(projectRow)`select ${columns} from project p where p.id = ${id}`);
}

export async function projectExists(db: DatabasePool, id: string): Promise<boolean> {
  return await db.exists(sql.unsafe`select 1 from project p where p.id = ${id}`);
}

/** False when the id is taken; then nothing changes. */
export async function insertProject(db: DatabasePool, project: ProjectRow): Promise<boolean> {
  const { rowCount } = await db.query(sql.unsafe`
    insert into project (id, name, description, labels, state)
    values (${project.id}, ${project.name}, ${project.description}, ${sql.jsonb(project.labels)}, ${project.state})
    on conflict (id) do nothing`);
  return rowCount > 0;
}

/** Replaces everything but the id; false when there is no such project. */
export async function replaceProject(db: DatabasePool, project: ProjectRow): Promise<boolean> {
  const { rowCount } = await db.query(sql.unsafe`
    update project set name = ${project.name}, description = ${project.description}, labels = ${sql.jsonb(project.labels)},
      state = ${project.state}, updated_at = now()
    where id = ${project.id}`);
  return rowCount > 0;
}

export async function listProjects(db: DatabasePool, page: PageRequest): Promise<Page<ProjectRow>> {
  const rows = await db.any(sql.type(projectRow.extend({ cursor }))`
    select ${columns}, ${cursorOf(page)} as "cursor" from project p where ${whereOf(page)} ${orderAndLimit(page)}`);
  return toPage(page, rows);
}
