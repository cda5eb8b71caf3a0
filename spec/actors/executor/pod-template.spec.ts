import { create } from '@bufbuild/protobuf';
import type { V1Pod } from '@kubernetes/client-node';
import { expect } from 'chai';
import { buildPod } from '../../../actors/executor/pod-template.ts';
import { TaskRefused } from '../../../actors/executor/task-refusal.ts';
import { GPUAccelerator_DeviceClass, Resources_ResourceName } from '../../../proto/gen/flyteidl2/core/tasks_pb.js';
import { RunSpecSchema } from '../../../proto/gen/flyteidl2/task/run_pb.js';
import { a0Args, aTask, identity, podInput, settings } from './support/tasks.ts';

const envOfPod = (pod: V1Pod, index = 0) =>
  Object.fromEntries(pod.spec!.containers[index]!.env!.map(({ name, value }) => [name, value]));

const sidecarTask = (changes = {}) =>
  aTask({
    type: 'sidecar',
    taskTypeVersion: 2,
    config: { primary_container_name: 'work' },
    target: {
      case: 'k8sPod',
      value: {
        metadata: { labels: { tier: 'gold' }, annotations: { note: 'from the task' } },
        podSpec: {
          initContainers: [{ name: 'prepare', image: 'busybox:1', args: ['{{.runName}}'] }],
          containers: [
            { name: 'helper', image: 'redis:7' },
            { name: 'work', image: 'auto', args: [...a0Args], env: [{ name: 'OWN', value: '1' }] },
          ],
          volumes: [{ name: 'scratch', emptyDir: {} }],
          serviceAccountName: 'of-pod',
        },
        ...changes,
      },
    },
  });

