import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { AttemptPlan } from '../../../../actors/executor/messages.ts';
import { type AttemptIdentity, attemptPaths } from '../../../../actors/executor/paths.ts';
import type { PodInput, PodSettings } from '../../../../actors/executor/pod-input.ts';
import { type TaskTemplate, TaskTemplateSchema } from '../../../../proto/gen/flyteidl2/core/tasks_pb.js';
import { RunSpecSchema } from '../../../../proto/gen/flyteidl2/task/run_pb.js';

export const identity: AttemptIdentity = {
  runId: 7,
  project: 'flytesnacks',
  domain: 'development',
  run: 'rabc123',
  action: 'a0',
  attempt: 1,
  incarnation: 1,
};

export const plan: AttemptPlan = {
  project: 'flytesnacks',
  domain: 'development',
  run: 'rabc123',
  specDigest: 'd1',
  inputUri: 's3://data/runs/flytesnacks/development/rabc123/inputs/inputs.pb',
  outputBase: 's3://data/runs/flytesnacks/development/rabc123/',
  rawDataPrefix: 's3://data/raw',
  runStartedAtMs: Date.UTC(2026, 10, 24, 13, 0, 0),
  depth: 2,
};

export const settings: PodSettings = {
  namespace: 'flyte',
  org: 'starling',
  gateway: { endpoint: 'localhost:8090', insecure: true },
  store: { endpoint: 'http://localhost:9000', accessKeyId: 'key', secretAccessKey: 'secret', region: 'us-east-1' },
  defaultResources: {},
  copilot: { image: 'starling', command: ['node', 'copilot/main.ts'] },
};

/** The command line the SDK gives to every Python task (sdk.md §5.1). */
export const a0Args: readonly string[] = [
  ...['a0', '--inputs', '{{.input}}', '--outputs-path', '{{.outputPrefix}}', '--version', 'v1'],
  ...['--raw-data-path', '{{.rawOutputDataPrefix}}', '--checkpoint-path', '{{.checkpointOutputPrefix}}'],
  ...['--prev-checkpoint', '{{.prevCheckpointPrefix}}', '--run-name', '{{.runName}}', '--name', '{{.actionName}}'],
  ...['--run-start-time', '{{.runStartTime}}', '--dest', '.'],
];

export function aTask(changes: MessageInitShape<typeof TaskTemplateSchema> = {}): TaskTemplate {
  const init: MessageInitShape<typeof TaskTemplateSchema> = {
    id: { project: 'flytesnacks', domain: 'development', name: 'env.main', version: 'v1' },
    type: 'python',
    target: {
      case: 'container',
      value: { image: 'auto', args: [...a0Args], env: [{ key: 'LOG_LEVEL', value: '30' }] },
    },
  };
  return create(TaskTemplateSchema, { ...init, ...changes } as MessageInitShape<typeof TaskTemplateSchema>);
}

export function podInput(changes: Partial<PodInput> = {}): PodInput {
  const who = changes.identity ?? identity;
  return {
    identity: who,
    plan,
    template: aTask(),
    runSpec: create(RunSpecSchema),
    paths: attemptPaths(who, plan),
    ...changes,
  };
}
