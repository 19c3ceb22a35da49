import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { LauncherFacts } from '../runtime/index.ts';
import { launcherTier, proveIsolation, Surroundings } from './isolation.ts';

const pod = {
  apiServer: '10.96.0.1:443',
  endpoint: 'https://io.example',
  proxy: undefined,
  podIp: '10.244.0.7',
  agentPort: 9440,
};

describe('the isolation of the runtime', () => {
  it('is probed by every way out: public, metadata, API server, DNS, the network, the agent, and what is no TCP', async () => {
    const targets = await new Surroundings(async () => '203.0.113.9').targets(pod);
    expect(targets).to.include.members([
      'tcp:10.96.0.1:443',
      'tcp:203.0.113.9:443',
      'tcp:10.244.0.7:9440',
      'tcp:127.0.0.1:9440',
      'tcp:169.254.169.254:80',
      'tcp:192.0.2.1:443',
      'udp:192.0.2.1:53',
      'dns:kubernetes.default.svc',
      'iouring:',
    ]);
    // the launcher tries 32 at most: one that is left out would never be proved
    expect(targets.length).to.be.at.most(32);
  });

  it('leaves no target out when a name does not resolve', async () => {
    let resolves = true;
    const around = new Surroundings(async () => {
      if (!resolves) throw new Error('no answer');
      return '203.0.113.9';
    });
    const proxied = { ...pod, endpoint: 'http://io.example:8080', proxy: 'http://proxy.example:3128' };
    const before = await around.targets(proxied);
    expect(before).to.include.members(['tcp:203.0.113.9:8080', 'tcp:203.0.113.9:3128']);
    resolves = false;
    expect(await around.targets(proxied)).to.deep.equal(before);
    const never = await new Surroundings(() => Promise.reject(new Error('no answer'))).targets(proxied);
    expect(never).to.include('tcp:192.0.2.2:8080');
    expect(never).to.have.length(before.length);
  });

  it('is proved only when every target that was asked for is blocked', async () => {
    const clock = new FakeClock();
    const targets = ['tcp:10.96.0.1:443', 'tcp:10.244.0.7:9440'];
    const prove = (outcomes: readonly string[]) => {
      const facts = {
        sandbox: { tier: 'sandbox' },
        probe: {
          n: 7,
          tier: 'sandbox',
          at: 5,
          results: outcomes.map((outcome, i) => ({ target: targets[i], outcome })),
        },
      } as unknown as LauncherFacts;
      const port = { ask: async () => 7, facts: () => facts };
      return proveIsolation('Auto', 'sandbox', targets, port, clock, new AbortController().signal).then(
        (isolation) => isolation.tier,
        (error: Error) => error.message,
      );
    };
    expect(await prove(['blocked', 'blocked'])).to.equal('sandbox');
    expect(await prove(['blocked', 'refused'])).to.equal('egress is not closed: tcp:10.244.0.7:9440 refused');
    expect(await prove(['blocked', 'open'])).to.contain('open');
    expect(await prove(['blocked'])).to.contain('not tried');
    expect(launcherTier('Auto', true)).to.equal('none');
  });
});
