import { expect } from 'chai';
import { quantityOf } from '../../../actors/executor/quantity.ts';

describe('quantity', () => {
  it('reads what Kubernetes reads', () => {
    expect(['1', '128Mi', '1.5Gi', '500m', '2k', '1e3', '.5', '3E'].map(quantityOf)).to.deep.equal([
      1, 134_217_728, 1_610_612_736, 0.5, 2000, 1000, 0.5, 3e18,
    ]);
  });

  it('refuses everything else', () => {
    expect(['', 'x', '1 Gi', '1KB', '1ki', 'Mi'].map(quantityOf)).to.deep.equal(Array(6).fill(undefined));
  });
});
