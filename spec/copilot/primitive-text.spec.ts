import { expect } from 'chai';
import fc from 'fast-check';
import { durationToText, textToDuration } from '../../copilot/duration-text.ts';
import {
  floatToText,
  primitiveToText,
  textToFloat,
  textToInteger,
  textToPrimitive,
} from '../../copilot/primitive-text.ts';
import { textToTimestamp, timestampToText } from '../../copilot/timestamp-text.ts';
import { SimpleType } from '../../proto/gen/flyteidl2/core/types_pb.js';

const duration = (seconds: bigint, nanos = 0) => durationToText({ seconds, nanos } as never);
const moment = (seconds: bigint, nanos = 0) => timestampToText({ seconds, nanos } as never);

describe('primitive text', () => {
  it('writes floats as the shortest decimal without an exponent', () => {
    expect([0.1, 1, 1e21, 1.5e-7, -2.5e22, 5e-324].map(floatToText).map(text => text.slice(0, 30))).to.deep.equal([
      '0.1',
      '1',
      '1000000000000000000000',
      '0.00000015',
      '-25000000000000000000000',
      '0.0000000000000000000000000000',
    ]);
    expect([Number.NaN, Number.POSITIVE_INFINITY, -Infinity].map(floatToText)).to.deep.equal([
      'NaN',
      'Infinity',
      '-Infinity',
    ]);
  });

  it('reads back every float it writes', () => {
    fc.assert(fc.property(fc.double(), value => Object.is(textToFloat(floatToText(value)), value)));
  });

  it('reads numbers as programs print them, and refuses what is none', () => {
    expect(['2.5', '.5', '3.', '1e3', '+Inf', '-inf', 'nan'].map(textToFloat)).to.deep.equal([
      2.5,
      0.5,
      3,
      1000,
      Infinity,
      -Infinity,
      Number.NaN,
    ]);
    for (const text of ['', '0x10', '1_000', '1,5', 'one'])
      expect(() => textToFloat(text), text).to.throw('is not a number');
  });

  it('keeps integers of 64 bits whole and refuses larger ones', () => {
    expect(textToInteger('9223372036854775807')).to.equal(2n ** 63n - 1n);
    expect(textToInteger('-9223372036854775808')).to.equal(-(2n ** 63n));
    for (const text of ['9223372036854775808', '1.0', '1e3', '', '0x1']) {
      expect(() => textToInteger(text), text).to.throw('is not a 64-bit integer; write decimal digits only');
    }
  });

  it('reads the words for true and false in any case', () => {
    const read = (text: string) => textToPrimitive(text, SimpleType.BOOLEAN).value;
    expect(['1', 't', 'True', 'TRUE'].map(read)).to.deep.equal([true, true, true, true]);
    expect(['0', 'f', 'False'].map(read)).to.deep.equal([false, false, false]);
    expect(() => read('yes')).to.throw('"yes" is not a boolean; write true or false');
  });

  it('writes a primitive without a value as null', () => {
    expect(primitiveToText({ value: { case: undefined } } as never)).to.equal('null');
  });
});

describe('duration text', () => {
  it('is the text of Go', () => {
    expect(duration(3723n, 500_000_000)).to.equal('1h2m3.5s');
    expect([duration(0n), duration(90n), duration(3600n), duration(-90n, -500_000_000)]).to.deep.equal([
      '0s',
      '1m30s',
      '1h0m0s',
      '-1m30.5s',
    ]);
    expect([duration(0n, 1), duration(0n, 1_500), duration(0n, 2_500_000)]).to.deep.equal(['1ns', '1.5µs', '2.5ms']);
  });

  it('reads back every duration it writes', () => {
    fc.assert(
      fc.property(fc.bigInt(-(10n ** 12n), 10n ** 12n), fc.integer({ min: 0, max: 999_999_999 }), (seconds, size) => {
        const nanos = seconds < 0n ? -size : size;
        expect(textToDuration(duration(seconds, nanos))).to.deep.equal({ seconds, nanos: nanos === 0 ? 0 : nanos });
      }),
    );
  });

  it('reads other spellings of Go, and what Python prints for a timedelta', () => {
    expect(textToDuration('1.5h')).to.deep.equal({ seconds: 5400n, nanos: 0 });
    expect(textToDuration('2m0.25s100ms')).to.deep.equal({ seconds: 120n, nanos: 350_000_000 });
    expect(textToDuration('1 day, 2:03:04.5')).to.deep.equal({ seconds: 93_784n, nanos: 500_000_000 });
    expect(textToDuration('0:00:07')).to.deep.equal({ seconds: 7n, nanos: 0 });
  });

  it('refuses what is none, with an example', () => {
    for (const text of ['', '5', '1h 2m', 'PT5S', '5 minutes', '-']) {
      expect(() => textToDuration(text), text).to.throw('is not a duration; write it like 1h2m3.5s');
    }
  });
});

describe('timestamp text', () => {
  it('is RFC 3339 in UTC with the decimals it needs', () => {
    expect([moment(0n), moment(1_767_225_600n, 120_000_000), moment(-1n, 1)]).to.deep.equal([
      '1970-01-01T00:00:00Z',
      '2026-01-01T00:00:00.12Z',
      '1969-12-31T23:59:59.000000001Z',
    ]);
  });

  it('reads zones, nanoseconds and bare dates', () => {
    expect(textToTimestamp('2026-01-01T02:00:00.123456789+02:00')).to.deep.equal({
      seconds: 1_767_225_600n,
      nanos: 123_456_789,
    });
    expect(textToTimestamp('2026-01-01 00:00:00z')).to.deep.equal({ seconds: 1_767_225_600n, nanos: 0 });
    expect(textToTimestamp('2026-01-01')).to.deep.equal({ seconds: 1_767_225_600n, nanos: 0 });
  });

  it('refuses moments without a zone and days that do not exist', () => {
    for (const text of [
      '2026-01-01T00:00:00',
      '2026-02-30',
      '2026-02-30T00:00:00Z',
      '2026-01-01T25:00:00Z',
      'today',
      '',
    ]) {
      expect(() => textToTimestamp(text), text).to.throw('is not a moment in time; write RFC 3339 with a zone');
    }
  });
});
