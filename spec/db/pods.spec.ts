import { expect } from 'chai';
import pino from 'pino';
import { type ExecutorState, newExecutor } from '../../actors/executor/executor-state.ts';
import { currentPods, duePods, loadPods, podsThatExist, savePods } from '../../db/pods.ts';
import { type Database, openDatabase } from '../../db/pool.ts';
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts';

describe('rows of executors', () => {
  let fresh: FreshDatabase;
  let database: Database;

  before(async () => {
    fresh = await freshDatabase();
    database = await openDatabase({ url: fresh.url, poolSize: 4, log: pino({ level: 'silent' }) });
  });
  after(async () => {
    await database.close();
    await fresh.drop();
  });
  beforeEach(() => database.sql.query({ name: 'empty pod', text: 'delete from pod' }, []));

  const save = (...states: ExecutorState[]) => database.transaction(tx => savePods(tx, states));
  const loaded = async (key: string) => (await loadPods(database.sql, [key]))[0]!;
  const anExecutor = (key: string, changes: Partial<ExecutorState> = {}): ExecutorState => ({
    ...newExecutor(key),
    stage: 'live',
    podName: `pod-${key}`,
    ...changes,
  });

  it('come back as they were written, with the next version', async () => {
    const state = anExecutor('7.a0.1', {
      incarnation: 2,
      wakeAt: new Date('2026-11-24T12:00:00.123Z'),
      machine: { over: true, stop: { reason: 'said so', graceSeconds: 3 } },
    });
    expect([...(await save(state))]).to.deep.equal(['7.a0.1']);
    expect(await loaded('7.a0.1')).to.deep.equal({ ...state, version: 1 });
  });

  it('are written only over the version they were loaded with', async () => {
    await save(anExecutor('7.a0.1'));
    const first = await loaded('7.a0.1');
    expect([...(await save({ ...first, stage: 'done' }))]).to.deep.equal(['7.a0.1']);
    expect([...(await save({ ...first, stage: 'collecting' }, anExecutor('7.b.1')))]).to.deep.equal(['7.b.1']);
    expect((await loaded('7.a0.1')).stage).to.equal('done');
  });

  it('are born once: the second birth loses', async () => {
    await save(anExecutor('7.a0.1'));
    expect([...(await save(anExecutor('7.a0.1', { stage: 'done' })))]).to.deep.equal([]);
  });

  it('are loaded together, and those that do not exist are left out', async () => {
    await save(anExecutor('7.a0.1'), anExecutor('8.a0.1'), anExecutor('7.odd.name.2'));
    const keys = (await loadPods(database.sql, ['7.a0.1', '7.odd.name.2', '9.a0.1'])).map(({ key }) => key);
    expect(keys.sort()).to.deep.equal(['7.a0.1', '7.odd.name.2']);
  });

  it('are due in the order of their time', async () => {
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    await save(
      anExecutor('1.a.1', { wakeAt: at(2) }),
      anExecutor('2.a.1', { wakeAt: at(1) }),
      anExecutor('3.a.1', { wakeAt: at(9) }),
      anExecutor('4.a.1'),
    );
    expect(await duePods(database.sql, at(5), 10)).to.deep.equal(['2.a.1', '1.a.1']);
    expect(await duePods(database.sql, at(5), 1)).to.deep.equal(['2.a.1']);
  });

  it('tell which pods are there as far as executors know', async () => {
    await save(
      anExecutor('1.a.1', { stage: 'creating' }),
      anExecutor('2.a.1', { incarnation: 3 }),
      anExecutor('3.a.1', { stage: 'done' }),
      anExecutor('4.a.1', { stage: 'terminating' }),
    );
    const existing = await podsThatExist(database.sql);
    expect(existing.map(({ key }) => key).sort()).to.deep.equal(['2.a.1', '4.a.1']);
    expect(await currentPods(database.sql, ['2.a.1', '9.a.1'])).to.deep.equal([
      { key: '2.a.1', stage: 'live', incarnation: 3, podName: 'pod-2.a.1' },
    ]);
  });
});
