import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { API_KEY, ServiceRig } from '../../test/support/service-rig.ts';
import { testSigner } from '../../test/support/signer-kit.ts';
import { CLOSE } from '../protocol/index.ts';

describe('roots by upload', () => {
  let rig: ServiceRig;
  beforeEach(async () => {
    rig = await ServiceRig.start();
    await rig.publish();
  });
  afterEach(() => rig.stop());
  const upload = async (answer: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${rig.url}/v1/admin/roots`, { method: 'POST', body: answer });
    return { status: response.status, text: await response.text() };
  };

  it('takes the next root, serves it as it was given, and has nodes come back under it', async () => {
    const node = await rig.activeNode();
    const answer = rig.kit.addRoot();
    expect(JSON.parse((await upload(answer)).text)).to.deep.include({ taken: true, root: { version: 2 } });
    expect(await (await fetch(`${rig.url}/v1/roots/2`)).text()).to.equal(answer);
    expect(await readFile(join(rig.dir, 'roots/2.json'), 'utf8')).to.equal(answer);
    expect(JSON.parse(await node.next('bye'))).to.include({ reason: 'restart' });
    expect(await node.gone()).to.equal(CLOSE.restart);
    await node.connect();
    expect(JSON.parse(await node.next('challenge')).rootVersion).to.equal(2);
    expect(JSON.parse((await upload(answer)).text)).to.deep.include({ taken: false });
    rig.beat(node);
    const asked = rig.post(
      '/v1/chat/completions',
      { model: rig.model.ref, messages: [{ role: 'user', content: 'hi' }] },
      { authorization: `Bearer ${API_KEY}` },
    );
    const { offer, payload } = await node.offer();
    node.accept(offer);
    node.send('job.result', node.result(offer, payload, '{}'));
    expect((await node.receipt()).receipt.rootVersion).to.equal(2);
    await asked;
    await rig.restart();
    expect(rig.service.publications.root.version).to.equal(2);
  });

  it('refuses a root that skips one, lacks signatures, has expired, or would lock this service out', async () => {
    const { kit } = rig;
    const refused = async (answer: string): Promise<string> => {
      kit.rootVersion = 1;
      kit.epoch = 1;
      const { status, text } = await upload(answer);
      return `${status} ${/refused (\w+)/.exec(text)?.[1] ?? text}`;
    };
    expect(await refused(kit.addRoot({ version: 3 }))).to.equal('400 root_gap');
    expect(await refused(kit.addRoot({}, kit.keys.root.slice(0, 1)))).to.equal('400 threshold_not_met');
    expect(await refused(kit.addRoot({ expiresAt: 5 }))).to.equal('400 root_expired');
    const roles = kit.rootDocument().roles;
    const ticket = { threshold: 1, keys: [testSigner('new ticket').address] };
    expect(await refused(kit.addRoot({ roles: { ...roles, ticket } }))).to.equal('400 wrong_key');
    expect(await refused('no root')).to.equal('400 bad_json');
    expect(rig.service.publications.root.version).to.equal(1);
    expect((await upload(kit.addRoot())).status).to.equal(200);
  });

  it('says that a publication is needed after an epoch rises, starts without one, and takes a lower version then', async () => {
    await rig.publish();
    const answer = JSON.parse((await upload(rig.kit.addRoot({ epoch: 2 }))).text);
    expect(answer.publishAnew).to.be.a('string');
    await rig.restart();
    expect(rig.service.publications.reference).to.equal(null);
    expect((await fetch(`${rig.url}/v1/config`)).status).to.equal(503);
    expect((await rig.publish({ version: 1 })).status).to.equal(200);
    expect(rig.config).to.include({ epoch: 2, version: 1 });
  });
});
