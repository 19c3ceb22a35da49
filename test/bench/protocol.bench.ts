import { TypedDataEncoder, verifyTypedData, Wallet } from 'ethers';
import { Secret } from '../../src/lib/index.ts';
import { createSigner, domainOf, FrameReader, FrameWriter, parseFrame, sha256Hex } from '../../src/protocol/index.ts';
import type { Bench } from './types.ts';

const key = `0x${'42'.repeat(32)}`;
const domain = domainOf('bench', 31337);
const signer = createSigner(new Secret(key));
const keys = { sid: `0x${'1'.repeat(64)}`, node: signer.address } as const;
const payload = JSON.stringify({ jobId: '01J', attempt: 1, from: 7, lines: ['x'.repeat(200)] });

/** What one streamed frame costs both ends together: write (hash, sign) and read (parse, verify). */
export const ours: Bench = {
  name: 'frame written and verified',
  unit: 'frames/s',
  run: (count) => {
    const writer = new FrameWriter('node', domain, signer, keys);
    const reader = new FrameReader('node', domain, keys);
    for (let i = 0; i < count; i++)
      reader.verify(parseFrame(writer.write('job.delta', payload, 1), 1 << 20), signer.address);
  },
  count: 3000,
};

const wallet = new Wallet(key);
const types = {
  Frame: [
    { name: 'type', type: 'string' },
    { name: 'node', type: 'address' },
    { name: 'sid', type: 'bytes32' },
    { name: 'seq', type: 'uint64' },
    { name: 'ts', type: 'uint64' },
    { name: 'bodyHash', type: 'bytes32' },
  ],
};
const ethersDomain = { name: 'Resultity', version: '1', chainId: 31337, salt: `0x${sha256Hex('bench').slice(7)}` };

/** The same work with ethers alone: what the native library and our encoder are compared with. */
export const withEthers: Bench = {
  name: 'the same with ethers alone',
  unit: 'frames/s',
  run: (count) => {
    for (let i = 1; i <= count; i++) {
      const bodyHash = `0x${sha256Hex(payload).slice(7)}`;
      const frame = { type: 'node/job.delta', ...keys, seq: i, ts: 1, bodyHash };
      const sig = wallet.signingKey.sign(TypedDataEncoder.hash(ethersDomain, types, frame)).serialized;
      if (verifyTypedData(ethersDomain, types, frame, sig).toLowerCase() !== signer.address) throw new Error('differs');
    }
  },
  count: 200,
  baselineOf: 'frame written and verified',
};
