import { createHash } from 'node:crypto';
import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { CreateRun, RunPath } from '../actors/run/commands.ts';
import type { IdentityJson } from '../actors/run/identity.ts';
import {
  type Inputs,
  InputsSchema,
  NamedLiteralSchema,
  type NamedParameter,
} from '../proto/gen/flyteidl2/task/common_pb.js';
import { RunSpecSchema, TaskSpecSource } from '../proto/gen/flyteidl2/task/run_pb.js';
import { type TaskSpec, TaskSpecSchema } from '../proto/gen/flyteidl2/task/task_definition_pb.js';
import { type CreateRunRequest, CreateRunRequestSchema } from '../proto/gen/flyteidl2/workflow/run_service_pb.js';
import type { ObjectStore } from '../storage/object-store.ts';
import { requireCodeBundle } from './code-bundle.ts';
import { invalidArgument, notFound, unimplemented } from './errors.ts';
import { drawRunName, newRunPath, projectDomain, type TaskPath, taskPath } from './identifiers.ts';
import { cacheKey, inputsHash } from './inputs-hash.ts';
import { inputsBlob, requireInputs, storeInputs } from './offloaded-inputs.ts';
import type { RunDirectory } from './run-directory.ts';
import { normalisedRunSpec } from './run-spec.ts';
import type { StoragePlaces } from './storage-places.ts';

export interface RunCommandDeps {
  readonly store: ObjectStore;
  readonly places: StoragePlaces;
  readonly directory: Pick<RunDirectory, 'requireProject'>;
  /** The serialised TaskSpec of a deployed version, or null. */
  readonly findTaskSpec: (path: TaskPath) => Promise<Uint8Array | null>;
  readonly now: () => Date;
}

/**
 * Checks a CreateRun and turns it into the command of the engine (runs.md 1.2). Writes nothing but inline inputs, which go under
 * their own digest: a refused request leaves no trace that another could meet.
 * @throws StarlingError invalid_argument, not_found (project, task), failed_precondition (inputs or code are gone)
 */
export async function runCommand(
  deps: RunCommandDeps,
  request: CreateRunRequest,
  createdBy: IdentityJson | null,
): Promise<CreateRun> {
  const path = newPath(request.id);
  await deps.directory.requireProject(path.project);
  const { spec, bytes, task, source } = await taskOf(deps, request.task, path);
  const template = spec.taskTemplate;
  const startTime = request.runStartTime === undefined ? deps.now() : timestampDate(request.runStartTime);
  const runSpec = normalisedRunSpec(request.runSpec, { template, source, startTime });

  const inputBase = runSpec.runBaseDir || deps.places.uploads;
  const [inputs] = await Promise.all([
    inputsOf(deps.store, { ...path, base: inputBase }, request.inputWrapper, spec),
    requireCodeBundle(deps.store, template),
  ]);

  const outputs = (runSpec.runBaseDir || deps.places.runs).replace(/\/+$/, '');
  return {
    path,
    named: request.id.case === 'runId',
    fingerprint: fingerprintOf(request),
    taskSpec: bytes,
    task,
    runSpec: toBinary(RunSpecSchema, runSpec),
    source: request.source,
    labels: runSpec.labels?.values ?? {},
    trigger: null,
    inputUri: inputs.uri,
    outputBase: `${outputs}/${path.project}/${path.domain}/{run}/`,
    rawDataPrefix: runSpec.rawDataStorage?.rawDataPrefix || deps.places.rawData,
    cacheKey: cacheKey(template, task.name, inputs.hash),
    startTime: runSpec.runStartTime === undefined ? startTime : timestampDate(runSpec.runStartTime),
    createdBy,
  };
}

function newPath(id: CreateRunRequest['id']): RunPath {
  switch (id.case) {
    case 'runId':
      return newRunPath(id.value);
    case 'projectId':
      return { ...projectDomain(id.value), run: drawRunName() };
    default:
      throw invalidArgument('id', undefined, 'must be a run_id, or a project_id to have a name drawn');
  }
}

interface ResolvedTask {
  readonly spec: TaskSpec;
  readonly bytes: Uint8Array;
  readonly task: CreateRun['task'];
  readonly source: TaskSpecSource;
}

async function taskOf(deps: RunCommandDeps, task: CreateRunRequest['task'], path: RunPath): Promise<ResolvedTask> {
  switch (task.case) {
    case 'taskId': {
      const id = taskPath(task.value);
      const bytes = await deps.findTaskSpec(id);
      if (bytes === null) throw notFound('task', `${id.project}/${id.domain}/${id.name} version ${id.version}`);
      return { spec: fromBinary(TaskSpecSchema, bytes), bytes, task: id, source: TaskSpecSource.DEPLOYED };
    }
    case 'taskSpec': {
      const template = task.value.taskTemplate;
      if (template === undefined) throw invalidArgument('task_spec.task_template', undefined, 'must say what to run');
      const { id } = template;
      return {
        spec: task.value,
        bytes: toBinary(TaskSpecSchema, task.value),
        task: {
          project: id?.project || path.project,
          domain: id?.domain || path.domain,
          name: id?.name ?? '',
          version: id?.version ?? '',
        },
        source: TaskSpecSource.EPHEMERAL,
      };
    }
    case 'triggerName':
      throw unimplemented('triggers are not served yet: start the task of the trigger by task_id');
    default:
      throw invalidArgument('task', undefined, 'must be a task_id or a task_spec');
  }
}

/**
 * The blob and the hash that goes into the cache key. A given hash is the client's business: it is neither computed anew nor
 * compared (sdk-2.12.md #26).
 */
async function inputsOf(
  store: ObjectStore,
  place: Parameters<typeof storeInputs>[1],
  wrapper: CreateRunRequest['inputWrapper'],
  spec: TaskSpec,
): Promise<{ uri: string; hash: string }> {
  if (wrapper.case === 'offloadedInputData') {
    const uri = inputsBlob(wrapper.value.uri);
    await requireInputs(store, uri);
    return { uri, hash: wrapper.value.inputsHash };
  }
  const inputs = withDefaults(wrapper.value, spec.defaultInputs);
  const { blob } = await storeInputs(store, place, inputs);
  return { uri: blob, hash: inputsHash(inputs, spec.taskTemplate?.metadata?.cacheIgnoreInputVars ?? []) };
}

/** Given inputs stay; declared defaults of the others follow in the order of their declaration. */
function withDefaults(given: Inputs | undefined, defaults: readonly NamedParameter[]): Inputs {
  const inputs = given === undefined ? create(InputsSchema) : clone(InputsSchema, given);
  const names = new Set(inputs.literals.map(({ name }) => name));
  for (const { name, parameter } of defaults) {
    if (names.has(name) || parameter?.behavior.case !== 'default') continue;
    inputs.literals.push(create(NamedLiteralSchema, { name, value: parameter.behavior.value }));
  }
  return inputs;
}

/** The same request again is the same run, whenever it comes: the start time it asks for does not count. */
function fingerprintOf(request: CreateRunRequest): string {
  const { runStartTime: _, ...timeless } = request;
  return createHash('sha256').update(toBinary(CreateRunRequestSchema, timeless)).digest('hex');
}