describe('the pod of a container task', () => {
  it('starts the SDK with every placeholder filled', () => {
    const args = buildPod(podInput(), settings).spec!.containers[0]!.args!;
    const option = (name: string) => args[args.indexOf(name) + 1];
    expect(args[0]).to.equal('a0');
    expect(args.join(' ')).to.not.include('{{');
    expect(option('--inputs')).to.equal('s3://data/runs/flytesnacks/development/rabc123/inputs/inputs.pb');
    expect(option('--outputs-path')).to.equal('s3://data/oc/runs/flytesnacks/development/rabc123/a0/1');
    expect(option('--prev-checkpoint')).to.equal('""');
    expect(option('--run-name')).to.equal('rabc123');
    expect(option('--name')).to.equal('a0');
    expect(option('--run-start-time')).to.equal('2026-11-24T13:00:00Z');
  });

  it('names the previous checkpoint when there is one', () => {
    const { args } = buildPod(podInput({ previousCheckpointUri: 's3://data/old' }), settings).spec!.containers[0]!;
    expect(args![args!.indexOf('--prev-checkpoint') + 1]).to.equal('s3://data/old');
  });

  it('tells the SDK who and where it is', () => {
    const env = envOfPod(buildPod(podInput({ identity: { ...identity, attempt: 3 } }), settings));
    expect(env).to.include({
      ACTION_NAME: 'a0',
      RUN_NAME: 'rabc123',
      _U_RUN_BASE: 's3://data/runs/flytesnacks/development/rabc123/',
      _U_ORG_NAME: 'starling',
      FLYTE_INTERNAL_EXECUTION_PROJECT: 'flytesnacks',
      FLYTE_INTERNAL_EXECUTION_DOMAIN: 'development',
      FLYTE_INTERNAL_EXECUTION_ID: 'rabc123',
      FLYTE_INTERNAL_TASK_NAME: 'env.main',
      FLYTE_ATTEMPT_NUMBER: '2',
      FLYTE_DISABLE_SENTRY: '1',
      _U_USE_ACTIONS: '1',
      _U_EP_OVERRIDE: 'localhost:8090',
      _U_INSECURE: 'true',
      FLYTE_AWS_ENDPOINT: 'http://localhost:9000',
      FLYTE_AWS_ACCESS_KEY_ID: 'key',
      FLYTE_AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_REGION: 'us-east-1',
      LOG_LEVEL: '30',
    });
  });

  it('says nothing of insecure transport when the gateway has TLS', () => {
    const env = envOfPod(
      buildPod(podInput(), { ...settings, gateway: { endpoint: 'flyte.example', insecure: false } }),
    );
    expect(env).to.not.have.property('_U_INSECURE');
  });

  it('has every variable once: the run beats the task, and nobody beats the identity', () => {
    const runSpec = create(RunSpecSchema, {
      envs: {
        values: [
          { key: 'LOG_LEVEL', value: '10' },
          { key: '_F_SYS_PATH', value: './run' },
          { key: 'RUN_NAME', value: 'forged' },
          { key: 'FLYTE_DISABLE_SENTRY', value: '0' },
        ],
      },
    });
    const template = aTask({
      target: { case: 'container', value: { args: ['a0'], env: [{ key: '_F_SYS_PATH', value: './task' }] } },
    });
    const { env } = buildPod(podInput({ runSpec, template }), settings).spec!.containers[0]!;
    const names = env!.map(({ name }) => name);
    expect(new Set(names).size).to.equal(names.length);
    expect(Object.fromEntries(env!.map(({ name, value }) => [name, value]))).to.include({
      _F_SYS_PATH: './run',
      RUN_NAME: 'rabc123',
      FLYTE_DISABLE_SENTRY: '0',
    });
  });

  it('never restarts, is found by labels, and carries its executor, incarnation and depth', () => {
    const { metadata, spec } = buildPod(podInput({ identity: { ...identity, incarnation: 2 } }), settings);
    expect(spec!.restartPolicy).to.equal('Never');
    expect(spec!.enableServiceLinks).to.equal(false);
    expect(metadata!.labels).to.include({
      'flyte.org/managed': 'true',
      'flyte.org/project': 'flytesnacks',
      'flyte.org/run': 'rabc123',
      'flyte.org/action': 'a0',
      attempt: '1',
      'task-name': 'env.main',
    });
    expect(metadata!.annotations).to.include({
      'starling.dev/executor': '7.a0.1',
      'starling.dev/incarnation': '2',
      'starling.dev/depth': '2',
      'kubectl.kubernetes.io/default-container': 'main',
      primary_container_name: 'main',
    });
  });

  it("takes the run's labels and annotations, but never instead of its own and never invalid ones", () => {
    const runSpec = create(RunSpecSchema, {
      labels: { values: { team: 'quality', empty: '', attempt: '9', 'bad key': 'x', odd: 'a b' } },
      annotations: { values: { note: 'a longer – remark', 'starling.dev/executor': '1.x.1' } },
    });
    const { metadata } = buildPod(podInput({ runSpec }), settings);
    expect(metadata!.labels).to.include({ team: 'quality', empty: '', attempt: '1', odd: 'a-b' });
    expect(metadata!.labels).to.not.have.property('bad key');
    expect(metadata!.annotations).to.include({ note: 'a longer – remark', 'starling.dev/executor': '7.a0.1' });
  });

  it('is the same, byte for byte, whenever it is built', () => {
    expect(JSON.stringify(buildPod(podInput(), settings))).to.equal(JSON.stringify(buildPod(podInput(), settings)));
  });

  it('runs under the service account of the run, else of the task, else of the installation', () => {
    const runAs = (name: string) => ({ runAs: { k8sServiceAccount: name } });
    const account = (run: string, task: string, fallback?: string) =>
      buildPod(
        podInput({
          runSpec: create(RunSpecSchema, { securityContext: runAs(run) }),
          template: aTask({ securityContext: runAs(task) }),
        }),
        fallback === undefined ? settings : { ...settings, serviceAccount: fallback },
      ).spec!.serviceAccountName;
    expect(account('of-run', 'of-task', 'of-all')).to.equal('of-run');
    expect(account('', 'of-task', 'of-all')).to.equal('of-task');
    expect(account('', '', 'of-all')).to.equal('of-all');
    expect(account('', '')).to.equal(undefined);
  });

  it('is interruptible when the run says so, else when the task says so', () => {
    const where = {
      ...settings,
      interruptible: { tolerations: [{ key: 'spot', operator: 'Exists' }], nodeSelector: { pool: 'spot' } },
    };
    const pool = (run: boolean | undefined, task: boolean) =>
      buildPod(
        podInput({
          runSpec: create(RunSpecSchema, run === undefined ? {} : { interruptible: run }),
          template: aTask({ metadata: { interruptibleValue: { case: 'interruptible', value: task } } }),
        }),
        where,
      ).spec!.nodeSelector?.pool;
    expect([pool(true, false), pool(false, true), pool(undefined, true), pool(undefined, false)]).to.deep.equal([
      'spot',
      undefined,
      'spot',
      undefined,
    ]);
  });

  it('refers to secrets and never contains one', () => {
    const template = aTask({
      securityContext: {
        secrets: [
          { key: 'api-token', envVar: 'API_TOKEN', mountRequirement: 1 },
          { key: 'cert', group: 'tls', mountRequirement: 2 },
        ],
      },
    });
    const { containers, volumes } = buildPod(podInput({ template }), settings).spec!;
    const token = containers[0]!.env!.find(({ name }) => name === 'API_TOKEN')!;
    expect(token.value).to.equal(undefined);
    expect(token.valueFrom!.secretKeyRef!.key).to.match(
      /org__starling__domain__development__project__flytesnacks__key__api-token/,
    );
    expect(containers[0]!.volumeMounts![0]).to.include({ mountPath: '/etc/flyte/secrets/tls/cert', readOnly: true });
    expect(volumes![0]!.secret!.items![0]!.path).to.equal('cert');
  });

  it('asks for nodes with the accelerator of the task', () => {
    const template = aTask({
      extendedResources: {
        gpuAccelerator: { device: 'nvidia-l4', deviceClass: GPUAccelerator_DeviceClass.NVIDIA_GPU },
      },
      target: {
        case: 'container',
        value: { args: ['a0'], resources: { limits: [{ name: Resources_ResourceName.GPU, value: '1' }] } },
      },
    });
    const { affinity, containers, tolerations } = buildPod(podInput({ template }), settings).spec!;
    expect(containers[0]!.resources!.limits).to.deep.equal({ 'nvidia.com/gpu': '1' });
    const terms = affinity!.nodeAffinity!.requiredDuringSchedulingIgnoredDuringExecution!.nodeSelectorTerms;
    expect(terms[0]!.matchExpressions![0]!.values).to.deep.equal(['nvidia-l4']);
    expect(tolerations![0]).to.include({ value: 'nvidia-l4', effect: 'NoSchedule' });
  });

  it('mounts shared memory and refuses one that cannot be mounted', () => {
    const shared = (sharedMemory: object) =>
      buildPod(podInput({ template: aTask({ extendedResources: { sharedMemory } }) }), settings).spec!;
    const spec = shared({ mountName: 'shm', mountPath: '/dev/shm', sizeLimit: '2Gi' });
    expect(spec.volumes![0]!.emptyDir).to.deep.equal({ medium: 'Memory', sizeLimit: '2Gi' });
    expect(spec.containers[0]!.volumeMounts![0]).to.deep.equal({ name: 'shm', mountPath: '/dev/shm' });
    expect(() => shared({ mountName: 'shm' })).to.throw(TaskRefused, /mount path/);
    expect(() => shared({ mountName: 'shm', mountPath: '/x', sizeLimit: 'big' })).to.throw(TaskRefused, /'big'/);
  });
});

