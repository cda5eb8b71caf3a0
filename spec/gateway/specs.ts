import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { NamedParameterSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import { type TaskSpec, TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';

interface Change {
  readonly name?: string;
  readonly version?: string;
  readonly args?: readonly string[];
  readonly defaultInputs?: MessageInitShape<typeof NamedParameterSchema>[];
  readonly documentation?: string;
  readonly outputs?: readonly string[];
  readonly environment?: string | null;
}

/** The spec of a Python task as the SDK sends it for a code run. */
export function aTaskSpec(change: Change = {}): TaskSpec {
  const { name = 'env.main', version = 'v1', args = ['a0', '--version', 'v1'], outputs = ['o0'] } = change;
  return create(TaskSpecSchema, {
    taskTemplate: {
      id: { project: 'flytesnacks', domain: 'development', name, version },
      type: 'python',
      metadata: { runtime: { version: '2.12.1', flavor: 'python' } },
      interface: { inputs: { variables: [] }, outputs: { variables: outputs.map(key => ({ key, value: {} })) } },
      target: { case: 'container', value: { image: 'auto', args: [...args] } },
    },
    shortName: name.slice(name.lastIndexOf('.') + 1),
    ...(change.environment !== null && { environment: { name: change.environment ?? 'env' } }),
    ...(change.defaultInputs && { defaultInputs: change.defaultInputs }),
    ...(change.documentation && { documentation: { shortDescription: change.documentation } }),
  });
}

export function aTaskSpecInBytes(change?: Change): Uint8Array {
  return toBinary(TaskSpecSchema, aTaskSpec(change));
}
