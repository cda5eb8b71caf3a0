import type { V1Affinity, V1Container, V1EnvVar, V1Pod, V1PodSpec, V1Volume } from '@kubernetes/client-node';
import type { SharedMemory } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { acceleratorPlacement } from './accelerators.ts';
import { renderText, type TemplateValues } from './args.ts';
import { envFrom, envOf, mergeEnv } from './env.ts';
import { executorKey } from './messages.ts';
import { identifierOf, isMetadataKey, labelValue, podName } from './names.ts';
import type { PodInput, PodSettings } from './pod-input.ts';
import { quantityOf } from './quantity.ts';
import { type RawPod, rawPod } from './raw-pod.ts';
import { completeResources } from './resources.ts';
import { DEPTH_ANNOTATION } from './runtime/pod-runtime.ts';
import { type SecretReferences, secretReferences } from './secrets.ts';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

/** Annotation: key of the executor a pod belongs to. */
export const EXECUTOR_ANNOTATION = 'starling.dev/executor';
/** Annotation: which pod of its attempt it is, from 1. */
export const INCARNATION_ANNOTATION = 'starling.dev/incarnation';
/** Annotation that tools (`kubectl logs`) and pod-status.ts read: the container whose exit decides. */
export const PRIMARY_ANNOTATION = 'kubectl.kubernetes.io/default-container';

/**
 * The Kubernetes pod of one incarnation of an attempt: what the task asks for, the run's options on top of it, and what
 * the platform needs to run and find it. Pure: the same input gives the same pod, byte for byte.
 * @throws TaskRefused when the task can never run as it is specified
 */
export function buildPod(input: PodInput, settings: PodSettings): V1Pod {
  const raw = rawPod(input.template);
  const name = podName(input.identity);
  const secrets = secretReferences(input.template.securityContext?.secrets ?? [], {
    org: settings.org,
    project: input.plan.project,
    domain: input.plan.domain,
  });
  const values = templateValues(input, name, settings.namespace);
  const shape = (container: V1Container) => shapeContainer(container, input, settings, raw, secrets, values, name);
  const { containers, initContainers, ...rest } = raw.spec;
  const spec: V1PodSpec = {
    ...rest,
    ...placement(rest, input, settings, raw),
    restartPolicy: 'Never',
    enableServiceLinks: false,
    containers: containers.map(shape),
    ...(initContainers !== undefined && { initContainers: initContainers.map(shape) }),
  };
  const serviceAccountName = serviceAccount(input, settings) ?? rest.serviceAccountName;
  if (serviceAccountName !== undefined) spec.serviceAccountName = serviceAccountName;
  if (secrets.volumes.length > 0) spec.volumes = [...(spec.volumes ?? []), ...secrets.volumes];
  const memory = input.template.extendedResources?.sharedMemory;
  if (memory !== undefined) shareMemory(spec, raw.primary, memory);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: settings.namespace,
      labels: labels(input, settings, raw),
      annotations: annotations(input, raw),
    },
    spec,
  };
}

function shapeContainer(
  container: V1Container,
  input: PodInput,
  settings: PodSettings,
  raw: RawPod,
  secrets: SecretReferences,
  values: TemplateValues,
  pod: string,
): V1Container {
  const render = (text: string) => renderText(text, values, input.inputs);
  const isPrimary = container.name === raw.primary;
  // Only raw containers have no SDK inside that would read its options itself (sdk.md §5.1).
  const renderEnv = dataConfigOf(input)?.enabled === true;
  const own = (container.env ?? []).map(variable =>
    renderEnv && variable.value !== undefined ? { ...variable, value: render(variable.value) } : variable,
  );
  const env = mergeEnv({
    defaults: envFrom({ FLYTE_DISABLE_SENTRY: '1', ...settings.env, ...taskEnv(input) }),
    task: own,
    run: envOf(input.runSpec.envs?.values ?? []),
    secrets: secrets.env,
    platform: platformEnv(input, settings, pod),
  });
  return {
    ...container,
    ...(container.command !== undefined && { command: container.command.map(render) }),
    ...(container.args !== undefined && { args: container.args.map(render) }),
    env,
    ...(isPrimary && { resources: completeResources(container.resources ?? {}, settings.defaultResources) }),
    ...(container.imagePullPolicy === undefined &&
      settings.imagePullPolicy !== undefined && { imagePullPolicy: settings.imagePullPolicy }),
    ...(secrets.mounts.length > 0 && { volumeMounts: [...(container.volumeMounts ?? []), ...secrets.mounts] }),
    terminationMessagePolicy: container.terminationMessagePolicy ?? 'FallbackToLogsOnError',
  };
}

