import { create, fromBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { canonicalMsgpack } from '../../gateway/canonical-msgpack.ts';
import { cacheKey, HASH_OF_NOTHING, inputsHash } from '../../gateway/inputs-hash.ts';
import { TypedInterfaceSchema } from '../../proto/gen/flyteidl2/core/interface_pb.js';
import { TaskTemplateSchema } from '../../proto/gen/flyteidl2/core/tasks_pb.js';
import { InputsSchema } from '../../proto/gen/flyteidl2/task/common_pb.js';

/**
 * Inputs with an integer, MessagePack with unsorted keys, a list and a map with content hashes and keys that look like numbers, and
 * literal metadata; an interface with a JSON schema. The hashes are those that SDK 2.12 computes for a child with them.
 */
const inputs = fromBinary(
  InputsSchema,
  Buffer.from(
    'CgsKAW4SBgoECgIIBwpyCgFkEm0KaxppCl6GoWKSAYKhess/+AAAAAAAAKJhYcChYdH+1Khsb25nIGtledkoeHh4eHh4eHh4eHh4' +
      'eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eKFuzgABEXChdMOiYnnEAgABEgdtc2dwYWNrChsKAWwSFhIUCgYKBAoCCAEKCgoE' +
      'CgIIAiICaDEKSwoBbRJGGkQKDAoCMTASBgoECgIIAQoJCgFiEgQiAmgyChwKAsO8EhYKFBoSCgeCoXkBoXgCEgdtc2dwYWNrCgsK' +
      'ATkSBgoECgIIAgojCgFzEh4KBAoCGgAqBwoCMTASAWEqBQoBehIAKgYKATkSAWISBgoBaxIBdg==',
    'base64',
  ),
);
const declared = fromBinary(
  TypedInterfaceSchema,
  Buffer.from(
    'CrwBCgwKAW4SBwoCCAESAWQKqwEKAWQSpQEKogEICTKdAQp8Cgpwcm9wZXJ0aWVzEm4qbAobCgIxMBIVKhMKEQoEdHlwZRIJGgdp' +
      'bnRlZ2VyChoKAWISFTITCgkRAAAAAAAA8D8KAggACgIgAQoxCgE5EiwqKgoWCgltaW5MZW5ndGgSCREAAAAAAAAAQAoQCgR0eXBl' +
      'EggaBnN0cmluZwoQCgR0eXBlEggaBm9iamVjdAoLCgUkZGVmcxICKgASDAoKCgJvMBIECgIIAA==',
    'base64',
  ),
);
const template = create(TaskTemplateSchema, {
  interface: declared,
  metadata: { discoverable: true, discoveryVersion: 'v1' },
});

describe('inputsHash', () => {
  it('is the hash the SDK computes for a child with the same inputs', () => {
    expect(inputsHash(inputs, [])).to.equal('QgEN8EYc7G9djnEaG2HJEvq7kz2Tts70cyrGfsVRKwg=');
  });

  it('leaves ignored inputs out as the SDK does', () => {
    expect(inputsHash(inputs, ['d', 'm'])).to.equal('DjKYACeo9VO22/93lWIAs+4BUyuyD7taOxrCCeOLWt8=');
  });

  it('does not depend on the context', () => {
    expect(inputsHash(create(InputsSchema, { literals: inputs.literals }), [])).to.equal(inputsHash(inputs, []));
  });

  it('is the hash of nothing without inputs', () => {
    expect(inputsHash(undefined, [])).to.equal(HASH_OF_NOTHING);
    expect(inputsHash(inputs, ['n', 'd', 'l', 'm', 's'])).to.equal(HASH_OF_NOTHING);
  });
});

describe('cacheKey', () => {
  it('is the key the SDK computes for a child of the same task and inputs', () => {
    expect(cacheKey(template, 'env.task', inputsHash(inputs, []))).to.equal(
      'FDi/VbfKiWAlC1ZJEPV407vvvPQXGI86s31bdn8fYKQ=',
    );
    expect(cacheKey(template, 'env.task', inputsHash(inputs, ['d', 'm']))).to.equal(
      'Nm49PAybynNcHx63mDGExT/5Xg05QsRqIuZ6fncI/qo=',
    );
    expect(cacheKey(template, 'env.task', HASH_OF_NOTHING)).to.equal('6T5ZnCQ3BNFN85JcRPT3/u0yY+/3qra0MjcHJaOOXpQ=');
  });

  it('is absent for a task that does not ask for caching', () => {
    expect(cacheKey(create(TaskTemplateSchema, { interface: declared }), 'env.task', 'h')).to.equal(null);
    expect(cacheKey(undefined, 'env.task', 'h')).to.equal(null);
  });
});

describe('canonicalMsgpack', () => {
  it('leaves bytes alone that are no MessagePack value', () => {
    for (const bytes of [[], [0xc1], [0x82, 0xa1, 0x61], [0x01, 0x02], [0xdb, 0xff, 0xff, 0xff, 0xff]]) {
      const data = Uint8Array.from(bytes);
      expect(canonicalMsgpack(data)).to.equal(data);
    }
  });

  it('sorts the entries of maps at any depth', () => {
    const data = Uint8Array.from([0x82, 0xa1, 0x62, 0x91, 0x82, 0x02, 0x00, 0x01, 0x00, 0xa1, 0x61, 0xc0]);
    expect([...canonicalMsgpack(data)]).to.deep.equal([
      ...[0x82, 0xa1, 0x61, 0xc0, 0xa1, 0x62, 0x91, 0x82, 0x01, 0x00, 0x02, 0x00],
    ]);
  });

  it('refuses to follow nesting without end', () => {
    const data = new Uint8Array(100_000).fill(0x91);
    expect(canonicalMsgpack(data)).to.equal(data);
  });
});
