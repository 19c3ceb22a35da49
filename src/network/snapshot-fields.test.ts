import { expect } from 'chai';
import { registryUnder } from '../../test/support/registry-rig.ts';
import { SignerKit, testModel } from '../../test/support/signer-kit.ts';
import { readRequest } from './openai-request.ts';

/** One node that has served and goes on saying that it does, under a snapshot. */
const nodeUnder = (over: Record<string, unknown>, subclouds: string[] = [], environment?: 'testnet' | 'mainnet') => {
  const kit = new SignerKit(environment ? { environment } : {});
  const { document, registry, node, beat, hello } = registryUnder(kit, kit.publish(over), { everActive: true });
  registry.connected(hello);
  beat({ subclouds });
  return {
    document,
    state: registry.state(node),
    why: registry.status(node)?.reasons,
    view: registry.view(node),
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
