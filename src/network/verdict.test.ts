import { expect } from 'chai';
import { type Case, judge } from './verdict.ts';

const good: Case = {
  receipted: false,
  attempt: 2,
  latestAttempt: 2,
  acceptedElsewhere: false,
  matches: true,
  job: { kind: 'wanted' },
};
const says = (over: Partial<Case>): string => {
  const j = judge({ ...good, ...over });
  return j.kind === 'repeat' ? 'repeat' : `${j.verdict} ${j.billing}`;
};
const cancelled = (reason: 'client_gone' | 'operator' | 'deadline', passedOn: number): Partial<Case> => ({
  job: { kind: 'cancelled', reason, passedOn },
});

describe('verdict', () => {
  it('follows the document’s order: repeat, late, duplicate, rejected, accepted', () => {
    expect(says({})).to.equal('accepted full');
    expect(says({ matches: false })).to.equal('rejected none');
    expect(says({ matches: false, acceptedElsewhere: true })).to.equal('duplicate none');
    expect(says({ matches: false, acceptedElsewhere: true, attempt: 1 })).to.equal('late none');
    expect(says({ matches: false, acceptedElsewhere: true, attempt: 1, receipted: true })).to.equal('repeat');
  });
  it('rejects what was never offered', () => {
    expect(says({ latestAttempt: undefined })).to.equal('rejected none');
    expect(says({ attempt: 3 })).to.equal('rejected none');
  });
  it('calls what nobody waits for any more late', () => {
    expect(says({ job: { kind: 'ended' } })).to.equal('late none');
    expect(says(cancelled('deadline', 3))).to.equal('late none');
  });
  it('bills a cancelled job by the lines that were passed on, if any were', () => {
    expect(says(cancelled('client_gone', 0))).to.equal('late none');
    expect(says(cancelled('client_gone', 3))).to.equal('accepted passedOn');
    expect(says(cancelled('operator', 3))).to.equal('accepted passedOn');
  });
});
