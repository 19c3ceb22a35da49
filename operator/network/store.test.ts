import { expect } from 'chai';
import type { ResultityNetwork } from '../../src/api/index.ts';
import type { Floor } from '../../src/config/index.ts';
import { type Sha256, sha256Hex } from '../../src/protocol/index.ts';
import { CliRig } from '../../test/support/cli-rig.ts';
import { ConfigMapStateStore } from './store.ts';

const snapshot = (version: number): { bytes: Uint8Array; digest: Sha256 } => {
  const bytes = Buffer.from(JSON.stringify({ version }));
  return { bytes, digest: sha256Hex(bytes) };
};
const floor = (version: number, digest: Sha256): Floor => ({
  network: 'testnet',
  chainId: 31337,
  environment: 'testnet',
  rootVersion: 1,
  epoch: 1,
  version,
  digest,
  accepted: [digest],
});

describe('what the operator keeps of a network', () => {
  let rig: CliRig;
  let store: ConfigMapStateStore;
  beforeEach(async () => {
    rig = await CliRig.start();
    const network = { metadata: { name: 'testnet', namespace: 'nodes', uid: 'u' } } as ResultityNetwork;
    store = new ConfigMapStateStore(rig.client, network, () => Promise.resolve());
  });
  afterEach(() => rig.stop());

  const accept = async (version: number): Promise<Sha256> => {
    const { bytes, digest } = snapshot(version);
    await store.saveSnapshot(digest, bytes);
    await store.saveFloor(floor(version, digest));
    return digest;
  };
  const versions = async (...all: Sha256[]): Promise<boolean[]> =>
    Promise.all(all.map(async (digest) => (await store.loadSnapshot(digest)) !== undefined));

  it('holds the snapshot in force and the one before it, for those who compare', async () => {
    const [one, two] = [await accept(1), await accept(2)];
    await store.saveFloor({ ...floor(2, two), rootVersion: 2 });
    expect(await versions(one, two)).to.deep.equal([true, true]);
    const three = await accept(3);
    expect(await versions(one, two, three)).to.deep.equal([false, true, true]);
  });
});
