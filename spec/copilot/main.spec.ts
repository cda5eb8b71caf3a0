import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary, toBinary, toJson } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { pino } from 'pino';
import { ErrorDocumentSchema } from '../../proto/gen/flyteidl2/core/execution_pb.js';
import { TypedInterfaceSchema } from '../../proto/gen/flyteidl2/core/interface_pb.js';
import { InputsSchema, OutputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import { DirectoryStore } from '../../storage/directory.ts';
import { s3Endpoint } from '../../storage/endpoint/endpoint.ts';
import { inputsOf, interfaceOf, lit, type } from './literals.ts';
import { textAt } from './store.ts';

const MAIN = path.join(import.meta.dirname, '../../copilot/main.ts');
const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
const PREFIX = 's3://data/run/a0/1';

/** The program itself, as a process of its own against the embedded S3 endpoint. */
describe('co-pilot program', () => {
  let directory: string;
  let store: DirectoryStore;
  let server: Server;
  let env: Record<string, string>;
  const children: ChildProcess[] = [];

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'copilot-'));
    store = await DirectoryStore.open({
      root: path.join(directory, 'store'),
      credentials,
      publicUrl: 'http://127.0.0.1',
    });
    server = createServer(s3Endpoint({ store, credentials, pathPrefix: '', logger: pino({ enabled: false }) }));
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    env = {
      FLYTE_AWS_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      FLYTE_AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      FLYTE_AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_REGION: 'us-east-1',
    };
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
    await store.close();
    await rm(directory, { recursive: true, force: true });
  });
  beforeEach(() => store.deletePrefix('s3://data/run'));

  const start = (args: string[], more: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...env, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    let output = '';
    child.stdout.on('data', chunk => (output += chunk));
    child.stderr.on('data', chunk => (output += chunk));
    const ended = new Promise<{ code: number | null; output: string }>(resolve => {
      child.on('close', code => resolve({ code, output }));
    });
    return { child, ended };
  };

  const until = async (condition: () => boolean) => {
    while (!condition()) await sleep(5);
  };

  const fresh = async (name: string) => {
    const made = await mkdtemp(path.join(directory, name));
    return made;
  };

  const errorDocument = async () =>
    toJson(
      ErrorDocumentSchema,
      fromBinary(ErrorDocumentSchema, await store.read(`${PREFIX}/error.pb`, { maxBytes: 1e6 })),
    );

  const uploadArgs = (outputs: string, readyFile: string) => [
    'upload',
    ...[
      '--from-local-dir',
      outputs,
      '--to-raw-output',
      PREFIX,
      '--to-output-prefix',
      PREFIX,
      '--ready-file',
      readyFile,
    ],
    '--interface',
    Buffer.from(toBinary(TypedInterfaceSchema, interfaceOf({}, { length: type.integer, copy: type.file }))).toString(
      'base64',
    ),
  ];

  it('carries inputs in and outputs out around a shell command', async () => {
    const inputs = await fresh('inputs');
    const outputs = await fresh('outputs');
    const ready = path.join(outputs, '.ready');
    await store.put('s3://data/run/body', Buffer.from('file body'));
    const given = inputsOf({ word: lit.string('abc'), data: lit.blob('s3://data/run/body') });
    await store.put('s3://data/run/inputs.pb', toBinary(InputsSchema, given));

    const sidecar = start(uploadArgs(outputs, ready));
    const download = start([
      'download',
      ...['-f', 's3://data/run/inputs.pb', '--to-output-prefix', PREFIX, '-o', inputs, '--await-file', ready],
    ]);
    expect(await download.ended).to.include({ code: 0 });
    expect(existsSync(ready), 'the main container would start now').to.equal(true);

    const script = `cd ${inputs} && printf %s $(cat word | wc -c) > ${outputs}/length && cat data > ${outputs}/copy`;
    const main = spawn('sh', ['-c', script]);
    await new Promise(resolve => main.on('close', resolve));
    sidecar.child.kill('SIGTERM');
    expect(await sidecar.ended).to.include({ code: 0 });

    const { literals } = fromBinary(OutputsSchema, await store.read(`${PREFIX}/outputs.pb`, { maxBytes: 1e6 }));
    expect(literals.map(({ name }) => name)).to.deep.equal(['length', 'copy']);
    expect(
      JSON.stringify(
        toJson(OutputsSchema, fromBinary(OutputsSchema, await store.read(`${PREFIX}/outputs.pb`, { maxBytes: 1e6 }))),
      ),
    ).to.include('"integer":"3"');
    expect(await textAt(store, `${PREFIX}/copy`)).to.equal('file body');
    expect(await textAt(store, `${PREFIX}/error.pb`)).to.equal(null);
  });

  it('does not miss a SIGTERM that comes the moment the ready file is there', async () => {
    const outputs = await fresh('outputs');
    await writeFile(path.join(outputs, 'length'), '1');
    await writeFile(path.join(outputs, 'copy'), 'x');
    const ready = path.join(outputs, '.ready');
    const sidecar = start(uploadArgs(outputs, ready));
    await until(() => existsSync(ready));
    sidecar.child.kill('SIGTERM');
    expect(await sidecar.ended).to.include({ code: 0 });
    expect(await textAt(store, `${PREFIX}/outputs.pb`)).to.not.equal(null);
  });

  it('tells a failed download in error.pb, on its last line and by exit 1', async () => {
    const inputs = await fresh('inputs');
    const { code, output } = await start([
      'download',
      '-f',
      's3://data/run/none.pb',
      '--to-output-prefix',
      PREFIX,
      '-o',
      inputs,
    ]).ended;
    expect(code).to.equal(1);
    const message = 'the inputs of the task: no object at s3://data/run/none.pb';
    expect(await errorDocument()).to.deep.equal({
      error: { code: 'InputDownloadFailed', message, kind: 'RECOVERABLE', origin: 'USER' },
    });
    expect(output.trimEnd().split('\n').at(-1)).to.equal(`flyte-copilot: InputDownloadFailed: ${message}`);
  });

  it('tells a missing output in error.pb by exit 1, and writes no outputs.pb', async () => {
    const outputs = await fresh('outputs');
    await writeFile(path.join(outputs, 'copy'), 'x');
    const { code } = await start([...uploadArgs(outputs, path.join(outputs, '.ready')), '--wait-for', 'nothing']).ended;
    expect(code).to.equal(1);
    const { error } = (await errorDocument()) as { error: Record<string, string> };
    expect(error).to.include({ code: 'OutputUploadFailed', kind: 'RECOVERABLE', origin: 'USER' });
    expect(error.message).to.include('output "length": the command wrote neither');
    expect(await textAt(store, `${PREFIX}/outputs.pb`)).to.equal(null);
  });

  it('exits 3 with the reason when not even error.pb can be written', async () => {
    const inputs = await fresh('inputs');
    const wrongKey = { FLYTE_AWS_SECRET_ACCESS_KEY: 'wrong' };
    const { code, output } = await start(
      ['download', '-f', 's3://data/run/inputs.pb', '--to-output-prefix', PREFIX, '-o', inputs],
      wrongKey,
    ).ended;
    expect(code).to.equal(3);
    expect(output.trimEnd().split('\n').at(-1)).to.include(
      'flyte-copilot: InputDownloadFailed: the inputs of the task:',
    );
  });

  it('ends at once by SIGTERM when it has nothing to finish', async () => {
    const file = path.join(await fresh('gate'), 'later', 'ready');
    const gate = start(['await', '--file', file]);
    await until(() => gate.child.pid !== undefined);
    gate.child.kill('SIGTERM');
    const { code } = await gate.ended;
    expect([143, null], 'by its handler, or before it was there').to.include(code);
  });

  it('holds the gate until the ready file is there, and not for ever', async () => {
    const file = path.join(await fresh('gate'), 'ready');
    const gate = start(['await', '--file', file]);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, '');
    expect(await gate.ended).to.include({ code: 0 });
    const late = await start(['await', '--file', `${file}.never`, '-t', '50ms']).ended;
    expect(late.code).to.equal(3);
    expect(late.output).to.include('did not appear in time: the upload sidecar has not started');
  });

  it('answers --help by 0 and a wrong command line by 2', async () => {
    const help = await start(['--help']).ended;
    expect(help.code).to.equal(0);
    expect(help.output).to.include('flyte-copilot download');
    const wrong = await start(['download', '--nonsense']).ended;
    expect(wrong.code).to.equal(2);
    expect(wrong.output).to.include('--nonsense');
  });

  it('runs on erasable syntax alone and reads the inputs it wrote', async () => {
    const inputs = await fresh('inputs');
    await store.put('s3://data/run/inputs.pb', toBinary(InputsSchema, inputsOf({ n: lit.integer(7n) })));
    await start(['download', '-f', 's3://data/run/inputs.pb', '--to-output-prefix', PREFIX, '-o', inputs]).ended;
    expect(await readFile(path.join(inputs, 'n'), 'utf8')).to.equal('7');
  });
});