function taskEnv({ template }: PodInput): Record<string, string> {
  const { project = '', domain = '', name = '', version = '' } = template.id ?? {};
  return Object.fromEntries(
    ['FLYTE_INTERNAL_TASK', 'FLYTE_INTERNAL'].flatMap(prefix => [
      [`${prefix}_PROJECT`, project],
      [`${prefix}_DOMAIN`, domain],
      [`${prefix}_NAME`, name],
      [`${prefix}_VERSION`, version],
    ]),
  );
}

/** What the SDK in the pod needs to know where it is and whom to talk to (sdk.md §5.2). */
function platformEnv({ identity, plan }: PodInput, settings: PodSettings, pod: string): V1EnvVar[] {
  const { gateway, store } = settings;
  return envFrom({
    ACTION_NAME: identity.action,
    RUN_NAME: identity.run,
    _U_RUN_BASE: plan.outputBase,
    _U_ORG_NAME: settings.org,
    FLYTE_INTERNAL_EXECUTION_PROJECT: identity.project,
    FLYTE_INTERNAL_EXECUTION_DOMAIN: identity.domain,
    FLYTE_INTERNAL_EXECUTION_ID: identity.run,
    FLYTE_ATTEMPT_NUMBER: String(identity.attempt - 1),
    _F_PN: pod,
    _U_USE_ACTIONS: '1',
    _U_EP_OVERRIDE: gateway.endpoint,
    // Left out rather than `false`: any text may count as true to older clients.
    ...(gateway.insecure && { _U_INSECURE: 'true' }),
    ...(store.endpoint !== undefined && { FLYTE_AWS_ENDPOINT: store.endpoint }),
    ...(store.accessKeyId !== undefined && { FLYTE_AWS_ACCESS_KEY_ID: store.accessKeyId }),
    ...(store.secretAccessKey !== undefined && { FLYTE_AWS_SECRET_ACCESS_KEY: store.secretAccessKey }),
    ...(store.region !== undefined && { AWS_REGION: store.region }),
  });
}

/** What the placeholders of command lines stand for (sdk.md §5.1, executor.md 3.5). */
function templateValues(input: PodInput, pod: string, namespace: string): TemplateValues {
  const { plan, paths, identity } = input;
  return {
    input: plan.inputUri,
    inputprefix: plan.inputUri.replace(/\/[^/]*$/, ''),
    outputprefix: paths.outputUri,
    rawoutputdataprefix: paths.rawDataUri,
    checkpointoutputprefix: paths.checkpointUri,
    // Two quotes, which the SDK takes for "no checkpoint": an empty argument would shift its options.
    prevcheckpointprefix: input.previousCheckpointUri ?? '""',
    runname: identity.run,
    actionname: identity.action,
    runstarttime: new Date(plan.runStartedAtMs).toISOString().replace(/\.000Z$/, 'Z'),
    perretryuniquekey: identifierOf(pod),
    tasktemplatepath: 'inline://taskTemplate',
    namespace,
  };
}

/** RunSpec's service account, else the task's, else that of the installation (sdk-2.12.md 2.6). */
function serviceAccount({ runSpec, template }: PodInput, settings: PodSettings): string | undefined {
  const ofRun = runSpec.securityContext?.runAs?.k8sServiceAccount;
  return ofRun || template.securityContext?.runAs?.k8sServiceAccount || settings.serviceAccount;
}

function placement(spec: Partial<V1PodSpec>, input: PodInput, settings: PodSettings, raw: RawPod): Partial<V1PodSpec> {
  const interruptible = isInterruptible(input) ? settings.interruptible : undefined;
  const accelerator = acceleratorOf(input, raw);
  const tolerations = [
    ...(interruptible?.tolerations ?? []),
    ...(accelerator?.tolerations ?? []),
    ...(spec.tolerations ?? []),
  ];
  const requirements = accelerator?.requirements ?? [];
  return {
    ...(tolerations.length > 0 && { tolerations }),
    ...(interruptible?.nodeSelector !== undefined && {
      nodeSelector: { ...interruptible.nodeSelector, ...spec.nodeSelector },
    }),
    ...(requirements.length > 0 && { affinity: requireNodes(spec.affinity, requirements) }),
  };
}

function isInterruptible({ runSpec, template }: PodInput): boolean {
  return runSpec.interruptible ?? template.metadata?.interruptibleValue.value === true;
}

