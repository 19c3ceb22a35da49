import { parseSnapshotDocument } from '../../src/config/index.ts';
import { Registry } from '../../src/network/registry.ts';
import { SqliteStore } from '../../src/network/sqlite-store.ts';
import type { NodeRow } from '../../src/network/store.ts';
import { newNonce } from '../../src/protocol/index.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeNode } from './fake-node.ts';
import { type SignerKit, testSigner } from './signer-kit.ts';

/** A registry under a published configuration, and one admitted node whose heartbeats say that it serves the first model. */
export const registryUnder = (kit: SignerKit, made: ReturnType<SignerKit['publish']>, row: Partial<NodeRow> = {}) => {
  const document = parseSnapshotDocument(made.bytes);
  const { epoch, version, digest } = made.snapshot;
  const model = document.models[0]!;
  const clock = new FakeClock();
  const store = new SqliteStore(':memory:');
  const registry = new Registry(store, clock, 3_600_000);
  registry.configure({ document, digest, since: 0 });
  const signer = testSigner('n');
  const fake = new FakeNode({ url: 'http://x', domain: kit.domain, signer, network: signer.address });
  const { node } = fake;
  registry.save({
    ...{ node, owner: { kind: 'email', id: 'a@b.cd' }, proved: false, admission: 'admitted', order: 'none' },
    ...{ everActive: false, incarnation: 0, floor: { epoch: 0, version: 0 }, registeredAt: 1 },
    metadata: { agent: '1', runtime: '1', labels: {} },
    ...row,
  });
  const beat = (over = {}) =>
    registry.heartbeat(node, fake.heartbeat(model.ref, model.digest, { epoch, version, digest }, over));
  return { document, model, clock, store, registry, node, beat, hello: fake.hello(newNonce()) };
};
