import { expect } from 'chai';
import fc from 'fast-check';
import { fromJsonText, type PlainValue, toJsonText } from '../../copilot/json-text.ts';
import { toYamlText } from '../../copilot/yaml-text.ts';

const value: PlainValue = new Map<string, PlainValue>([
  ['count', 9_007_199_254_740_993n],
  ['name', 'no: # "yes"\n'],
  ['none', null],
  ['list', [1.5, true, [], new Map()]],
  [
    'deep',
    new Map<string, PlainValue>([
      [
        'a b',
        [
          new Map<string, PlainValue>([
            ['x', 1n],
            ['y', [2n]],
          ]),
        ],
      ],
    ]),
  ],
]);

describe('JSON text', () => {
  it('keeps 64-bit integers whole', () => {
    expect(toJsonText(9_007_199_254_740_993n)).to.equal('9007199254740993\n');
    expect(fromJsonText('[9007199254740993, 1.0]')).to.deep.equal([9_007_199_254_740_993n, 1]);
  });

  it('writes NaN and the infinities as strings, so that the file stays readable', () => {
    expect(JSON.parse(toJsonText([Number.NaN, -Infinity]))).to.deep.equal(['NaN', '-Infinity']);
  });

  it('reads back what it writes, keys like __proto__ included', () => {
    expect(fromJsonText(toJsonText(value))).to.deep.equal(value);
    const key = fc.oneof(fc.string(), fc.constant('__proto__'));
    const plain = fc.letrec(tie => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constant(null),
        fc.boolean(),
        fc.bigInt(),
        fc.string(),
        tie('list'),
        tie('map'),
      ),
      list: fc.array(tie('any'), { maxLength: 4 }),
      map: fc.array(fc.tuple(key, tie('any')), { maxLength: 4 }).map(entries => new Map(entries)),
    })).any as fc.Arbitrary<PlainValue>;
    fc.assert(
      fc.property(plain, one => {
        expect(asEntries(fromJsonText(toJsonText(one)))).to.deep.equal(asEntries(one));
      }),
    );
  });

  it('says what is wrong with text that is no JSON', () => {
    expect(() => fromJsonText('{"a": }')).to.throw('not readable as JSON');
  });
});

describe('YAML text', () => {
  it('is block style with every string quoted', () => {
    expect(toYamlText(value)).to.equal(
      [
        '"count": 9007199254740993',
        '"name": "no: # \\"yes\\"\\n"',
        '"none": null',
        '"list":',
        '  - 1.5',
        '  - true',
        '  - []',
        '  - {}',
        '"deep":',
        '  "a b":',
        '    -',
        '      "x": 1',
        '      "y":',
        '        - 2',
        '',
      ].join('\n'),
    );
    expect(toYamlText(new Map())).to.equal('{}\n');
    expect(toYamlText([Number.NaN, Number.NEGATIVE_INFINITY])).to.equal('- .nan\n- -.inf\n');
  });
});

/** Maps by content: integer-like keys come first in JavaScript objects, whatever order they were written in. */
const asEntries = (one: PlainValue): unknown => {
  if (Array.isArray(one)) return one.map(asEntries);
  if (!(one instanceof Map)) return one;
  return {
    entries: [...one]
      .map(([key, entry]) => [key, asEntries(entry)])
      .sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)),
  };
};