/** Placement counts only when a container really asks for a device (executor.md 3.8). */
function acceleratorOf(input: PodInput, raw: RawPod) {
  const accelerator = input.template.extendedResources?.gpuAccelerator;
  if (accelerator === undefined) return undefined;
  const counted = /\/(gpu|tpu|neuron|gaudi)$/;
  const asks = raw.spec.containers.some(container =>
    Object.keys({ ...container.resources?.limits, ...container.resources?.requests }).some(key => counted.test(key)),
  );
  return asks ? acceleratorPlacement(accelerator) : undefined;
}

/** Terms are alternatives, so a requirement goes into every one of them. */
function requireNodes(
  affinity: V1Affinity | undefined,
  requirements: ReturnType<typeof acceleratorPlacement>['requirements'],
): V1Affinity {
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required === undefined || required.nodeSelectorTerms.length === 0 ? [{}] : required.nodeSelectorTerms;
  return {
    ...affinity,
    nodeAffinity: {
      ...affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map(term => ({
          ...term,
          matchExpressions: [...('matchExpressions' in term ? (term.matchExpressions ?? []) : []), ...requirements],
        })),
      },
    },
  };
}

/** A memory-backed volume in the primary container, as PyTorch data loaders want it (executor.md 3.8). */
function shareMemory(spec: V1PodSpec, primary: string, memory: SharedMemory): void {
  const { mountName, mountPath, sizeLimit } = memory;
  if (mountName === '' || mountPath === '') {
    throw new TaskRefused(BAD_TASK, 'the shared memory of the task needs a mount name and a mount path');
  }
  if (sizeLimit !== '' && quantityOf(sizeLimit) === undefined) {
    throw new TaskRefused(BAD_TASK, `the size of the shared memory is '${sizeLimit}'; write a quantity like 2Gi`);
  }
  const container = spec.containers.find(({ name }) => name === primary)!;
  const taken = spec.volumes?.some(({ name }) => name === mountName);
  if (taken || container.volumeMounts?.some(mount => mount.mountPath === mountPath)) {
    throw new TaskRefused(
      BAD_TASK,
      `the shared memory '${mountName}' at ${mountPath} meets a volume of the pod; rename it`,
    );
  }
  const volume: V1Volume = {
    name: mountName,
    emptyDir: { medium: 'Memory', ...(sizeLimit !== '' && { sizeLimit }) },
  };
  spec.volumes = [...(spec.volumes ?? []), volume];
  container.volumeMounts = [...(container.volumeMounts ?? []), { name: mountName, mountPath }];
}

function labels({ identity, runSpec, template }: PodInput, settings: PodSettings, raw: RawPod): Record<string, string> {
  const own = {
    'flyte.org/managed': 'true',
    'flyte.org/project': identity.project,
    'flyte.org/domain': identity.domain,
    'flyte.org/run': identity.run,
    'flyte.org/action': identity.action,
    'flyte.org/action-type': 'task',
    'flyte.org/is-root': String(identity.action === 'a0'),
    'starling.dev/run-id': String(identity.runId),
    organization: settings.org,
    project: identity.project,
    domain: identity.domain,
    run: identity.run,
    action: identity.action,
    attempt: String(identity.attempt),
    'task-name': template.id?.name ?? '',
  };
  const users = { ...raw.labels, ...runSpec.labels?.values };
  const result: Record<string, string> = {};
  for (const [key, text] of Object.entries({ ...users, ...own })) {
    // An empty value is legal for users' labels; ours are left out when there is nothing to say (executor.md 3.3).
    const value = labelValue(text) ?? (Object.hasOwn(own, key) ? undefined : '');
    if (value !== undefined && isMetadataKey(key)) result[key] = value;
  }
  return result;
}

function annotations({ identity, plan, runSpec, template }: PodInput, raw: RawPod): Record<string, string> {
  const users = { ...raw.annotations, ...runSpec.annotations?.values };
  const alone = raw.spec.containers.length === 1 && template.type !== 'raw-container';
  return {
    'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
    ...Object.fromEntries(Object.entries(users).filter(([key]) => isMetadataKey(key))),
    ...((template.type === 'sidecar' || alone) && { primary_container_name: raw.primary }),
    [PRIMARY_ANNOTATION]: raw.primary,
    [EXECUTOR_ANNOTATION]: executorKey(identity.runId, identity.action, identity.attempt),
    [INCARNATION_ANNOTATION]: String(identity.incarnation),
    [DEPTH_ANNOTATION]: String(plan.depth),
  };
}

function dataConfigOf({ template: { target } }: PodInput) {
  return target.case === 'container' || target.case === 'k8sPod' ? target.value.dataConfig : undefined;
}
