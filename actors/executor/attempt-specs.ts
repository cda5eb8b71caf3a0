import { fromBinary } from '@bufbuild/protobuf';
import { specBody } from '../../db/pods.ts';
import { runConstants } from '../../db/runs.ts';
import type { Sql } from '../../db/sql.ts';
import { type TaskTemplate, TaskTemplateSchema } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { type RunSpec, RunSpecSchema } from '../../proto/gen/flyteidl2/task/run_pb.js';
import { TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';
import type { AttemptPlan } from './messages.ts';

/** What an attempt is to run, as its user wrote it. */
export interface AttemptSpecs {
  readonly template: TaskTemplate;
  readonly runSpec: RunSpec;
}

/** Reads what an attempt is to run. */
export interface AttemptSpecReader {
  /**
   * The same for every attempt of a task in a run, so it is remembered.
   * @throws SpecMissing; DatabaseUnavailable
   */
  read(runId: number, plan: AttemptPlan): Promise<AttemptSpecs>;
}

/** The database does not hold what an attempt refers to, or holds something else: nobody's task can cause that. */
export class SpecMissing extends Error {
  override readonly name = 'SpecMissing';
}

/** Remembered specs; the children of a fan-out share theirs. */
const REMEMBERED = 256;

export function createAttemptSpecReader(db: Sql): AttemptSpecReader {
  const templates = new Remembered<TaskTemplate>();
  const runSpecs = new Remembered<RunSpec>();

  async function template(digest: string): Promise<TaskTemplate> {
    const body = await specBody(db, digest);
    if (body === undefined) throw new SpecMissing(`the spec ${digest} of the task is not in the database`);
    return decoded(`spec ${digest}`, () => fromBinary(TaskSpecSchema, body).taskTemplate ?? empty());
  }

  async function runSpec(runId: number): Promise<RunSpec> {
    const [run] = await runConstants(db, [runId]);
    if (run === undefined) throw new SpecMissing(`run ${runId} is not in the database`);
    return decoded(`the spec of run ${runId}`, () => fromBinary(RunSpecSchema, run.spec));
  }

  return {
    async read(runId, { specDigest }) {
      const [task, run] = await Promise.all([
        templates.get(specDigest, () => template(specDigest)),
        runSpecs.get(String(runId), () => runSpec(runId)),
      ]);
      return { template: task, runSpec: run };
    },
  };
}

function empty(): TaskTemplate {
  return fromBinary(TaskTemplateSchema, new Uint8Array());
}

function decoded<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new SpecMissing(`${what} cannot be decoded: ${(cause as Error).message}`, { cause });
  }
}

/** The most recently used values; concurrent first reads share one. */
class Remembered<T> {
  private readonly values = new Map<string, Promise<T>>();

  get(key: string, read: () => Promise<T>): Promise<T> {
    const value = this.values.get(key) ?? read();
    this.values.delete(key);
    this.values.set(key, value);
    value.catch(() => this.values.delete(key));
    if (this.values.size > REMEMBERED) this.values.delete(this.values.keys().next().value!);
    return value;
  }
}
