import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { type LayoutOptions, planInputs } from '../../copilot/input-layout.ts';
import { baseName, distinctNames } from '../../copilot/input-paths.ts';
import { toJsonText } from '../../copilot/json-text.ts';
import { resolveOffloaded } from '../../copilot/offloaded-literal.ts';
import { type Literal, LiteralSchema } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import { inputsOf, lit } from './literals.ts';
import { failureOf } from './store.ts';

const plan = (literals: Record<string, Literal>, options: Partial<LayoutOptions> = {}) =>
  planInputs(inputsOf(literals), { directory: '/in', layout: 'DIRECT', fetchRemote: true, ...options });

/** The steps as `path: content`, `path <- uri` and `path/`. */
const steps = async (literals: Record<string, Literal>, options: Partial<LayoutOptions> = {}) =>
  (await plan(literals, options)).steps.map(step => {
    if (step.kind === 'file') return `${step.path}: ${Buffer.from(step.content)}`;
    return step.kind === 'directory' ? `${step.path}/` : `${step.path} <-${step.kind}- ${step.uri}`;
  });

const values = async (literals: Record<string, Literal>, options: Partial<LayoutOptions> = {}) =>
  JSON.parse(toJsonText((await plan(literals, options)).values));

describe('input layout', () => {
  const known = {
    s: lit.string('two\nlines '),
    b: lit.boolean(true),
    i: lit.integer(42n),
    f: lit.float(1e-7),
    t: lit.datetime(0n),
    d: lit.duration(90n),
    n: lit.none(),
    x: lit.binary(Uint8Array.of(104, 105)),
    g: lit.struct({ a: [1, null] }),
  };

  it('writes each kind of value as text of its own', async () => {
    expect(await steps(known)).to.deep.equal([
      '/in/s: two\nlines ',
      '/in/b: true',
      '/in/i: 42',
      '/in/f: 0.0000001',
      '/in/t: 1970-01-01T00:00:00Z',
      '/in/d: 1m30s',
      '/in/n: null',
      '/in/x: hi',
      '/in/g: {"a":[1,null]}',
    ]);
  });

  it('gives the same encodings in the file of all values', async () => {
    expect(await values(known)).to.deep.equal({
      s: 'two\nlines ',
      b: true,
      i: 42,
      f: 1e-7,
      t: '1970-01-01T00:00:00Z',
      d: '1m30s',
      n: null,
      x: 'aGk=',
      g: { a: [1, null] },
    });
  });

  it('places files, directories, datasets, lists, maps and unions', async () => {
    const literals = {
      file: lit.blob('s3://b/k/data.csv'),
      dir: lit.dir('s3://b/tree'),
      table: lit.dataset('s3://b/table'),
      list: lit.list(lit.integer(1n), lit.blob('s3://b/x.txt')),
      map: lit.map({ a: lit.string('A'), 'p/q': lit.dir('s3://b/pq') }),
      maybe: lit.union(lit.integer(5n)),
      empty: lit.list(),
    };
    expect(await steps(literals)).to.deep.equal([
      '/in/file <-object- s3://b/k/data.csv',
      '/in/dir <-tree- s3://b/tree',
      '/in/table <-dataset- s3://b/table',
      '/in/list/',
      '/in/list/0: 1',
      '/in/list/1 <-object- s3://b/x.txt',
      '/in/map/',
      '/in/map/a: A',
      '/in/map/p/q <-tree- s3://b/pq',
      '/in/maybe: 5',
      '/in/empty/',
    ]);
    expect(await values(literals)).to.deep.equal({
      file: '/in/file',
      dir: '/in/dir',
      table: '/in/table',
      list: [1, '/in/list/1'],
      map: { a: 'A', 'p/q': '/in/map/p/q' },
      maybe: 5,
      empty: [],
    });
  });

  it('puts local paths into inputs.pb and leaves everything else of a literal alone', async () => {
    const literal = { ...lit.union(lit.blob('s3://b/k', 0, 'csv')), hash: 'h', metadata: { m: '1' } };
    const { localized } = await plan({ file: literal });
    const expected = { ...lit.union(lit.blob('/in/file', 0, 'csv')), hash: 'h', metadata: { m: '1' } };
    expect(localized.literals[0]!.value).to.deep.equal(expected);
  });

  it('keeps the names of files in NAMED_DIR, and distinct ones apart from equal ones', async () => {
    const literals = {
      one: lit.blob('s3://b/k/reads.fastq.gz'),
      maybe: lit.union(lit.blob('s3://b/m.txt')),
      many: lit.list(lit.blob('s3://b/1/a.txt'), lit.blob('s3://b/2/a.txt'), lit.blob('s3://b/'), lit.integer(7n)),
      map: lit.map({ k: lit.blob('s3://b/1/a.txt') }),
      dir: lit.dir('s3://b/tree'),
    };
    expect(await steps(literals, { layout: 'NAMED_DIR' })).to.deep.equal([
      '/in/one/reads.fastq.gz <-object- s3://b/k/reads.fastq.gz',
      '/in/maybe/m.txt <-object- s3://b/m.txt',
      '/in/many/',
      '/in/many/a.txt <-object- s3://b/1/a.txt',
      '/in/many/1_a.txt <-object- s3://b/2/a.txt',
      '/in/many/2_ <-object- s3://b/',
      '/in/many/3: 7',
      '/in/map/',
      '/in/map/k <-object- s3://b/1/a.txt',
      '/in/dir <-tree- s3://b/tree',
    ]);
    expect(distinctNames(['/a', '/1_a', '/a'])).to.deep.equal(['a', '1_a', '2_a']);
    expect(distinctNames(['/2_a', '/a', '/a'])).to.deep.equal(['2_a', 'a', '2_2_a']);
  });

  it('takes the query of a URL for no part of the name, but of an object key', () => {
    expect(baseName('https://h/p/a.csv?sig=1#x')).to.equal('a.csv');
    expect(baseName('s3://b/a?b#c')).to.equal('a?b#c');
    expect([baseName('s3://b'), baseName('s3://b/x/..')]).to.deep.equal(['', '']);
  });

  it('leaves remote data where it is when nothing shall be downloaded', async () => {
    const options = { fetchRemote: false };
    const literals = { file: lit.blob('s3://b/k'), n: lit.integer(1n) };
    expect(await steps(literals, options)).to.deep.equal(['/in/n: 1']);
    expect(await values(literals, options)).to.deep.equal({ file: 's3://b/k', n: 1 });
  });

  it('never leaves the directory and never writes twice to one place', async () => {
    const cases: [Record<string, Literal>, string][] = [
      [{ '../x': lit.none() }, 'input "../x" cannot be a file name; rename the input'],
      [{ '': lit.none() }, 'cannot be a file name'],
      [{ 'inputs.json': lit.none() }, 'cannot be a file name'],
      [{ m: lit.map({ '../../etc': lit.none() }) }, 'the key "../../etc" cannot be a path below /in/m'],
      [{ m: lit.map({ '/etc': lit.none() }) }, 'cannot be a path'],
      [{ m: lit.map({ a: lit.none(), 'a/b': lit.none() }) }, 'need the same place /in/m/a'],
      [{ m: lit.map({ 'a/b': lit.none(), a: lit.none() }) }, 'need the same place /in/m/a'],
    ];
    for (const [literals, message] of cases) {
      const failure = await failureOf(plan(literals));
      expect(failure.message).to.include(message);
      expect(failure).to.include({ origin: 'user', recoverable: false });
    }
  });

  it('names the input that has no value', async () => {
    const failure = await failureOf(plan({ e: create(LiteralSchema) }));
    expect(failure.message).to.equal('input "e": the input has no value; pass one, or give the parameter a default');
  });
});

describe('offloaded literals', () => {
  const stored: Record<string, Literal> = {
    'offloaded:inner': lit.list(lit.string('deep')),
    'offloaded:outer': lit.map({ k: lit.offloaded('offloaded:inner') }),
    'offloaded:loop': lit.offloaded('offloaded:loop'),
  };
  const read = async (uri: string) => toBinary(LiteralSchema, stored[uri]!);

  it('are read wherever they are: at the top, in lists, maps, unions and in each other', async () => {
    const literal = lit.list(lit.union(lit.offloaded('offloaded:inner')), lit.offloaded('offloaded:outer'));
    expect(await resolveOffloaded(literal, read)).to.deep.equal(
      lit.list(lit.union(lit.list(lit.string('deep'))), lit.map({ k: lit.list(lit.string('deep')) })),
    );
  });

  it('that contain themselves are refused', async () => {
    expect((await failureOf(resolveOffloaded(lit.offloaded('offloaded:loop'), read))).message).to.include('64 levels');
  });
});
