import { create, toJson } from '@bufbuild/protobuf';
import type { V1PodSpec } from '@kubernetes/client-node';
import { expect } from 'chai';
import { parseCommandLine } from '../../copilot/command-line.ts';
import { type CopilotOptions, copilotContainers, withCopilot } from '../../copilot/injection.ts';
import { decodeInterface } from '../../copilot/upload.ts';
import { TypedInterfaceSchema } from '../../proto/gen/flyteidl2/core/interface_pb.js';
import {
  DataLoadingConfig_FileInputLayout,
  DataLoadingConfig_LiteralMapFormat,
  DataLoadingConfigSchema,
} from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { interfaceOf, type } from './literals.ts';

const options = (given: Partial<CopilotOptions> = {}): CopilotOptions => ({
  interface: interfaceOf({ word: type.string }, { length: type.integer }),
  data: create(DataLoadingConfigSchema, { enabled: true, inputPath: '/var/inputs', outputPath: '/var/outputs' }),
  inputsUri: 's3://b/run/inputs.pb',
  outputPrefix: 's3://b/run/a0/1',
  rawOutputPrefix: 's3://b/run/a0/1',
  image: 'copilot:1',
  command: ['node', 'copilot/main.ts'],
  env: [{ name: 'FLYTE_AWS_ENDPOINT', value: 'http://store' }],
  ...given,
});

const podSpec = (): V1PodSpec => ({
  containers: [{ name: 'main' }, { name: 'other' }],
  initContainers: [{ name: 'own-init' }],
  volumes: [{ name: 'own', emptyDir: {} }],
});

const onlyInputs = interfaceOf({ word: type.string }, {});
const onlyOutputs = interfaceOf({}, { length: type.integer });

