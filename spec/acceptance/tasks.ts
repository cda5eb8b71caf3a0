import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LiteralSchema } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import { Resources_ResourceName } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { SimpleType } from '../../proto/gen/flyteidl2/core/types_pb.js';
import type { InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import type { TaskSpecSchema } from '../../proto/gen/flyteidl2/task/task_definition_pb.js';

export type TaskSpecInit = MessageInitShape<typeof TaskSpecSchema>;
type InputsInit = MessageInitShape<typeof InputsSchema>;

export const project = 'flytesnacks';
export const domain = 'development';

interface ShellTask {
  readonly type?: string;
  readonly name?: string;
  readonly image?: string;
  /** Instead of a shell and its script. */
  readonly args?: readonly string[];
  readonly memory?: string;
  readonly retries?: number;
  /** Key of a secret that it wants as a variable. */
  readonly secret?: string;
  /** Of one attempt. */
  readonly timeoutSeconds?: number;
  readonly queuedSeconds?: number;
  readonly deadlineSeconds?: number;
  /** Names of its outputs, all of type string, which it has to leave as files in /var/outputs. Inputs come to /var/inputs. */
  readonly outputs?: readonly string[];
  readonly inputs?: readonly string[];
}

/** A container task that runs a shell script. */
export function shellTask(script: string, options: ShellTask = {}): TaskSpecInit {
  const { type = 'container', name = 'shell.main', image = 'busybox:1', memory, retries } = options;
  const { timeoutSeconds, queuedSeconds, deadlineSeconds } = options;
  const variables = (keys: readonly string[] = []) => ({
    variables: keys.map(key => ({
      key,
      value: { type: { type: { case: 'simple' as const, value: SimpleType.STRING } } },
    })),
  });
  const raw = options.inputs !== undefined || options.outputs !== undefined;
  return {
    taskTemplate: {
      id: { project, domain, name, version: 'v1' },
      type,
      metadata: {
        ...(retries !== undefined && { retries: { retries } }),
        ...(timeoutSeconds !== undefined && { timeout: { seconds: BigInt(timeoutSeconds) } }),
        timeouts: {
          ...(queuedSeconds !== undefined && { queuedTimeout: { seconds: BigInt(queuedSeconds) } }),
          ...(deadlineSeconds !== undefined && { deadline: { seconds: BigInt(deadlineSeconds) } }),
        },
      },
      ...(options.secret !== undefined && { securityContext: { secrets: [{ key: options.secret }] } }),
      interface: { inputs: variables(options.inputs), outputs: variables(options.outputs) },
      target: {
        case: 'container',
        value: {
          image,
          args: [...(options.args ?? ['/bin/sh', '-c', script])],
          ...(memory !== undefined && {
            resources: { limits: [{ name: Resources_ResourceName.MEMORY, value: memory }] },
          }),
          ...(raw && { dataConfig: { enabled: true, inputPath: '/var/inputs', outputPath: '/var/outputs' } }),
        },
      },
    },
    shortName: name.slice(name.lastIndexOf('.') + 1),
  };
}

/** Runs until there is a file of this name. */
export function waitFor(file: string, options: ShellTask = {}): TaskSpecInit {
  return shellTask(`until [ -e '${file}' ]; do sleep 0.05; done`, options);
}

/** The leaf that only waits, without a pod (sdk.md §5.8). */
export const sleepTask: TaskSpecInit = {
  taskTemplate: {
    id: { project, domain, name: 'timer.sleep', version: 'v1' },
    type: 'core-sleep',
    interface: {
      inputs: {
        variables: [{ key: 'duration', value: { type: { type: { case: 'simple', value: SimpleType.DURATION } } } }],
      },
    },
  },
  shortName: 'sleep',
};

export function sleepInputs(ms: number): InputsInit {
  const duration = { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
  return { literals: [{ name: 'duration', value: primitive({ case: 'duration', value: duration }) }] };
}

export function textInputs(texts: Readonly<Record<string, string>>): InputsInit {
  return {
    literals: Object.entries(texts).map(([name, value]) => ({
      name,
      value: primitive({ case: 'stringValue', value }),
    })),
  };
}

type PrimitiveInit =
  | { case: 'stringValue'; value: string }
  | { case: 'duration'; value: { seconds: bigint; nanos: number } };

function primitive(value: PrimitiveInit): MessageInitShape<typeof LiteralSchema> {
  return { value: { case: 'scalar', value: { value: { case: 'primitive', value: { value } } } } };
}
