import { expect } from 'chai';
import { meanSd, quantile } from './stats.ts';

describe('Bench statistics', () => {
  it('gives the mean with the standard deviation of a sample', () => {
    expect(meanSd([2, 4, 4, 4, 5, 5, 7, 9], 2)).to.equal('5.00 ± 2.14');
    expect(meanSd([3], 1)).to.equal('3.0 ± 0.0');
  });

  it('takes quantiles by nearest rank, whatever the order', () => {
    const all = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([0.01, 0.5, 0.99, 1].map((p) => quantile(all, p))).to.deep.equal([1, 50, 99, 100]);
    expect(quantile([], 0.5)).to.be.NaN;
  });
});
