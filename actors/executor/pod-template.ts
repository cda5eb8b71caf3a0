import type { V1Container, V1EnvVar, V1Pod, V1PodSpec, V1Volume } from '@kubernetes/client-node';
import { CopilotFailure } from '../../copilot/failure.ts';
import { type CopilotOptions, copilotContainers, withCopilot } from '../../copilot/injection.ts';
import type { SharedMemory } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { renderText, type TemplateValues } from './args.ts';
import { envFrom, envOf, mergeEnv } from './env.ts';
import { identifierOf, podName } from './names.ts';
import type { PodInput, PodSettings } from './pod-input.ts';
import { podAnnotations, podLabels } from './pod-metadata.ts';
import { podPlacement } from './pod-placement.ts';
import { quantityOf } from './quantity.ts';
import { type RawPod, rawPod } from './raw-pod.ts';
import { completeResources } from './resources.ts';
import { type SecretReferences, secretReferences } from './secrets.ts';
import { BAD_TASK, TaskRefused } from './task-refusal.ts';

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
    ...podPlacement(rest, input, settings, raw),
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
  const loading = dataLoading(input, settings);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: settings.namespace,
      labels: podLabels(input, settings, raw),
      annotations: podAnnotations(input, raw),
    },
    spec: loading === undefined ? spec : bringData(spec, raw.primary, loading),
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
  const { gateway } = settings;
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
    ...storeEnv(settings),
  });
}

/** How the SDK and the co-pilot reach the object store (sdk.md §6.2). */
function storeEnv({ store }: PodSettings): Record<string, string> {
  return {
    ...(store.endpoint !== undefined && { FLYTE_AWS_ENDPOINT: store.endpoint }),
    ...(store.accessKeyId !== undefined && { FLYTE_AWS_ACCESS_KEY_ID: store.accessKeyId }),
    ...(store.secretAccessKey !== undefined && { FLYTE_AWS_SECRET_ACCESS_KEY: store.secretAccessKey }),
    ...(store.region !== undefined && { AWS_REGION: store.region }),
  };
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

/** The co-pilot of a task whose container knows no SDK; undefined for all others (copilot.md §1). */
function dataLoading(input: PodInput, settings: PodSettings): CopilotOptions | undefined {
  const data = dataConfigOf(input);
  const { interface: declared } = input.template;
  if (data?.enabled !== true || declared === undefined) return undefined;
  return {
    interface: declared,
    data,
    inputsUri: input.plan.inputUri,
    outputPrefix: input.paths.outputUri,
    rawOutputPrefix: input.paths.rawDataUri,
    image: settings.copilot.image,
    command: settings.copilot.command,
    env: envFrom(storeEnv(settings)),
  };
}

function bringData(spec: V1PodSpec, primary: string, options: CopilotOptions): V1PodSpec {
  try {
    return withCopilot(spec, primary, copilotContainers(options));
  } catch (error) {
    if (error instanceof CopilotFailure) throw new TaskRefused(BAD_TASK, error.message);
    throw error;
  }
}

function dataConfigOf({ template: { target } }: PodInput) {
  return target.case === 'container' || target.case === 'k8sPod' ? target.value.dataConfig : undefined;
}