describe('the pod of a pod task', () => {
  it('keeps what the user wrote and equips every container', () => {
    const pod = buildPod(podInput({ template: sidecarTask() }), settings);
    const { containers, initContainers, volumes, serviceAccountName } = pod.spec!;
    expect(containers.map(({ name }) => name)).to.deep.equal(['helper', 'work']);
    expect(initContainers![0]!.args).to.deep.equal(['rabc123']);
    expect(volumes).to.deep.equal([{ name: 'scratch', emptyDir: {} }]);
    expect(serviceAccountName).to.equal('of-pod');
    expect(envOfPod(pod, 0)).to.include({ RUN_NAME: 'rabc123' });
    expect(envOfPod(pod, 1)).to.include({ RUN_NAME: 'rabc123', OWN: '1' });
    expect(pod.metadata!.labels).to.include({ tier: 'gold' });
    expect(pod.metadata!.annotations).to.include({ note: 'from the task', primary_container_name: 'work' });
  });

  it('gives default resources to the primary container only', () => {
    const defaults = { ...settings, defaultResources: { cpu: '1', memory: '1Gi' } };
    const { containers } = buildPod(podInput({ template: sidecarTask() }), defaults).spec!;
    expect(containers[0]).to.not.have.property('resources');
    expect(containers[1]!.resources!.limits).to.deep.equal({ cpu: '1', memory: '1Gi' });
  });

  it('does not change the template it was built from', () => {
    const template = sidecarTask();
    const before = JSON.stringify(template.target);
    buildPod(podInput({ template }), settings);
    expect(JSON.stringify(template.target)).to.equal(before);
  });

  it('reads the older forms of sidecar tasks', () => {
    const podSpec = { containers: [{ name: 'work', args: ['x'] }] };
    const v0 = aTask({
      type: 'sidecar',
      target: { case: undefined },
      custom: { podSpec, primaryContainerName: 'work', labels: { a: 'b' } },
    });
    const v1 = aTask({
      type: 'sidecar',
      taskTypeVersion: 1,
      target: { case: undefined },
      custom: podSpec,
      config: { primary_container_name: 'work' },
    });
    expect(buildPod(podInput({ template: v0 }), settings).metadata!.labels).to.include({ a: 'b' });
    expect(buildPod(podInput({ template: v1 }), settings).spec!.containers[0]!.args).to.deep.equal(['x']);
  });

  it('is refused when it has no containers, no primary container, or one that is not there', () => {
    const build = (template: ReturnType<typeof aTask>) => () => buildPod(podInput({ template }), settings);
    expect(build(sidecarTask({ podSpec: {} }))).to.throw(TaskRefused, /no list of named containers/);
    const nameless = sidecarTask();
    nameless.config = {};
    expect(build(nameless)).to.throw(TaskRefused, /primary_container_name.*helper, work/);
    nameless.config = { primary_container_name: 'other' };
    expect(build(nameless)).to.throw(TaskRefused, /'other' is not in its pod/);
    expect(build(aTask({ target: { case: undefined } }))).to.throw(TaskRefused, /no target/);
  });
});

