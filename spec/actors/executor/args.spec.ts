import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { needsInputs, renderText } from '../../../actors/executor/args.ts';
import { TaskRefused } from '../../../actors/executor/task-refusal.ts';
import { LiteralSchema } from '../../../proto/gen/flyteidl2/core/literals_pb.js';
import { InputsSchema } from '../../../proto/gen/flyteidl2/task/common_pb.js';

const values = { input: 's3://b/inputs.pb', outputprefix: 's3://b/o', prevcheckpointprefix: '""' };
const integer = (value: bigint) =>
  create(LiteralSchema, {
    value: {
      case: 'scalar',
      value: { value: { case: 'primitive', value: { value: { case: 'integer', value } } } },
    },
  });
const text = (value: string) =>
  create(LiteralSchema, {
    value: {
      case: 'scalar',
      value: { value: { case: 'primitive', value: { value: { case: 'stringValue', value } } } },
    },
  });
const inputs = create(InputsSchema, {
  literals: [
    { name: 'times', value: integer(3n) },
    { name: 'word', value: text('$& $1 {{.input}}') },
    {
      name: 'list',
      value: create(LiteralSchema, { value: { case: 'collection', value: { literals: [integer(1n), integer(2n)] } } }),
    },
    { name: 'map', value: create(LiteralSchema, { value: { case: 'map', value: { literals: {} } } }) },
    {
      name: 'file',
      value: create(LiteralSchema, {
        value: { case: 'scalar', value: { value: { case: 'blob', value: { uri: 's3://b/file' } } } },
      }),
    },
  ],
});

describe('placeholders in command lines', () => {
  it('are found in any case, with any spaces, with dot or dollar, anywhere in a word', () => {
    expect(renderText('--x={{.Input}};{{ $OUTPUTPREFIX }}/z', values)).to.equal('--x=s3://b/inputs.pb;s3://b/o/z');
  });

  it('render an absent previous checkpoint as two quotes', () => {
    expect(renderText('{{.prevCheckpointPrefix}}', values)).to.equal('""');
  });

  it('stay as they are when the name is unknown', () => {
    for (const word of ['{{.nothing}}', '{{ constructor }}', '{{.__proto__}}', '{{', '{{.}}']) {
      expect(renderText(word, values)).to.equal(word);
    }
  });

  it('take the text of an input literally, once', () => {
    expect(renderText('a{{.inputs.times}}b {{.inputs.word}}', values, inputs)).to.equal('a3b $& $1 {{.input}}');
    expect(renderText('{{.inputs.list}} {{.inputs.file}}', values, inputs)).to.equal('[1,2] s3://b/file');
  });

  it('refuse an input that is missing or has no text, and name it', () => {
    expect(() => renderText('{{.inputs.nope}}', values, inputs)).to.throw(TaskRefused, /nope.*times, word/);
    expect(() => renderText('{{.inputs.map}}', values, inputs)).to.throw(TaskRefused, /'map'.*map value/);
  });

  it('say when input values are needed', () => {
    expect(needsInputs(['x', '{{ .Inputs.a }}'])).to.equal(true);
    expect(needsInputs(['{{.input}}', '{{.inputPrefix}}'])).to.equal(false);
  });
});
