import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import type { Container, TaskTemplate } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { acceleratorResource } from './accelerators.ts';
import { envOf } from './env.ts';
import { resourcesOf } from './resources.ts';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

/** A pod as the task describes it, before anything of the platform is added. */
export interface RawPod {
  readonly spec: V1PodSpec;
  /** Its exit decides the task. */
  readonly primary: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Name of the container of tasks that describe only one. */
const DEFAULT_CONTAINER = 'main';

/**
 * The pod a task template asks for: its container, its pod spec, or the pod in the `custom` field of older `sidecar`
 * tasks (executor.md 3.2).
 * @throws TaskRefused when there is none or it makes no sense
 */
export function rawPod(template: TaskTemplate): RawPod {
  const { target } = template;
  if (target.case === 'container') return containerPod(template, target.value);
  if (target.case === 'k8sPod') {
    const { podSpec, metadata, primaryContainerName } = target.value;
    const custom = template.type === 'sidecar' && template.taskTypeVersion === 1 ? template.custom : undefined;
    const primary = template.config.primary_container_name ?? primaryContainerName;
    return podOf(podSpec ?? custom, primary, metadata?.labels, metadata?.annotations);
  }
  if (template.type === 'sidecar' && template.custom !== undefined) {
    const { podSpec, primaryContainerName, labels, annotations } = template.custom;
    // Version 0 wraps the pod spec, version 1 is one (executor.md 3.2).
    return template.taskTypeVersion === 0
      ? podOf(podSpec, primaryContainerName, texts(labels), texts(annotations))
      : podOf(template.custom, template.config.primary_container_name);
  }
  throw new TaskRefused(
    BAD_TASK,
    `task of type '${template.type}' has ${target.case === undefined ? 'no target' : `a ${target.case} target`}; it needs a container or a pod`,
  );
}

/** Texts of a template that can hold `{{…}}` placeholders. */
export function templateTexts(template: TaskTemplate): string[] {
  const { spec } = rawPod(template);
  return [...spec.containers, ...(spec.initContainers ?? [])].flatMap(container => [
    ...(container.command ?? []),
    ...(container.args ?? []),
    ...(container.env ?? []).map(variable => variable.value ?? ''),
  ]);
}

function containerPod(template: TaskTemplate, container: Container): RawPod {
  const { image, command, args, env, ports } = container;
  const accelerator = template.extendedResources?.gpuAccelerator;
  const named = ports.map(port => ({
    containerPort: port.containerPort,
    ...(port.name !== '' && { name: port.name }),
  }));
  return {
    spec: {
      containers: [
        {
          name: DEFAULT_CONTAINER,
          image,
          ...(command.length > 0 && { command }),
          ...(args.length > 0 && { args }),
          ...(named.length > 0 && { ports: named }),
          env: envOf(env),
          resources: resourcesOf(container.resources, acceleratorResource(accelerator)),
        },
      ],
    },
    primary: DEFAULT_CONTAINER,
    labels: template.metadata?.metadata?.labels ?? {},
    annotations: template.metadata?.metadata?.annotations ?? {},
  };
}

function podOf(
  given: unknown,
  primary: unknown,
  labels: Readonly<Record<string, string>> = {},
  annotations: Readonly<Record<string, string>> = {},
): RawPod {
  const spec = structuredClone(given) as V1PodSpec | undefined;
  if (typeof spec !== 'object' || spec === null || !isContainerList(spec.containers)) {
    throw new TaskRefused(BAD_TASK, "the task's pod spec has no list of named containers; give it at least one");
  }
  if (spec.initContainers !== undefined && !isContainerList(spec.initContainers)) {
    throw new TaskRefused(BAD_TASK, "an init container of the task's pod spec has no name; name it");
  }
  const names = spec.containers.map(container => container.name);
  if (typeof primary !== 'string' || primary === '') {
    throw new TaskRefused(
      BAD_TASK,
      `the task does not say which container of its pod is the primary one: set primary_container_name to one of ${names.join(', ')}`,
    );
  }
  if (!names.includes(primary)) {
    throw new TaskRefused(
      BAD_TASK,
      `the task's primary container '${primary}' is not in its pod, which has ${names.join(', ')}`,
    );
  }
  return { spec, primary, labels, annotations };
}

function isContainerList(value: unknown): value is V1Container[] {
  if (!Array.isArray(value) || value.length === 0) return false;
  return value.every(container => typeof (container as V1Container | null)?.name === 'string');
}

function texts(value: unknown): Record<string, string> {
  const entries = Object.entries((value ?? {}) as Record<string, unknown>);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
