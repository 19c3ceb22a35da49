import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { LauncherFacts } from '../runtime/index.ts';
import { type IsolationMode, launcherTier, proveIsolation, Surroundings } from './isolation.ts';

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
      const port = { ask: async () => 7, facts: () => facts, agentPort: 9440 };
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

  describe('by other means than the sandbox', () => {
    const targets = [
      'tcp:10.96.0.1:443',
      'tcp:169.254.169.254:80',
      'udp:192.0.2.1:53',
      'iouring:',
      'tcp:127.0.0.1:9440',
    ];
    /** What is proved when the probe meets this, target by target; a target that is not asked for is not answered. */
    const prove = async (mode: IsolationMode, outcomes: Record<string, string>): Promise<string> => {
      let asked: readonly string[] = [];
      const port = {
        agentPort: 9440,
        ask: async (all: readonly string[]) => {
          asked = all;
          return 3;
        },
        facts: () =>
          ({
            sandbox: { tier: 'none' },
            probe: {
              n: 3,
              tier: 'none',
              at: 5,
              results: asked.map((t) => ({ target: t, outcome: outcomes[t] ?? 'open' })),
            },
          }) as unknown as LauncherFacts,
      };
      return proveIsolation(
        mode,
        launcherTier(mode, false),
        targets,
        port,
        new FakeClock(),
        new AbortController().signal,
      ).then(
        ({ tier, provedAt }) => `${tier} ${provedAt}`,
        (error: Error) => error.message,
      );
    };
    const filtered = {
      'tcp:10.96.0.1:443': 'unreachable',
      'tcp:169.254.169.254:80': 'unreachable',
      'udp:192.0.2.1:53': 'blocked',
    };

    it('InitGuard is proved by a datagram that the kernel itself refuses and connections that are rejected', async () => {
      expect(await prove('InitGuard', filtered)).to.equal('sandbox+policy 5');
      for (const over of [
        { 'udp:192.0.2.1:53': 'open' },
        { 'udp:192.0.2.1:53': 'unreachable' },
        { 'tcp:10.96.0.1:443': 'timeout' },
        { 'tcp:10.96.0.1:443': 'refused' },
        { 'tcp:169.254.169.254:80': 'open' },
      ])
        expect(await prove('InitGuard', { ...filtered, ...over }), JSON.stringify(over)).to.contain('not closed');
    });
    it('PodPolicy is believed unless the metadata service answers', async () => {
      expect(await prove('PodPolicy', { 'tcp:169.254.169.254:80': 'timeout' })).to.equal('podpolicy 5');
      expect(await prove('PodPolicy', {})).to.contain('tcp:169.254.169.254:80 open');
    });
    it('None says none', async () => {
      expect(await prove('None', filtered)).to.match(/^none /);
    });
  });
});
