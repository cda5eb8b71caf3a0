import { expect } from 'chai';
import { decide } from '../../../actors/run/decide.ts';
import type { RunState } from '../../../actors/run/run-state.ts';

const noon = new Date('2026-11-24T12:00:00Z');
const live: RunState = { key: '7', version: 1, wakeAt: null, id: 7, state: 'live', abort: null, endedAt: null };
const abort = { type: 'abort' as const, reason: 'enough', by: { user: { id: { subject: 'ada' } } } };

describe('run machine', () => {
  it('passes an abort to its root with reason and identity, once', () => {
    const first = decide(live, [abort, { ...abort, reason: 'again' }], noon);
    expect(first.state).to.include({ state: 'aborting' });
    expect(first.state.abort).to.deep.equal({ reason: 'enough', by: abort.by, at: noon });
    expect(first.letters).to.deep.equal([
      {
        to: { kind: 'action', key: '7.a0' },
        body: { type: 'abort', reason: 'enough', by: abort.by, notifyParent: false },
      },
    ]);
    expect(decide(first.state, [abort], noon).letters).to.be.empty;
  });

  it('is not aborted once it has ended', () => {
    const ended: RunState = { ...live, state: 'ended', endedAt: noon };
    const late = decide(ended, [abort], noon);
    expect(late.state).to.equal(ended);
    expect(late.letters).to.be.empty;
  });
});
