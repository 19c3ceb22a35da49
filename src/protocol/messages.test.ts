import { expect } from 'chai';
import { readVectors } from '../../test/support/vectors.ts';
import { FrameError, parsePayload } from './frame.ts';
import { type Hello, zHello } from './messages.ts';

const { frames } = readVectors<{ frames: readonly { frame: string }[] }>('frames');
const hello: Hello = JSON.parse(
  frames.find(({ frame }) => frame.includes('"t":"hello"'))?.frame.split('\n')[1] ?? '{}',
);
const many = (n: number): string[] => Array.from({ length: n }, (_, i) => `m${i}:v1`);
const codeOf = (over: object): number => {
  try {
    parsePayload(zHello, { t: 'hello', payload: JSON.stringify({ ...hello, ...over }) });
    return 0;
  } catch (error) {
    return error instanceof FrameError ? error.closeCode : -1;
  }
};

describe('hello', () => {
  it('names at most 1 024 models and jobs', () => {
    const jobs = many(1_025).map((jobId) => ({ jobId, attempt: 1, state: 'result', deltas: 0 }));
    expect(codeOf({ models: many(1_024), jobs: jobs.slice(1) })).to.equal(0);
    expect(codeOf({ models: many(1_025) })).to.equal(4400);
    expect(codeOf({ jobs })).to.equal(4400);
  });
});
