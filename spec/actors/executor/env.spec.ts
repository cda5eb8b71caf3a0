import { expect } from 'chai';
import { envFrom, mergeEnv } from '../../../actors/executor/env.ts';

const none = { defaults: [], task: [], run: [], secrets: [], platform: [] };

describe('variables of a container', () => {
  it('never contain a name twice', () => {
    const env = mergeEnv({
      defaults: envFrom({ A: 'default' }),
      task: [...envFrom({ A: 'task', B: 'task' }), { name: 'B', value: 'task again' }],
      run: envFrom({ A: 'run', C: 'run' }),
      secrets: [{ name: 'C', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
      platform: envFrom({ D: 'platform' }),
    });
    expect(env.map(({ name }) => name)).to.deep.equal(['A', 'B', 'C', 'D']);
  });

  it('go by platform, secret, run, task, default in this order', () => {
    const of = (layers: Partial<typeof none>) => mergeEnv({ ...none, ...layers } as never)[0]?.value;
    const [weak, strong] = [envFrom({ X: 'weak' }), envFrom({ X: 'strong' })] as never[];
    expect(of({ defaults: weak!, task: strong! })).to.equal('strong');
    expect(of({ task: weak!, run: strong! })).to.equal('strong');
    expect(of({ run: weak!, secrets: strong! })).to.equal('strong');
    expect(of({ secrets: weak!, platform: strong! })).to.equal('strong');
  });

  it('leave out names that no process can have', () => {
    expect(mergeEnv({ ...none, run: envFrom({ '': 'x', 'A=B': 'y', 'C\0': 'z' }) })).to.deep.equal([]);
  });
});
