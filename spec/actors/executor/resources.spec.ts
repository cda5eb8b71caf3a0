import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { quantityOf } from '../../../actors/executor/quantity.ts';
import { completeResources, resourcesOf } from '../../../actors/executor/resources.ts';
import { TaskRefused } from '../../../actors/executor/task-refusal.ts';
import { Resources_ResourceName as Name, ResourcesSchema } from '../../../proto/gen/flyteidl2/core/tasks_pb.js';

const defaults = { cpu: '1', memory: '1Gi' };

describe('resources of a container', () => {
  it('take over CPU, memory, disk and devices, and drop zero amounts and STORAGE', () => {
    const given = create(ResourcesSchema, {
      requests: [
        { name: Name.CPU, value: '500m' },
        { name: Name.MEMORY, value: '0' },
        { name: Name.STORAGE, value: '5Gi' },
        { name: Name.EPHEMERAL_STORAGE, value: '1Gi' },
      ],
      limits: [{ name: Name.GPU, value: '2' }],
    });
    expect(resourcesOf(given, 'nvidia.com/gpu')).to.deep.equal({
      requests: { cpu: '500m', 'ephemeral-storage': '1Gi' },
      limits: { 'nvidia.com/gpu': '2' },
    });
  });

  it('refuse an amount that is no quantity and name it', () => {
    const given = create(ResourcesSchema, { requests: [{ name: Name.MEMORY, value: 'lots' }] });
    expect(() => resourcesOf(given, 'nvidia.com/gpu')).to.throw(TaskRefused, /request of memory is 'lots'/);
    expect(() => completeResources({ limits: { cpu: 'two' } }, defaults)).to.throw(TaskRefused, /cpu is 'two'/);
  });

  it('are filled from the defaults when the task says nothing', () => {
    expect(completeResources({}, defaults)).to.deep.equal({ requests: defaults, limits: defaults });
    expect(completeResources({}, {})).to.deep.equal({});
  });

  it('take a missing request from the limit and a missing limit from the request', () => {
    expect(completeResources({ limits: { cpu: '2' }, requests: { memory: '3Gi' } }, defaults)).to.deep.equal({
      requests: { cpu: '2', memory: '3Gi' },
      limits: { cpu: '2', memory: '3Gi' },
    });
  });

  it('lower a request that exceeds its limit', () => {
    const { requests } = completeResources({ requests: { cpu: '1500m' }, limits: { cpu: '1' } }, defaults);
    expect(requests!.cpu).to.equal('1');
  });

  it('request a device that only has a limit', () => {
    const { requests } = completeResources({ limits: { 'nvidia.com/gpu': '1' } }, {});
    expect(requests).to.deep.equal({ 'nvidia.com/gpu': '1' });
  });
});

describe('quantities', () => {
  it('are read as Kubernetes reads them', () => {
    const cases: [string, number][] = [
      ['500m', 0.5],
      ['1.5Gi', 1.5 * 2 ** 30],
      ['2e3', 2000],
      ['100M', 1e8],
      ['1E', 1e18],
      ['.5', 0.5],
    ];
    for (const [text, value] of cases) expect(quantityOf(text), text).to.equal(value);
    for (const text of ['', 'x', '1 Gi', '-1', '1KB', '1e400']) expect(quantityOf(text), text).to.equal(undefined);
  });
});
