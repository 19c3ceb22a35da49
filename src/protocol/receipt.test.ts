import { expect } from 'chai';
import { Secret } from '../lib/secret.ts';
import { domainOf } from './eip712.ts';
import type { ReceiptPair } from './messages.ts';
import { resultHash, verifyReceipt } from './receipt.ts';
import { createSigner, signStruct } from './signature.ts';
import { sha256Hex } from './values.ts';

const domain = domainOf('receipts', 1);
const node = createSigner(new Secret(`0x${'11'.repeat(32)}`));
const online = createSigner(new Secret(`0x${'22'.repeat(32)}`));
const output = 'The capital of France is Paris.';
const result = {
  jobId: 'j1',
  attempt: 1,
  node: node.address,
  model: 'm:v1',
  modelDigest: sha256Hex('m'),
  configDigest: sha256Hex('c'),
  requestHash: sha256Hex('r'),
  outputHash: sha256Hex(output),
  promptTokens: 3,
  completionTokens: 8,
  finishReason: 'stop' as const,
  finishedAt: 1000,
};
const receipt = {
  jobId: 'j1',
  attempt: 1,
  node: node.address,
  resultHash: resultHash(domain, result),
  verdict: 'accepted' as const,
  rootVersion: 2,
  receivedAt: 2000,
};
const pair: ReceiptPair = {
  result,
  resultSig: signStruct(node, domain, 'JobResult', result),
  receipt,
  sig: signStruct(online, domain, 'JobReceipt', receipt),
  signer: online.address,
};
const authority = { rootVersion: 2, keys: [online.address], issuedAt: 1500 };
const failed = (
  p: ReceiptPair,
  a = [authority as Parameters<typeof verifyReceipt>[2][number]],
  out = output,
): string[] =>
  verifyReceipt(domain, p, a, out)
    .filter((c) => !c.ok)
    .map((c) => c.name);

describe('offline check of a receipt', () => {
  it('passes all five checks for an honest pair', () => {
    expect(failed(pair)).to.deep.equal([]);
    expect(verifyReceipt(domain, pair, [authority], output)).to.have.length(5);
  });
  it('fails the result when one token more is claimed', () => {
    expect(failed({ ...pair, result: { ...result, completionTokens: 9 } })).to.deep.equal(['result', 'joined']);
  });
  it('fails the receipt when the verdict is altered or the signer is no online key of the named root', () => {
    expect(failed({ ...pair, receipt: { ...receipt, verdict: 'late' } })).to.deep.equal(['receipt']);
    expect(failed(pair, [{ ...authority, keys: [node.address] }])).to.deep.equal(['receipt']);
    expect(failed(pair, [])).to.deep.equal(['receipt', 'time']);
  });
  it('fails the time before the root and later than an hour after its successor', () => {
    expect(failed(pair, [{ ...authority, issuedAt: 2001 }])).to.deep.equal(['time']);
    expect(failed(pair, [{ ...authority, succeededAt: 2000 - 3_600_001 + 0 }])).to.deep.equal(['time']);
    expect(failed(pair, [{ ...authority, succeededAt: 1999 }])).to.deep.equal([]);
  });
  it('fails the output when it is not what was signed', () => {
    expect(failed(pair, [authority], 'Lyon.')).to.deep.equal(['output']);
  });
});
