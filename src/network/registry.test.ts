import { expect } from 'chai';
import { registryUnder } from '../../test/support/registry-rig.ts';
import { SignerKit } from '../../test/support/signer-kit.ts';
import { Registry } from './registry.ts';

describe('registry', () => {
  const kit = new SignerKit();
  const made = kit.publish({ isolation: { minTier: 'sandbox' } });
  const setUp = () => registryUnder(kit, made);
  const { document, model } = setUp();
  const { epoch, version } = made.snapshot;

  it('goes registered → active by a good heartbeat → out of rotation by missed ones → active again', async () => {
    const { clock, registry, node, beat, hello } = setUp();
    registry.connected(hello);
    expect(registry.state(node)).to.equal('registered');
    beat();
    expect(registry.state(node)).to.equal('active');
    expect(registry.view(node).offers).to.equal(true);
    await clock.advance(45_001);
    expect(registry.state(node)).to.equal('out_of_rotation');
    expect(registry.status(node)?.reasons).to.include('HeartbeatStale');
    beat();
    expect(registry.state(node)).to.equal('active');
  });
  it('is not moved by a jump of the wall clock', () => {
    const { clock, registry, node, beat, hello } = setUp();
    registry.connected(hello);
    beat();
    clock.jumpWall(86_400_000);
    expect(registry.state(node)).to.equal('active');
  });
  it('does not become active below the isolation tier or the agent version, or with another digest', () => {
    for (const over of [
      { isolation: { tier: 'podpolicy', provedAt: 1 } },
      { versions: { agent: '0.1.0-rc.1', runtime: '1' } },
      { models: [{ model: model.ref, digest: `sha256:${'0'.repeat(64)}`, state: 'active', loaded: true }] },
      { models: [{ model: model.ref, digest: model.digest, state: 'active', loaded: false }] },
    ]) {
      const { registry, node, beat, hello } = setUp();
      registry.connected(hello);
      beat(over);
      expect(registry.state(node), JSON.stringify(over)).to.equal('registered');
    }
  });
  it('shows heartbeats over HTTP but offers nothing without a session', () => {
    const { registry, node, beat } = setUp();
    beat();
    expect(registry.state(node)).to.equal('registered');
    expect(registry.status(node)?.lastHeartbeatAgeMs).to.equal(0);
  });
  it('keeps state, floor and incarnation over a restart', () => {
    const { clock, store, registry, node, beat, hello } = setUp();
    registry.connected({ ...hello, incarnation: 42 });
    beat();
    const again = new Registry(store, clock, 3_600_000);
    expect(again.status(node)).to.deep.include({
      state: 'out_of_rotation',
      floor: { epoch, version },
      incarnation: 42,
    });
  });
  it('stops offering to a node that is too far behind the configuration', async () => {
    const { clock, registry, node, beat, hello } = setUp();
    registry.connected(hello);
    beat();
    registry.configure({ document, digest: `sha256:${'1'.repeat(64)}`, since: clock.monotonic() });
    expect(registry.view(node).offers).to.equal(true);
    await clock.advance(3_600_001);
    beat();
    expect(registry.view(node).offers).to.equal(false);
  });
});
