import { execFile } from 'node:child_process';
import { glob, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  create,
  createFileRegistry,
  type DescEnum,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescService,
  fromBinary,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, type FileDescriptorSet, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { expect } from 'chai';
import { contractServices } from '../../proto/contract.ts';
import { ActionIdentifierSchema, RunIdentifierSchema } from '../../proto/gen/flyteidl2/common/identifier_pb.js';
import { ActionPhase } from '../../proto/gen/flyteidl2/common/phase_pb.js';
import { type GPUAccelerator, GPUAcceleratorSchema } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { ActionStatusSchema } from '../../proto/gen/flyteidl2/workflow/run_definition_pb.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));

/** The generated descriptor of every contract file, by name without `.proto`. */
async function generatedFiles(): Promise<Map<string, DescFile>> {
  const files = new Map<string, DescFile>();
  for await (const path of glob('proto/gen/flyteidl2/**/*_pb.js', { cwd: root })) {
    const exported: Record<string, unknown> = await import(`${root}${path}`);
    const [, file] = Object.entries(exported).find(([name]) => name.startsWith('file_'))!;
    files.set((file as DescFile).name, file as DescFile);
  }
  return files;
}

function fieldType(field: DescField): string {
  const one = (shape: {
    scalar?: number | undefined;
    message?: DescMessage | undefined;
    enum?: DescEnum | undefined;
  }) => shape.message?.typeName ?? shape.enum?.typeName ?? `scalar ${shape.scalar}`;
  switch (field.fieldKind) {
    case 'map':
      return `map of scalar ${field.mapKey} to ${one(field)}`;
    case 'list':
      return `repeated ${one(field)}`;
    default:
      return `${field.proto.proto3Optional ? 'optional ' : ''}${one(field)}`;
  }
}

const messageLines = (message: DescMessage): string[] => [
  message.typeName,
  ...message.fields.map(
    field =>
      `${message.typeName} ${field.number} ${field.name} ${field.jsonName} ${fieldType(field)} ${field.oneof?.name ?? '-'}`,
  ),
  ...message.nestedMessages.flatMap(messageLines),
  ...message.nestedEnums.flatMap(enumLines),
];

const enumLines = (desc: DescEnum): string[] =>
  desc.values.map(value => `${desc.typeName} ${value.number} ${value.name}`);

const serviceLines = (service: DescService): string[] =>
  service.methods.map(
    method =>
      `${service.typeName} ${method.name} ${method.methodKind} ${method.input.typeName} ${method.output.typeName} ${method.idempotency}`,
  );

/** Everything of a file that the wire can show, one fact a line. */
const facts = (file: DescFile): string[] => [
  ...file.messages.flatMap(messageLines),
  ...file.enums.flatMap(enumLines),
  ...file.services.flatMap(serviceLines),
];

/** google.rpc.Status and its like come from our own descriptors: the released set holds only the contract. */
function registryOf(released: FileDescriptorSet, generated: Map<string, DescFile>) {
  const foreign = new Map<string, DescFile>();
  const collect = (file: DescFile): void => {
    for (const dependency of file.dependencies) {
      if (dependency.name.startsWith('flyteidl2/')) continue;
      foreign.set(dependency.name, dependency);
      collect(dependency);
    }
  };
  for (const file of generated.values()) collect(file);
  const set = create(FileDescriptorSetSchema, {
    file: [...[...foreign.values()].map(file => file.proto), ...released.file],
  });
  const byName = new Map(set.file.map(file => [file.name, file]));
  const ordered: typeof set.file = [];
  const visit = (name: string): void => {
    const file = byName.get(name);
    if (!file || ordered.includes(file)) return;
    file.dependency.forEach(visit);
    ordered.push(file);
  };
  for (const name of byName.keys()) visit(name);
  return createFileRegistry(create(FileDescriptorSetSchema, { file: ordered }));
}

function expectContained(released: FileDescriptorSet, generated: Map<string, DescFile>): void {
  const registry = registryOf(released, generated);
  const missing: string[] = [];
  for (const { name } of released.file) {
    const theirs = registry.getFile(name)!;
    const ours = generated.get(theirs.name);
    const known = new Set(ours ? facts(ours) : []);
    missing.push(...facts(theirs).filter(line => !known.has(line)));
  }
  expect(missing, 'facts of the released descriptors that ours lack').to.deep.equal([]);
}

describe('the contract', () => {
  let generated: Map<string, DescFile>;
  before(async () => {
    generated = await generatedFiles();
  });

  it('contains every message, field, enum value and method of the released descriptors', async () => {
    const bytes = await readFile(new URL('released-descriptors.binpb', import.meta.url));
    const released = fromBinary(FileDescriptorSetSchema, bytes);
    expect(released.file).to.have.length(85);
    expectContained(released, generated);
  });

  it('contains what the Python package of STARLING_PYTHON holds, when there is one', async () => {
    const python = process.env.STARLING_PYTHON;
    if (!python) return;
    const program = [
      'import importlib, pkgutil, sys, flyteidl2',
      'from google.protobuf import descriptor_pb2 as d',
      'out = d.FileDescriptorSet()',
      'for m in pkgutil.walk_packages(flyteidl2.__path__, "flyteidl2."):',
      '    if m.name.endswith("_pb2"):',
      '        importlib.import_module(m.name).DESCRIPTOR.CopyToProto(out.file.add())',
      'for f in out.file:',
      '    keep = [x for x in f.dependency if x.startswith(("flyteidl2/", "google/rpc/", "google/protobuf/"))]',
      '    f.ClearField("dependency"); f.dependency.extend(keep); f.ClearField("extension")',
      'sys.stdout.buffer.write(out.SerializeToString())',
    ].join('\n');
    const { stdout } = await run(python, ['-c', program], { encoding: 'buffer', maxBuffer: 64 << 20 });
    const released = fromBinary(FileDescriptorSetSchema, stdout);
    expect(released.file.length).to.be.greaterThan(80);
    expectContained(released, generated);
  });

  it('is generated from the .proto files as they are', async () => {
    const { stdout } = await run(
      `${root}node_modules/.bin/buf`,
      ['build', 'proto', '--as-file-descriptor-set', '-o', '-#format=binpb'],
      { cwd: root, encoding: 'buffer', maxBuffer: 64 << 20 },
    );
    const built = createFileRegistry(fromBinary(FileDescriptorSetSchema, stdout));
    const stale: string[] = [];
    const bare = (file: DescFile): Uint8Array => {
      const proto = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, file.proto));
      delete proto.sourceCodeInfo;
      const clear = (message: (typeof proto.messageType)[number]): void => {
        for (const field of [...message.field, ...message.extension]) field.jsonName = '';
        message.nestedType.forEach(clear);
      };
      proto.messageType.forEach(clear);
      for (const field of proto.extension) field.jsonName = '';
      return toBinary(FileDescriptorProtoSchema, proto);
    };
    const contract = [...built.files].filter(file => file.name.startsWith('flyteidl2/'));
    for (const file of contract) {
      const ours = generated.get(file.name);
      if (!ours || Buffer.compare(bare(file), bare(ours)) !== 0) stale.push(file.name);
    }
    expect(stale, 'run `npm run proto` and commit the result').to.deep.equal([]);
    expect(contract.map(file => file.name).sort()).to.deep.equal([...generated.keys()].sort());
  });

  it('lists every service that a file declares', () => {
    const declared = [...generated.values()].flatMap(file => file.services.map(service => service.typeName));
    expect(contractServices.map(service => service.typeName).sort()).to.deep.equal(declared.sort());
  });
});

