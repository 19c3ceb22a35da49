import { expect } from 'chai';
import { factsOf, model, WHY_NOT_CASES } from '../../test/support/why-not-cases.ts';
import { reasons } from '../api/index.ts';
import { whyNot, whyNotLines } from './index.ts';

describe('why-not: each situation is named, explained, and says what to do', () => {
  for (const c of WHY_NOT_CASES)
    it(c.title, () => {
      const answer = whyNot(factsOf(c));
      const text = whyNotLines(answer, true).join('\n');
      expect(answer.answer, text).to.equal(c.answer);
      expect(answer.findings[0]?.reason, text).to.equal(c.reason);
      expect(text).to.contain(c.says);
      for (const f of answer.findings) {
        expect(f.reason in reasons, f.reason).to.equal(true);
        expect(f.fix, f.reason).to.not.equal('');
      }
    });

  it('says the same words as the condition that the operator writes', () => {
    const full = WHY_NOT_CASES.find((c) => c.title === 'node full')!;
    expect(whyNot(factsOf(full)).findings[0]?.message).to.equal(
      'no GPU is free for qwen3-32b:v2 (needs 71 680 MiB): NVIDIA-H200 all 8 in use',
    );
  });

  it('offers another model that a free GPU would hold', () => {
    const small = WHY_NOT_CASES.find((c) => c.title === 'memory too small')!;
    expect(whyNot(factsOf(small)).instead).to.equal('qwen3-8b:v2');
    expect(whyNot(factsOf({ ...small, models: [model('qwen3-32b')] })).instead).to.equal(undefined);
  });

  it('judges nothing of GPUs where Kubernetes nodes may not be looked at', () => {
    const answer = whyNot({ ...factsOf(WHY_NOT_CASES[0]!), offers: undefined });
    expect(answer).to.deep.include({ answer: 'fits', findings: [], pools: [], nodes: [] });
  });
});
