import { fromBinary } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import type { ActionPath } from '../actors/run/commands.ts';
import { type ActionDetailRow, actionDetails } from '../db/action-details.ts';
import { specBodies } from '../db/specs.ts';
import type { Sql } from '../db/sql.ts';
import {
  type TaskSpec,
  TaskSpecSchema,
  type TraceSpec,
  TraceSpecSchema,
} from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import {
  ActionType,
  type ConditionAction,
  ConditionActionSchema,
} from '../proto/gen/flyteidl2/workflow/run_definition_pb.js';
import { notFound } from './errors.ts';
import { GatheredReads } from './gathered-reads.ts';
import { nameOfAction } from './identifiers.ts';
import type { RunDirectory } from './run-directory.ts';

/** What an action was asked to do, decoded; without a case when none was stored. Shared by all who read it: never to be changed. */
export type ActionSpec =
  | { readonly case: 'task'; readonly value: TaskSpec }
  | { readonly case: 'trace'; readonly value: TraceSpec }
  | { readonly case: 'condition'; readonly value: ConditionAction }
  | { readonly case: undefined };

/** Everything about an action that a client may see. */
export interface ActionDetail extends ActionDetailRow {
  readonly spec: ActionSpec;
}

const NO_SPEC: ActionSpec = { case: undefined };
const SPECS_KEPT = 5_000;
const SPEC_BYTES_KEPT = 16 * 1024 * 1024;

/** Actions as they are now. Specs never change and are many actions' in common: they are read and decoded once and remembered. */
export class ActionReader {
  readonly #directory: RunDirectory;
  readonly #rows: GatheredReads<{ readonly runId: number; readonly name: string }, ActionDetailRow>;
  readonly #bodies: GatheredReads<string, Uint8Array>;
  readonly #specs = new LRUCache<string, ActionSpec>({ max: SPECS_KEPT, maxSize: SPEC_BYTES_KEPT });

  constructor(db: Sql, directory: RunDirectory) {
    this.#directory = directory;
    this.#rows = new GatheredReads(keyOf, async keys => {
      const rows = await actionDetails(db, keys);
      return new Map(rows.map(row => [keyOf(row), row]));
    });
    this.#bodies = new GatheredReads(
      digest => digest,
      digests => specBodies(db, digests),
    );
  }

  async find(path: ActionPath): Promise<ActionDetail | null> {
    const run = await this.#directory.find(path);
    const row = run === null ? null : await this.#rows.read({ runId: run.id, name: path.action });
    return row === null ? null : { ...row, spec: await this.#specOf(row) };
  }

  /** @throws StarlingError not_found */
  async get(path: ActionPath): Promise<ActionDetail> {
    const action = await this.find(path);
    if (action === null) throw notFound('action', nameOfAction(path));
    return action;
  }

  async #specOf({ type, specDigest }: ActionDetailRow): Promise<ActionSpec> {
    if (specDigest === '') return NO_SPEC;
    const key = `${type} ${specDigest}`;
    const known = this.#specs.get(key);
    if (known !== undefined) return known;
    const body = await this.#bodies.read(specDigest);
    if (body === null) return NO_SPEC;
    const spec = decoded(type, body);
    this.#specs.set(key, spec, { size: 200 + body.length });
    return spec;
  }
}

function keyOf({ runId, name }: { readonly runId: number; readonly name: string }): string {
  return `${runId} ${name}`;
}

function decoded(type: number, body: Uint8Array): ActionSpec {
  switch (type) {
    case ActionType.TRACE:
      return { case: 'trace', value: fromBinary(TraceSpecSchema, body) };
    case ActionType.CONDITION:
      return { case: 'condition', value: fromBinary(ConditionActionSchema, body) };
    default:
      return { case: 'task', value: fromBinary(TaskSpecSchema, body) };
  }
}