describe('a message of a later release', () => {
  it('keeps fields we do not know through a binary round trip', () => {
    const unknown = Uint8Array.of(0xba, 0x3e, 5, ...Buffer.from('later'));
    const known = toBinary(RunIdentifierSchema, create(RunIdentifierSchema, { name: 'r1' }));
    const inner = Buffer.concat([known, unknown]);
    const outer = Buffer.concat([Uint8Array.of(0x0a, inner.length), inner, Uint8Array.of(0x12, 2, 0x61, 0x30)]);
    const message = fromBinary(ActionIdentifierSchema, outer);
    expect(message.run?.name).to.equal('r1');
    expect(message.name).to.equal('a0');
    expect(Buffer.from(toBinary(ActionIdentifierSchema, message)).equals(outer)).to.equal(true);
  });

  it('keeps enum numbers we have no name for, such as the device class of an Apple Silicon GPU', () => {
    const bytes = toBinary(
      GPUAcceleratorSchema,
      create(GPUAcceleratorSchema, { device: 'AppleSilicon', deviceClass: 5 as GPUAccelerator['deviceClass'] }),
    );
    const message = fromBinary(GPUAcceleratorSchema, bytes);
    expect(message.deviceClass).to.equal(5);
    expect(Buffer.from(toBinary(GPUAcceleratorSchema, message)).equals(Buffer.from(bytes))).to.equal(true);
  });

  it('keeps known and unknown phases side by side', () => {
    const status = create(ActionStatusSchema, { phase: 77 as ActionPhase, attempts: 2 });
    const again = fromBinary(ActionStatusSchema, toBinary(ActionStatusSchema, status));
    expect(again.phase).to.equal(77);
    expect(ActionPhase[again.phase]).to.equal(undefined);
  });
});
