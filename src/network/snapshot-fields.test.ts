import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeNode } from '../../test/support/fake-node.ts';
import { SignerKit, testModel, testSigner } from '../../test/support/signer-kit.ts';
import { parseSnapshotDocument } from '../config/index.ts';
import { newNonce } from '../protocol/index.ts';
import { readRequest } from './openai-request.ts';
import { Registry } from './registry.ts';
import { SqliteStore } from './sqlite-store.ts';

/** One node that has served and goes on saying that it does, under a snapshot. */
const nodeUnder = (over: Record<string, unknown>, subclouds: string[] = [], environment?: 'testnet' | 'mainnet') => {
  const kit = new SignerKit(environment ? { environment } : {});
  const made = kit.publish(over);
  const document = parseSnapshotDocument(made.bytes);
  const { epoch, version, digest } = made.snapshot;
  const registry = new Registry(new SqliteStore(':memory:'), new FakeClock(), 3_600_000);
  registry.configure({ document, digest, since: 0 });
  const signer = testSigner('n');
  const fake = new FakeNode({ url: 'http://x', domain: kit.domain, signer, network: signer.address });
  registry.save({
    node: fake.node,
    owner: { kind: 'email', id: 'a@b.cd' },
    proved: false,
    admission: 'admitted',
    order: 'none',
    everActive: true,
    incarnation: 0,
    floor: { epoch: 0, version: 0 },
    registeredAt: 1,
    metadata: { agent: '1', runtime: '1', labels: {} },
  });
  const model = document.models[0]!;
  registry.connected(fake.hello(newNonce()));
  registry.heartbeat(fake.node, fake.heartbeat(model.ref, model.digest, { epoch, version, digest }, { subclouds }));
  return {
    document,
    state: registry.state(fake.node),
    why: registry.status(fake.node)?.reasons,
    view: registry.view(fake.node),
  };
};

describe('what a snapshot says of nodes', () => {
  for (const environment of ['testnet', 'mainnet'] as const)
    it(`participation.${environment} decides whether nodes of that environment get offers, and of no other`, () => {
      const other = environment === 'testnet' ? 'mainnet' : 'testnet';
      const on = nodeUnder({ participation: { [environment]: true, [other]: false } }, [], environment);
      expect([on.state, on.view.offers]).to.deep.equal(['active', true]);
      const off = nodeUnder({ participation: { [environment]: false, [other]: true } }, [], environment);
      expect([off.state, off.view.offers, off.why]).to.deep.equal(['out_of_rotation', false, ['ParticipationOff']]);
    });

  it('a model for some subclouds gets offers on their nodes only, and callers of others are told', () => {
    const subclouds = ['eu', 'us'].map((id) => ({ id, access: 'semi-open', filters: {} }));
    const over = { subclouds, models: [testModel('tiny', { subclouds: ['eu'] })] };
    expect([...nodeUnder(over).view.models]).to.deep.equal([]);
    expect([...nodeUnder(over, ['us']).view.models]).to.deep.equal([]);
    const { document, view } = nodeUnder(over, ['us', 'eu']);
    expect([...view.models.keys()]).to.deep.equal(['tiny:v1']);
    const ask = (subcloud: string | undefined) =>
      readRequest(
        'chat.completions',
        Buffer.from(JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'x' }] })),
        { priority: undefined, deadlineMs: undefined, subcloud },
        { id: 'k', maxPriority: 9, maxDeadlineMs: 1_000 } as never,
        document,
        0,
      ).job.model;
    expect(ask('eu')).to.equal('tiny:v1');
    expect(ask(undefined)).to.equal('tiny:v1');
    expect(() => ask('us')).to.throw('tiny:v1 is not served in subcloud us');
  });
});
