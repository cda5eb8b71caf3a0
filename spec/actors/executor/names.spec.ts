import { expect } from 'chai';
import { identifierOf, isMetadataKey, labelValue, podName } from '../../../actors/executor/names.ts';

const identity = {
  runId: 7,
  project: 'p',
  domain: 'development',
  run: 'rbcdfghjklmnpqrstvwx',
  action: 'a0',
  attempt: 1,
  incarnation: 1,
};
const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

describe('pod names', () => {
  it('are readable DNS labels that start with run, action and attempt', () => {
    expect(podName(identity)).to.match(/^rbcdfghjklmnpqrstvwx-a0-1-[a-z0-9]{8,10}$/);
  });

  it('differ between attempts, incarnations, projects, domains and runs of the same name', () => {
    const others = [
      identity,
      { ...identity, attempt: 2 },
      { ...identity, incarnation: 2 },
      { ...identity, project: 'q' },
      { ...identity, domain: 'production' },
      { ...identity, runId: 8 },
    ];
    expect(new Set(others.map(podName)).size).to.equal(others.length);
  });

  it('stay within 63 characters and valid for the longest and the oddest names', () => {
    const long = { ...identity, run: 'r'.repeat(30), action: 'z'.repeat(30), attempt: 123_456 };
    const odd = { ...identity, run: '---', action: 'Ärger_mit.Namen-' };
    for (const name of [podName(long), podName({ ...long, incarnation: 2 }), podName(odd)]) {
      expect(name).to.match(dnsLabel);
    }
    expect(podName(long)).to.not.equal(podName({ ...long, attempt: 123_457 }));
  });

  it('become identifiers that start with a letter', () => {
    expect(identifierOf('1-run-a0')).to.equal('arun_a0');
    expect(identifierOf('run-a0-1')).to.equal('run_a0_1');
  });
});

describe('label values', () => {
  it('are made valid instead of being refused', () => {
    expect(labelValue('my task/№1')).to.equal('my-task--1');
    expect(labelValue('.hidden.')).to.equal('x.hidden.x');
    expect(labelValue('a'.repeat(80))).to.have.length(63);
    expect(labelValue('')).to.equal(undefined);
  });

  it('belong to keys of the form Kubernetes knows', () => {
    expect(['team', 'flyte.org/run', 'a_b.c'].every(isMetadataKey)).to.equal(true);
    expect(['', '/x', 'a b', 'a/b/c', '-x', 'Ä'].some(isMetadataKey)).to.equal(false);
  });
});
