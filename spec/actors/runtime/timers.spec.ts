import { expect } from 'chai';
import { createTimers, type Timers } from '../../../actors/runtime/timers.ts';
import { eventually } from '../../support/eventually.ts';

describe('timers', () => {
  let fired: string[];
  let now: number;
  let timers: Timers;
  const at = (ms: number) => new Date(now + ms);
  beforeEach(() => {
    fired = [];
    now = Date.now();
    timers = createTimers({
      clock: { now: () => new Date() },
      horizonMs: 60_000,
      capacity: 1_000,
      fire: key => fired.push(key),
    });
  });
  afterEach(() => timers.stop());

  it('fire in the order of their times, whatever order they were set in', async () => {
    for (const ms of [50, 10, 40, 20, 30]) timers.set(`t${ms}`, at(ms));
    await eventually(() => fired.length === 5);
    expect(fired).to.deep.equal(['t10', 't20', 't30', 't40', 't50']);
  });

  it('are one per key: setting again moves, null clears', async () => {
    timers.set('moved', at(10));
    timers.set('moved', at(40));
    timers.set('cleared', at(10));
    timers.set('cleared', null);
    timers.set('last', at(60));
    await eventually(() => fired.includes('last'));
    expect(fired).to.deep.equal(['moved', 'last']);
    expect(timers.size).to.equal(0);
  });

  it('fire at once when their time has passed', async () => {
    timers.set('past', at(-1_000));
    await eventually(() => fired.length === 1);
  });

  it('leave what is too far away or too many to the sweeper', () => {
    timers.set('far', at(61_000));
    expect(timers.size).to.equal(0);
    for (let i = 0; i < 1_100; i += 1) timers.set(`k${i}`, at(30_000));
    expect(timers.size).to.equal(1_000);
    timers.set('k5', at(40_000));
    expect(timers.size).to.equal(1_000);
  });

  it('follow the number of keys in memory, not the number of moves', async () => {
    for (let i = 0; i < 200_000; i += 1) timers.set(`k${i % 10}`, at(30_000 + (i % 20_000)));
    expect(timers.size).to.equal(10);
    timers.set('now', at(5));
    await eventually(() => fired.length === 1);
  });
});
