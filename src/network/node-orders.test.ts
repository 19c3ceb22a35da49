import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { API_KEY, OTHER_KEY, ServiceRig } from '../../test/support/service-rig.ts';
import { testSigner } from '../../test/support/signer-kit.ts';
import { CLOSE } from '../protocol/index.ts';
import { buildProgram } from './commands/index.ts';

describe('resultity-network node', () => {
  let rig: ServiceRig;
  let dir: string;
  before(async () => {
    rig = await ServiceRig.start({
      admission: {
        policy: 'open',
        hold: true,
        token: (t) => (t === 'for-ops' ? { email: 'ops@example.com' } : undefined),
        allowed: new Set(),
      },
    });
    await rig.publish();
    dir = await mkdtemp(join(tmpdir(), 'resultity-orders-'));
    await writeFile(join(dir, 'admin'), `${API_KEY}\n`);
    await writeFile(join(dir, 'other'), OTHER_KEY);
  });
  after(async () => {
    await rig.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const run = async (key: string, ...args: string[]): Promise<string> => {
    const out: string[] = [];
    const io = { out: (l: string) => void out.push(l), err: () => {}, now: () => 0, signal: AbortSignal.abort() };
    const to = ['--to', rig.url, '--token-file', join(dir, key)];
    const failure = await buildProgram(io, '1')
      .exitOverride()
      .parseAsync(['node', ...args, ...to], { from: 'user' })
      .then(
        () => undefined,
        (e: Error) => e.message,
      );
    return [...out, ...(failure === undefined ? [] : [`error: ${failure}`])].join('\n');
  };

  it('says that there are none, and what is no address', async () => {
    expect(await run('admin', 'list')).to.equal('no node has registered');
    expect(await run('admin', 'list', '--state', 'paused')).to.equal('no node is paused');
    expect(await run('admin', 'drain', '0xabc')).to.contain('"0xabc" is not an address');
  });
  it('approves a pending node, which may connect only then', async () => {
    const node = rig.node('held');
    expect((await node.register()).json).to.include({ state: 'pending' });
    await node.connect();
    expect(await node.gone()).to.equal(CLOSE.forbidden);
    expect(await run('admin', 'list', '--state', 'pending')).to.contain(`${node.node}  pending`);
    expect(await run('admin', 'approve', node.node)).to.contain('registered');
    expect((await node.register()).json.state).to.equal('registered');
    await node.connect();
    expect(node.welcome).to.be.an('object');
  });

  it('pauses and resumes a node by signed frames, and keeps the order over a restart of the service', async () => {
    const node = rig.node('ordered');
    await node.register();
    await run('admin', 'approve', node.node);
    await node.connect();
    expect(await run('admin', 'pause', node.node, '--reason', 'a look')).to.contain('paused');
    expect(JSON.parse(await node.next('control'))).to.deep.equal({ action: 'pause', reason: 'a look' });
    await rig.restart();
    await node.gone();
    expect(await run('admin', 'show', node.node, '--json')).to.contain('"order": "paused"');
    await node.connect();
    expect(node.welcome?.state).to.equal('paused');
    expect(await run('admin', 'resume', node.node)).not.to.contain('paused');
    expect(JSON.parse(await node.next('control')).action).to.equal('resume');
    await run('admin', 'shutdown', node.node, '--grace-ms', '5000');
    expect(JSON.parse(await node.next('control'))).to.include({ action: 'shutdown', graceMs: 5_000 });
    node.cut();
    await node.gone();
  });

  it('says that a shutdown found nobody, and that a drain is kept', async () => {
    const { node } = rig.node('ordered');
    expect(await run('admin', 'shutdown', node)).to.contain('error: the node is not connected');
    expect(await run('admin', 'drain', node)).to.contain('the order is kept');
  });

  it('clears a proved owner, so that another one may register', async () => {
    const node = rig.node('owned');
    expect((await node.register({ enrolment: 'for-ops' })).json.ownerProved).to.equal(true);
    const other = { owner: { email: 'new@example.com' } };
    expect((await node.register(other)).status).to.equal(409);
    expect(await run('admin', 'clear-owner', node.node)).to.contain('(unproved)');
    expect((await node.register(other)).status).to.equal(200);
    expect(await run('admin', 'show', node.node)).to.contain('new@example.com');
  });

  it('sets an incarnation back, so that a clock that ran ahead locks nobody out', async () => {
    const node = rig.node('ahead');
    await node.register();
    await run('admin', 'approve', node.node);
    node.incarnation = 9_000;
    await node.connect();
    node.close();
    node.incarnation = 5;
    await node.connect();
    expect(await node.gone()).to.equal(CLOSE.superseded);
    await run('admin', 'incarnation', node.node, '--incarnation', '5');
    await node.connect();
    expect(node.welcome).to.be.an('object');
  });

  it('revokes a node and takes it back', async () => {
    const node = rig.node('bad');
    await node.register();
    expect(await run('admin', 'revoke', node.node)).to.contain('revoked');
    expect((await node.register()).json.error.code).to.equal('revoked');
    await run('admin', 'approve', node.node);
    expect((await node.register()).status).to.equal(200);
  });

  it('obeys no key without admin, and knows no node that never registered', async () => {
    expect(await run('other', 'list')).to.contain('error: the service answered 401');
    expect(await run('admin', 'pause', testSigner('nobody').address)).to.contain('answered 404: no such node');
    expect(await run('admin', 'pause')).to.contain('error: node pause needs a node');
    expect(await run('admin', 'list', '--state', 'well')).to.contain('answered 400');
  });
});
