import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { guardVerdict, type LauncherFacts, nothingOpen } from '../../src/runtime/index.ts';
import { facts, NODE_ID, resultityNetwork, resultityNode } from '../../test/support/node-facts.ts';
import { desiredPod } from './pod.ts';
import { podPolicy } from './pod-guard.ts';
import { prepare } from './prepare.ts';

const inputOf = (isolation: 'Auto' | 'InitGuard' | 'PodPolicy', network: object = {}, spec: object = {}) => {
  const base = facts({ node: resultityNode({ isolation, ...spec }, { nodeId: NODE_ID }) });
  const { input } = prepare({ ...base, network: { ...base.network, object: resultityNetwork(network) } as never });
  if (!input) throw new Error('these facts make no pod');
  return input;
};

describe('a pod whose engine is shut in by other means than the sandbox', () => {
  it('has a first init container with NET_ADMIN alone for InitGuard, and no other pod has it', () => {
    const { spec } = desiredPod(inputOf('InitGuard', {}, { runtime: { securityContext: { runAsUser: 2345 } } }), {});
    const [guard, agent] = spec?.initContainers ?? [];
    expect(agent?.name).to.equal('agent');
    expect(guard).to.deep.include({ name: 'egress-guard', image: agent?.image });
    expect(guard?.restartPolicy).to.equal(undefined);
    expect(guard?.securityContext).to.deep.include({
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
      allowPrivilegeEscalation: false,
    });
    expect(guard?.command?.[1]).to.contain('meta skuid 2345 counter reject');
    expect(desiredPod(inputOf('Auto'), {}).spec?.initContainers?.map((c) => c.name)).to.deep.equal(['agent']);
  });

  it('has a policy for PodPolicy that selects it alone and opens the ports that its agent needs', () => {
    const input = inputOf('PodPolicy', {
      endpoint: 'https://io.example:8443',
      tls: { proxy: 'http://proxy.example:3128' },
      sources: { mirrors: [{ from: 'a.example', to: 'https://mirror.example:5001' }] },
    });
    const spec = podPolicy(input)?.spec as never as {
      podSelector: { matchLabels: object };
      egress: { ports: { port: number }[]; to?: { ipBlock: { except: string[] } }[] }[];
    };
    expect(desiredPod(input, {}).metadata?.labels).to.include(spec.podSelector.matchLabels);
    expect(spec.egress.map((e) => e.ports.map((p) => p.port))).to.deep.equal([
      [53, 53],
      [80, 443, 3128, 5001, 6443, 8443],
    ]);
    expect(spec.egress[1]?.to?.[0]?.ipBlock.except).to.deep.equal(['169.254.0.0/16']);
    const other = desiredPod(inputOf('Auto'), {}).metadata?.labels;
    expect(other).not.to.include(spec.podSelector.matchLabels);
    expect(podPolicy(inputOf('Auto'))).to.equal(undefined);
  });

  it('lets the runtime’s user out nowhere, as its probe proves, and nobody else be hindered', function () {
    this.timeout(60_000);
    const tools = ['/usr/sbin/nft', '/usr/bin/python3', '/usr/bin/setpriv', '/usr/bin/unshare'].every(existsSync);
    const may = tools && process.getuid?.() === 0 && spawnSync('/usr/bin/unshare', ['-n', 'true']).status === 0;
    if (!may) {
      console.warn('skipped: needs root, nft, python3, setpriv and network namespaces');
      return this.skip();
    }
    const launcher = execFileSync('cat', [join(import.meta.dirname, '../../src/runtime/launcher.py')]).toString(
      'base64',
    );
    const nft = desiredPod(inputOf('InitGuard'), {}).spec?.initContainers?.[0]?.command?.[1] ?? '';
    const targets = ['tcp:192.0.2.1:443', 'tcp:169.254.169.254:80', 'udp:192.0.2.1:53', 'dns:kubernetes.default.svc'];
    const as = (uid: number): string =>
      `setpriv --reuid ${uid} --regid ${uid} --clear-groups python3 -c "$SOURCE" --probe '${JSON.stringify(targets)}'`;
    const script = [
      'set -e',
      'ip link set lo up',
      'ip link add v0 type veth peer name v1',
      'ip addr add 192.0.2.10/24 dev v0',
      'ip link set v0 up',
      'ip link set v1 up',
      'ip route add default via 192.0.2.1',
      'SOURCE=$(echo "$LAUNCHER" | base64 -d)',
      'nft "$RULES"',
      'nft "$RULES"',
      as(2000),
      as(10001),
    ].join('\n');
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LAUNCHER: launcher, RULES: nft };
    const out = execFileSync('/usr/bin/unshare', ['-n', 'sh', '-c', script], { env }).toString().trim().split('\n');
    const [runtime, agent] = out.map(
      (line) => ({ probe: { n: 1, at: 5, tier: 'none', results: JSON.parse(line) } }) as unknown as LauncherFacts,
    );
    expect(guardVerdict(runtime!, 1, targets)).to.deep.equal({ proved: true, at: 5 });
    expect(guardVerdict(agent!, 1, targets).proved).to.equal(false);
    expect(nothingOpen(agent!, 1, ['udp:192.0.2.1:53']).proved).to.equal(false);
  });
});
