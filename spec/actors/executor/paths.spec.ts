import { expect } from 'chai';
import { attemptPaths, attemptPrefix, checkpointOf, shardOf } from '../../../actors/executor/paths.ts';

const identity = {
  runId: 7,
  project: 'flytesnacks',
  domain: 'development',
  run: 'rabc123',
  action: 'a0',
  attempt: 1,
  incarnation: 1,
};
const plan = { outputBase: 's3://data/runs/flytesnacks/development/rabc123/', rawDataPrefix: 's3://raw/of/user/' };

describe('paths of an attempt', () => {
  it('spread actions over shards with the vectors of the reference', () => {
    expect(shardOf('rabc123', 'a0')).to.equal('oc');
    expect(shardOf('rabc123', 'train')).to.equal('x5');
  });

  it('put the shard behind the bucket, and action and attempt at the end', () => {
    expect(attemptPrefix(plan.outputBase, 'rabc123', 'a0', 2)).to.equal(
      's3://data/oc/runs/flytesnacks/development/rabc123/a0/2',
    );
    expect(attemptPrefix('s3://data', 'rabc123', 'a0', 1)).to.equal('s3://data/oc/a0/1');
  });

  it('never produce empty segments', () => {
    expect(attemptPrefix('s3://data//runs//', 'rabc123', 'a0', 1)).to.equal('s3://data/oc/runs/a0/1');
  });

  it('refuse a base that is no object store URI and say what is expected', () => {
    expect(() => attemptPrefix('/tmp/runs', 'rabc123', 'a0', 1)).to.throw(RangeError, /'\/tmp\/runs'.*s3:\/\//);
  });

  it('keep the raw data of every incarnation apart, below the prefix that the user chose', () => {
    const first = attemptPaths(identity, plan);
    const second = attemptPaths({ ...identity, incarnation: 2 }, plan);
    expect(first.rawDataUri).to.match(/^s3:\/\/raw\/of\/user\/oc\/flytesnacks\/development\/rabc123\/a0\/1\/1$/);
    expect(second.rawDataUri).to.not.equal(first.rawDataUri);
    expect(attemptPaths(identity, { ...plan, rawDataPrefix: '' }).rawDataUri).to.equal(`${first.outputUri}/data`);
  });

  it('give a later incarnation its own outputs but the checkpoint of its attempt', () => {
    const first = attemptPaths(identity, plan);
    const second = attemptPaths({ ...identity, incarnation: 2 }, plan);
    expect(second.outputUri).to.equal(`${first.outputUri}/incarnation-2`);
    expect(second.logsUri).to.equal(`${second.outputUri}/logs`);
    expect(second.checkpointUri).to.equal(first.checkpointUri);
  });

  it('find the checkpoint of an earlier attempt', () => {
    expect(checkpointOf(plan.outputBase, 'rabc123', 'a0', 1)).to.equal(attemptPaths(identity, plan).checkpointUri);
  });
});
