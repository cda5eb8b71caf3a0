import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { Remote } from '../../copilot/remote.ts';
import { type UploadRequest, upload } from '../../copilot/upload.ts';
import { type Literal, LiteralSchema } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import { BlobType_BlobDimensionality, type LiteralType } from '../../proto/gen/flyteidl2/core/types_pb.js';
import { OutputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';
import type { ObjectStore } from '../../storage/object-store.ts';
import { interfaceOf, lit, type } from './literals.ts';
import { failureOf, flaky, openWorkspace, silent, textAt, type Workspace } from './store.ts';

describe('upload', () => {
  const OUTPUTS = 's3://data/run/1/outputs.pb';
  const RAW = 's3://data/run/1';
  let work: Workspace;
  let directory: string;

  beforeEach(async () => {
    work = await openWorkspace();
    directory = path.join(work.directory, 'outputs');
    await mkdir(directory);
  });
  afterEach(() => work.close());

  const write = async (name: string, content: string | Uint8Array) => {
    await mkdir(path.dirname(path.join(directory, name)), { recursive: true });
    await writeFile(path.join(directory, name), content);
  };

  const run = async (
    outputs: Record<string, LiteralType>,
    options: Partial<UploadRequest> = {},
    store: ObjectStore = work.store,
  ): Promise<Record<string, Literal>> => {
    const remote = new Remote(store, { signal: new AbortController().signal, retryDelayMs: 1 });
    const request = {
      directory,
      inputDirectory: null,
      rawPrefix: RAW,
      outputsUri: OUTPUTS,
      interface: interfaceOf({}, outputs),
      mode: 'UPLOAD_ON_EXIT',
      ...options,
    } as const;
    await upload(request, { remote, log: silent });
    const { literals } = fromBinary(OutputsSchema, await work.store.read(OUTPUTS, { maxBytes: 1e8 }));
    return Object.fromEntries(literals.map(({ name, value }) => [name, value!]));
  };

  const same = (actual: Literal | undefined, expected: Literal) =>
    expect(toJson(LiteralSchema, actual!)).to.deep.equal(toJson(LiteralSchema, expected));

  /** The failure, and that nothing looks like success. */
  const refused = async (outputs: Record<string, LiteralType>, options: Partial<UploadRequest> = {}) => {
    const failure = await failureOf(run(outputs, options));
    expect(await textAt(work.store, OUTPUTS), 'outputs.pb').to.equal(null);
    return failure;
  };

  it('reads simple values from text, without the blanks that shells leave', async () => {
    await write('i', ' 9\n');
    await write('f', '1e3');
    await write('s', '\tABC \r\n');
    await write('b', 'True\n');
    await write('t', '1970-01-01T00:00:01Z');
    await write('d', '1m30s');
    await write('g', '{"a": 1}');
    await write('x', Uint8Array.of(32, 0, 255, 10));
    await write('n', 'whatever');
    await write('e', 'red\n');
    const outputs = await run({
      i: type.integer,
      f: type.float,
      s: type.string,
      b: type.boolean,
      t: type.datetime,
      d: type.duration,
      g: type.struct,
      x: type.binary,
      n: type.none,
      e: type.words('red', 'blue'),
    });
    same(outputs.i, lit.integer(9n));
    same(outputs.f, lit.float(1000));
    same(outputs.s, lit.string('ABC'));
    same(outputs.b, lit.boolean(true));
    same(outputs.t, lit.datetime(1n));
    same(outputs.d, lit.duration(90n));
    same(outputs.g, lit.struct({ a: 1 }));
    same(outputs.x, lit.binary(Uint8Array.of(32, 0, 255, 10)));
    same(outputs.n, lit.none());
    same(outputs.e, lit.string('red'));
    expect(Object.keys(outputs).join('')).to.equal('ifsbtdgxne');
  });

  it('stores files and directories below the raw prefix, names within directories kept apart', async () => {
    await write('file', 'body');
    await write('dir/same', '1');
    await write('dir/deep/same', '2');
    const outputs = await run({ file: type.file, dir: type.dir });
    same(outputs.file, lit.blob(`${RAW}/file`));
    same(outputs.dir, lit.dir(`${RAW}/dir`));
    expect(await textAt(work.store, `${RAW}/file`)).to.equal('body');
    expect(await textAt(work.store, `${RAW}/dir/same`)).to.equal('1');
    expect(await textAt(work.store, `${RAW}/dir/deep/same`)).to.equal('2');
  });

  it('takes a single file with an extension for the variable, and refuses to choose between two', async () => {
    await write('n.txt', '5');
    await write('dir.d/x', 'X');
    same((await run({ n: type.integer, dir: type.dir })).n, lit.integer(5n));
    expect(await textAt(work.store, `${RAW}/dir/x`)).to.equal('X');
    await write('n.json', '6');
    await work.store.delete(OUTPUTS);
    expect((await refused({ n: type.integer })).message)
      .to.include('output "n": n.json, n.txt in ')
      .and.include('all match it');
    await write('n', '7');
    same((await run({ n: type.integer })).n, lit.integer(7n));
  });

  it('reads lists and maps from directories or from JSON', async () => {
    for (let index = 0; index < 11; index += 1) await write(`numbers/${index}`, String(index));
    await write('map/a', 'A');
    await write('map/b', 'B');
    await write('files/x.txt', 'X');
    await write('files/y.txt', 'Y');
    await write('json', '[[1], [2, 3]]');
    const outputs = await run({
      numbers: type.list(type.integer),
      map: type.map(type.string),
      files: type.list(type.file),
      json: type.list(type.list(type.integer)),
    });
    same(outputs.numbers, lit.list(...Array.from({ length: 11 }, (_, index) => lit.integer(BigInt(index)))));
    same(outputs.map, lit.map({ a: lit.string('A'), b: lit.string('B') }));
    same(outputs.files, lit.list(lit.blob(`${RAW}/files/0`), lit.blob(`${RAW}/files/1`)));
    expect(await textAt(work.store, `${RAW}/files/1`)).to.equal('Y');
    same(outputs.json, lit.list(lit.list(lit.integer(1n)), lit.list(lit.integer(2n), lit.integer(3n))));
  });

  it('refuses a list with a gap in its numbers', async () => {
    await write('numbers/0', '0');
    await write('numbers/2', '2');
    expect((await refused({ numbers: type.list(type.integer) })).message).to.include(
      'has no element 1; number the elements from 0',
    );
  });

  it('takes what has no file of its own from outputs.json, files by their path or URI', async () => {
    await write('n', '1');
    await write('made/here.txt', 'here');
    await write('outputs.json', JSON.stringify({ n: 2, l: ['a'], f: 'made/here.txt', u: 's3://other/place', m: null }));
    const outputs = await run({
      n: type.integer,
      l: type.list(type.string),
      f: type.file,
      u: type.file,
      m: type.union(type.integer, type.none),
      outputs: type.union(type.string, type.none),
    });
    same(outputs.n, lit.integer(1n));
    same(outputs.l, lit.list(lit.string('a')));
    same(outputs.u, lit.blob('s3://other/place'));
    expect(await textAt(work.store, `${RAW}/f`)).to.equal('here');
    expect(JSON.stringify(toJson(LiteralSchema, outputs.m!))).to.include('noneType');
    expect(JSON.stringify(toJson(LiteralSchema, outputs.outputs!)), 'outputs.json is nobody’s file').to.include(
      'noneType',
    );
  });

  it('reads optional values: absent and null are none, anything else is the value', async () => {
    const optional = type.union(type.integer, type.none);
    await write('null', 'null\n');
    await write('some', '4');
    await write('text', 'four');
    const outputs = await run({
      absent: optional,
      null: optional,
      some: optional,
      text: type.union(type.string, type.integer),
    });
    const json = (name: string) => JSON.stringify(toJson(LiteralSchema, outputs[name]!));
    expect(json('absent')).to.equal(json('null')).and.include('noneType');
    expect(json('some')).to.include('"integer":"4"');
    expect(json('text')).to.include('"stringValue":"four"');
  });

  it('stores datasets where their readers look, single files one level down', async () => {
    await write('single.csv', 'a,b');
    await write('many/00000', 'rows');
    const outputs = await run({ single: type.dataset, many: type.dataset });
    expect(await textAt(work.store, `${RAW}/single/data.csv`)).to.equal('a,b');
    expect(await textAt(work.store, `${RAW}/many/00000`)).to.equal('rows');
    expect(JSON.stringify(toJson(LiteralSchema, outputs.single!)))
      .to.include('"format":"csv"')
      .and.include(`"uri":"${RAW}/single"`);
    expect(JSON.stringify(toJson(LiteralSchema, outputs.many!))).to.include('"format":"parquet"');
  });

  it('carries the declared format of a file', async () => {
    await write('report', 'x');
    const declared = {
      ...type.file,
      type: { case: 'blob', value: { ...(type.file.type.value as object), format: 'pdf' } },
    } as LiteralType;
    same(
      (await run({ report: declared })).report,
      lit.blob(`${RAW}/report`, BlobType_BlobDimensionality.SINGLE, 'pdf'),
    );
  });

  it('stores references only when nothing shall be uploaded', async () => {
    await write('file', 's3://mine/already\n');
    same((await run({ file: type.file }, { mode: 'DO_NOT_UPLOAD' })).file, lit.blob('s3://mine/already'));
    expect(await textAt(work.store, `${RAW}/file`)).to.equal(null);
  });

  it('names the file that is missing, and how to write it', async () => {
    const failure = await refused({ length: type.integer });
    expect(failure.message).to.equal(
      `output "length": the command wrote neither ${directory}/length (or length.<extension>) nor "length" in outputs.json; ` +
        `write the value (integer) to ${directory}/length before the command ends, or remove the output from the task`,
    );
    expect(failure).to.include({ origin: 'user', recoverable: true });
  });

  it('names the file whose content does not fit', async () => {
    await write('length', 'nine');
    expect((await refused({ length: type.integer })).message).to.equal(
      `output "length": ${directory}/length: "nine" is not a 64-bit integer; write decimal digits only, like 42`,
    );
    await write('list/0', '1');
    await write('list/1', 'x');
    expect((await refused({ list: type.list(type.float) })).message).to.include(
      `${directory}/list/1: "x" is not a number`,
    );
    await write('raw', Uint8Array.of(255, 254));
    expect((await refused({ raw: type.string })).message).to.include('not UTF-8 text; declare the output as File');
  });

  it('refuses a directory for a file and a file for a directory', async () => {
    await write('file/x', '1');
    await write('dir', '1');
    expect((await refused({ file: type.file })).message).to.include(
      'it is a directory, but the output is declared as File',
    );
    expect((await refused({ dir: type.dir })).message).to.include('it is a file, but the output is declared as Dir');
    expect((await refused({ file: type.integer })).message).to.include('it is a directory; write the value to a file');
  });

  it('tells the command’s own words from _ERROR', async () => {
    await write('n', '1');
    await write('_ERROR', 'no disk left\n');
    const failure = await refused({ n: type.integer });
    expect(failure.message).to.equal('User Error: no disk left');
    expect(failure).to.include({ origin: 'user', recoverable: true });
  });

  it('follows links within the outputs and to the inputs, never elsewhere', async () => {
    const inputDirectory = path.join(work.directory, 'inputs');
    await mkdir(inputDirectory);
    await writeFile(path.join(inputDirectory, 'data'), 'input');
    await writeFile(path.join(work.directory, 'secret'), 'secret');
    await write('real', 'real');
    await symlink('real', path.join(directory, 'inside'));
    await symlink(path.join(inputDirectory, 'data'), path.join(directory, 'back'));
    await symlink('../secret', path.join(directory, 'out'));
    await mkdir(path.join(directory, 'tree'));
    await symlink(work.directory, path.join(directory, 'tree/out'));
    await run({ inside: type.file, back: type.file }, { inputDirectory });
    expect(await textAt(work.store, `${RAW}/inside`)).to.equal('real');
    expect(await textAt(work.store, `${RAW}/back`)).to.equal('input');
    await work.store.delete(OUTPUTS);
    expect((await refused({ out: type.file }, { inputDirectory })).message)
      .to.include('leads out of')
      .and.include('copy the data');
    expect((await refused({ tree: type.dir }, { inputDirectory })).message).to.include('leads out of');
    await write('outputs.json', JSON.stringify({ f: '../secret' }));
    expect((await refused({ f: type.file }, { inputDirectory })).message).to.include('leads out of');
  });

  it('refuses circles of links and links to nothing', async () => {
    await write('tree/x', '1');
    await symlink('..', path.join(directory, 'tree/up'));
    expect((await refused({ tree: type.dir })).message).to.include('contains itself through a link');
    await write('tree2/x', '1');
    await symlink('gone', path.join(directory, 'tree2/link'));
    expect((await refused({ tree2: type.dir })).message).to.include('is a link to nothing');
  });

  // Root reads everything, so there is nothing to see.
  if (process.getuid?.() !== 0) {
    it('says that a file is not readable', async () => {
      await write('file', 'x');
      await chmod(path.join(directory, 'file'), 0);
      expect((await refused({ file: type.file })).message).to.include('is not readable; make it so (chmod a+rX)');
    });
  }

  it('refuses values beyond the inline limit', async () => {
    await write('s', Buffer.alloc(10 * 1024 * 1024 + 1, 'x'));
    expect((await refused({ s: type.string })).message).to.include(
      'a value may have 10485760; declare the output as File',
    );
  });

  it('refuses outputs whose names mean something else in the attempt’s prefix', async () => {
    const failure = await refused({ 'outputs.pb': type.file });
    expect(failure.message).to.include('rename the output');
    expect(failure).to.include({ origin: 'user', recoverable: false });
  });

  it('writes outputs.pb last, and not at all when a file could not be stored', async () => {
    await write('a', 'A');
    const puts: string[] = [];
    const watched = Object.assign(flaky(work.store, 0), {
      put: (uri: string, body: Uint8Array) => {
        puts.push(uri);
        return work.store.put(uri, body);
      },
    });
    await run({ a: type.file }, {}, watched);
    expect(puts).to.deep.equal([`${RAW}/a`, OUTPUTS]);
    await work.store.delete(OUTPUTS);
    const failure = await failureOf(run({ a: type.file }, {}, flaky(work.store, 5)));
    expect(failure.message).to.include('slow down (tried 5 times)');
    expect(failure).to.include({ origin: 'system', recoverable: true });
    expect(await textAt(work.store, OUTPUTS)).to.equal(null);
  });

  it('tries again what a busy store refuses', async () => {
    await write('a', 'A');
    await run({ a: type.file }, {}, flaky(work.store, 3));
    expect(await textAt(work.store, `${RAW}/a`)).to.equal('A');
  });

  it('writes an empty outputs.pb for a task without outputs', async () => {
    expect(await run({})).to.deep.equal({});
  });
});