describe('the pod of a raw container', () => {
  const variable = { type: { type: { case: 'simple' as const, value: 1 } } };
  const rawTask = (dataConfig: object = {}) =>
    aTask({
      type: 'raw-container',
      interface: {
        inputs: { variables: [{ key: 'word', value: variable }] },
        outputs: { variables: [{ key: 'length', value: variable }] },
      },
      target: {
        case: 'container',
        value: {
          image: 'busybox:1',
          args: ['/bin/sh', '-c', 'true'],
          env: [{ key: 'WHERE', value: '{{.outputPrefix}}' }],
          dataConfig: { enabled: true, inputPath: '/var/inputs', outputPath: '/var/outputs', ...dataConfig },
        },
      },
    });

  it('has the co-pilot around it, with access to the store and the paths of the attempt', () => {
    const { containers, initContainers } = buildPod(podInput({ template: rawTask() }), settings).spec!;
    const [uploader, downloader] = initContainers!;
    expect(uploader).to.include({ name: 'flyte-copilot-uploader', restartPolicy: 'Always', image: 'starling' });
    expect(downloader!.name).to.equal('flyte-copilot-downloader');
    expect(downloader!.args!.join(' ')).to.include('/rabc123/inputs/inputs.pb');
    expect(uploader!.env!.map(({ name }) => name)).to.include.members(['FLYTE_AWS_ENDPOINT', 'AWS_REGION']);
    expect(containers[0]!.volumeMounts!.map(({ mountPath }) => mountPath)).to.deep.equal([
      '/var/inputs',
      '/var/outputs',
    ]);
  });

  it('renders placeholders in its variables too, and is not declared done by its main container alone', () => {
    const pod = buildPod(podInput({ template: rawTask() }), settings);
    expect(envOfPod(pod).WHERE).to.match(/^s3:\/\/.*\/a0\/1$/);
    expect(pod.metadata!.annotations).to.not.have.property('primary_container_name');
  });

  it('has no co-pilot when its data configuration is off, and is refused when that makes no sense', () => {
    const off = buildPod(podInput({ template: rawTask({ enabled: false }) }), settings);
    expect(off.spec!.initContainers).to.equal(undefined);
    const build = () => buildPod(podInput({ template: rawTask({ inputPath: 'relative' }) }), settings);
    expect(build).to.throw(TaskRefused, /input_path/);
  });
});