describe('co-pilot injection', () => {
  it('puts the uploader first, as a restartable init container, and the downloader last', () => {
    const spec = withCopilot(podSpec(), 'main', copilotContainers(options()));
    expect(spec.initContainers!.map(({ name, restartPolicy }) => [name, restartPolicy])).to.deep.equal([
      ['flyte-copilot-uploader', 'Always'],
      ['own-init', undefined],
      ['flyte-copilot-downloader', undefined],
    ]);
    expect(spec.terminationGracePeriodSeconds).to.equal(3600);
  });

  it('mounts the data volumes read-write in the co-pilot and in the main container only', () => {
    const spec = withCopilot(podSpec(), 'main', copilotContainers(options()));
    const mounts = [
      { name: 'flyte-inputs', mountPath: '/var/inputs' },
      { name: 'flyte-outputs', mountPath: '/var/outputs' },
    ];
    expect(spec.containers[0]!.volumeMounts).to.deep.equal(mounts);
    expect(spec.containers[1]!.volumeMounts).to.equal(undefined);
    expect(spec.initContainers![0]!.volumeMounts).to.deep.equal(mounts);
    expect(spec.initContainers![2]!.volumeMounts).to.deep.equal(mounts);
    expect(spec.volumes!.map(({ name }) => name)).to.deep.equal(['own', 'flyte-inputs', 'flyte-outputs']);
  });

  it('holds the main container back until the uploader cannot miss its end', () => {
    const { uploader, last } = copilotContainers(options());
    const ready = '/var/outputs/.flyte-copilot-ready';
    expect(parseCommandLine(uploader!.args!)).to.include({ name: 'upload', readyFile: ready, waitFor: 'sigterm' });
    expect(parseCommandLine(last!.args!)).to.include({ name: 'download', awaitFile: ready });
    const gate = copilotContainers(options({ interface: onlyOutputs })).last!;
    expect(gate.name).to.equal('flyte-copilot-gate');
    expect(parseCommandLine(gate.args!)).to.include({ name: 'await', file: ready });
  });

  it('writes command lines that its own program reads', () => {
    const data = create(DataLoadingConfigSchema, {
      format: DataLoadingConfig_LiteralMapFormat.YAML,
      fileInputLayout: DataLoadingConfig_FileInputLayout.NAMED_DIR,
    });
    const { uploader, last } = copilotContainers(
      options({ data, uploadTimeoutSeconds: 90, downloadTimeoutSeconds: 30 }),
    );
    expect(parseCommandLine(last!.args!)).to.deep.include({
      errorUri: 's3://b/run/a0/1/error.pb',
      timeoutMs: 30_000,
      request: {
        inputsUri: 's3://b/run/inputs.pb',
        directory: '/var/flyte/inputs',
        format: 'YAML',
        layout: 'NAMED_DIR',
        mode: 'DOWNLOAD_EAGER',
      },
    });
    const command = parseCommandLine(uploader!.args!);
    expect(command).to.deep.include({
      errorUri: 's3://b/run/a0/1/error.pb',
      timeoutMs: 90_000,
      request: {
        directory: '/var/flyte/outputs',
        inputDirectory: '/var/flyte/inputs',
        rawPrefix: 's3://b/run/a0/1',
        outputsUri: 's3://b/run/a0/1/outputs.pb',
        mode: 'UPLOAD_ON_EXIT',
      },
    });
    const decoded = decodeInterface(command.name === 'upload' ? command.interface : '');
    expect(toJson(TypedInterfaceSchema, decoded)).to.deep.equal({
      outputs: { variables: [{ key: 'length', value: { type: { simple: 'INTEGER' } } }] },
    });
  });

  it('adds only what there is: inputs alone, outputs alone, neither', () => {
    const inputs = withCopilot(podSpec(), 'main', copilotContainers(options({ interface: onlyInputs })));
    expect(inputs.initContainers!.map(({ name }) => name)).to.deep.equal(['own-init', 'flyte-copilot-downloader']);
    expect(inputs.terminationGracePeriodSeconds).to.equal(undefined);
    expect(inputs.initContainers![1]!.args).to.not.include('--await-file');
    const outputs = copilotContainers(options({ interface: onlyOutputs }));
    expect(outputs.volumes.map(({ name }) => name)).to.deep.equal(['flyte-outputs']);
    expect(outputs.uploader!.args).to.not.include('--input-dir');
    const neither = copilotContainers(options({ interface: interfaceOf({}, {}) }));
    expect(withCopilot(podSpec(), 'main', neither)).to.deep.equal({
      ...podSpec(),
      containers: [{ name: 'main', volumeMounts: [] }, { name: 'other' }],
    });
  });

  it('bounds the containers and lets the last line of their log be the reason', () => {
    const { uploader } = copilotContainers(options({ memory: '1Gi', volumeSizeLimit: '5Gi' }));
    expect(uploader).to.deep.include({
      image: 'copilot:1',
      command: ['node', 'copilot/main.ts'],
      workingDir: '/',
      terminationMessagePolicy: 'FallbackToLogsOnError',
      resources: { requests: { cpu: '500m', memory: '1Gi' }, limits: { cpu: '500m', memory: '1Gi' } },
      env: [{ name: 'FLYTE_AWS_ENDPOINT', value: 'http://store' }],
    });
    expect(copilotContainers(options({ volumeSizeLimit: '5Gi' })).volumes[0]).to.deep.equal({
      name: 'flyte-inputs',
      emptyDir: { sizeLimit: '5Gi' },
    });
  });

  it('refuses paths that cannot be mounted and names that are taken', () => {
    const data = (inputPath: string, outputPath: string) => create(DataLoadingConfigSchema, { inputPath, outputPath });
    expect(() => copilotContainers(options({ data: data('rel', '/o') }))).to.throw(
      'data_config.input_path is "rel"; give an absolute',
    );
    expect(() => copilotContainers(options({ data: data('/i', '/') }))).to.throw('data_config.output_path is "/"');
    expect(() => copilotContainers(options({ data: data('/x/', '/x') }))).to.throw('/x for both inputs and outputs');
    const copilot = copilotContainers(options());
    const clash = (spec: Partial<V1PodSpec>) => () => withCopilot({ ...podSpec(), ...spec }, 'main', copilot);
    expect(clash({ volumes: [{ name: 'flyte-inputs' }] })).to.throw(
      'volume flyte-inputs is one that inputs and outputs need',
    );
    expect(clash({ initContainers: [{ name: 'flyte-copilot-uploader' }] })).to.throw(
      'container flyte-copilot-uploader',
    );
    expect(
      clash({ containers: [{ name: 'main', volumeMounts: [{ name: 'own', mountPath: '/var/inputs' }] }] }),
    ).to.throw('mount path /var/inputs');
    expect(() => withCopilot(podSpec(), 'nobody', copilot)).to.throw('no container "nobody"');
  });
});
