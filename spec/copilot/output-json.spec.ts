import { toJson } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { fromJsonText } from '../../copilot/json-text.ts';
import { jsonLiteral } from '../../copilot/output-json.ts';
import { scalarLiteral } from '../../copilot/output-type.ts';
import { type Literal, LiteralSchema } from '../../proto/gen/flyteidl2/core/literals_pb.js';
import type { LiteralType } from '../../proto/gen/flyteidl2/core/types_pb.js';
import { lit, type } from './literals.ts';
import { failureOf } from './store.ts';

const read = (json: string, declared: LiteralType): Promise<Literal> =>
  jsonLiteral(fromJsonText(json), declared, async (reference, _type, place) =>
    scalarLiteral({ case: 'error', value: { message: `${reference} at ${place.join('.')}` } as never }),
  );

const same = (actual: Literal, expected: Literal) =>
  expect(toJson(LiteralSchema, actual)).to.deep.equal(toJson(LiteralSchema, expected));

describe('outputs from JSON', () => {
  it('takes back every encoding that inputs.json has', async () => {
    same(await read('42', type.integer), lit.integer(42n));
    same(await read('9007199254740993', type.integer), lit.integer(9_007_199_254_740_993n));
    same(await read('3.0', type.integer), lit.integer(3n));
    same(await read('2', type.float), lit.float(2));
    same(await read('"-Infinity"', type.float), lit.float(-Infinity));
    same(await read('" as is "', type.string), lit.string(' as is '));
    same(await read('false', type.boolean), lit.boolean(false));
    same(await read('"1m30s"', type.duration), lit.duration(90n));
    same(await read('"1970-01-01T00:00:01Z"', type.datetime), lit.datetime(1n));
    same(await read('"aGk="', type.binary), lit.binary(Uint8Array.of(104, 105)));
    same(await read('null', type.none), lit.none());
    same(await read('{"a": [1, {"b": null}]}', type.struct), lit.struct({ a: [1, { b: null }] }));
    same(await read('"red"', type.words('red', 'blue')), lit.string('red'));
  });

  it('reads lists and maps at any depth, and tells the position of files in them', async () => {
    same(await read('[[1], []]', type.list(type.list(type.integer))), lit.list(lit.list(lit.integer(1n)), lit.list()));
    same(
      await read('{"__proto__": "x"}', type.map(type.string)),
      lit.map(Object.fromEntries([['__proto__', lit.string('x')]])),
    );
    const files = await read('{"a": ["p", "q"]}', type.map(type.list(type.file)));
    expect(JSON.stringify(toJson(LiteralSchema, files)))
      .to.include('p at 0.0')
      .and.include('q at 0.1');
  });

  it('chooses the variant of a union that fits, the strict ones first', async () => {
    const variant = async (json: string, declared: LiteralType) => {
      const { value } = await read(json, declared);
      const scalar = value.case === 'scalar' ? value.value.value : undefined;
      return scalar?.case === 'union' ? [toJson(LiteralSchema, scalar.value.value!), scalar.value.type] : null;
    };
    expect(await variant('5', type.union(type.string, type.integer, type.none))).to.deep.equal([
      toJson(LiteralSchema, lit.integer(5n)),
      type.integer,
    ]);
    expect(await variant('"5"', type.union(type.integer, type.string))).to.deep.equal([
      toJson(LiteralSchema, lit.string('5')),
      type.string,
    ]);
    expect(await variant('null', type.union(type.string, type.none))).to.deep.equal([
      toJson(LiteralSchema, lit.none()),
      type.none,
    ]);
  });

  it('says where a value is wrong, what was found and what was expected', async () => {
    const message = async (json: string, declared: LiteralType) => (await failureOf(read(json, declared))).message;
    expect(await message('{"a": [1, "x"]}', type.map(type.list(type.integer)))).to.equal(
      'key "a": element 1: found "x", expected integer',
    );
    expect(await message('[]', type.map(type.integer))).to.equal('found a list, expected map of integer');
    expect(await message('1.5', type.integer)).to.equal('found 1.5, expected integer');
    expect(await message('"2.5"', type.float)).to.equal('found "2.5", expected float');
    expect(await message('[1]', type.struct)).to.include('it must be a JSON object');
    expect(await message('"no base64!"', type.binary)).to.include('expected binary');
    expect(await message('"green"', type.words('red', 'blue'))).to.equal('"green" is none of "red", "blue"');
    expect(await message('9223372036854775808', type.integer)).to.include('is not a 64-bit integer');
    expect(await message('true', type.union(type.integer, type.none))).to.equal(
      'it fits none of its types (as integer: found true, expected integer; as none: found true, expected none)',
    );
  });
});
