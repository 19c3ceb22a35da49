import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { repoRoot } from '../../hack/lib/index.ts';
import { e2e, eventually, RUNTIME } from './setup.ts';

/** A namespace that refuses nothing: the guard's init container has NET_ADMIN, which `baseline` and `restricted` refuse. */
const GUARDED = 'resultity-guarded';

describe('other ways of shutting the engine in', function () {
  this.timeout(400_000);
  const k = (...args: string[]): Promise<string> => e2e().target.kubectl(['-n', GUARDED, ...args]);
  const apply = (object: object): Promise<string> =>
    e2e().target.kubectl(['-n', GUARDED, 'apply', '-f', '-'], JSON.stringify(object));
  const read = (file: string): object => parse(readFileSync(join(repoRoot, 'hack/demo', file), 'utf8'));
  const node = (name: string, isolation: string): object => ({
    apiVersion: 'resultity.com/v1alpha1',
    kind: 'ResultityNode',
    metadata: { name },
    spec: {
      networkRef: { name: 'demo' },
      owner: { email: 'you@example.com' },
      isolation,
      placement: { gpu: { accelerator: 'cpu', count: 1 } },
      runtime: { resources: { requests: { cpu: '50m', memory: '256Mi' } } },
      drain: { timeoutSeconds: 10 },
    },
  });

  before(async function () {
    if (RUNTIME !== 'sim' || !e2e().target.cluster) return this.skip(); // a second real engine does not fit the machine
    await e2e().target.kubectl(['create', 'namespace', GUARDED]);
    await k('apply', '-f', join(e2e().installed.dir, 'kubernetes/root-configmap.yaml'));
    await apply(read('network.yaml'));
  });
  after(async () => {
    await k('delete', 'rnode,rnet', '--all', '--ignore-not-found', '--timeout=120s');
    await e2e().target.kubectl(['delete', 'namespace', GUARDED, '--ignore-not-found', '--timeout=120s']);
  });

  const isolationOf = async (name: string): Promise<{ tier?: string; provedAt?: string } | undefined> =>
    JSON.parse(await k('get', 'rnode', name, '-o', 'json')).status?.agent?.isolation;
  const state = (): Promise<string> => k('get', 'rnode,pod,events', '-o', 'wide');

  it('InitGuard: a packet filter by UID, proved by the probe, and the node serves', async () => {
    await apply(node('guarded', 'InitGuard'));
    await eventually(
      'Ready',
      async () => {
        const { status } = JSON.parse(await k('get', 'rnode', 'guarded', '-o', 'json'));
        return status?.conditions?.some(
          (c: { type: string; status: string }) => c.type === 'Ready' && c.status === 'True',
        );
      },
      180_000,
      state,
    );
    const { tier, provedAt } = (await isolationOf('guarded')) ?? {};
    expect(tier).to.equal('sandbox+policy');
    expect(provedAt).to.be.a('string');
    const tryOut = (container: string, argv: string[]): Promise<string> =>
      k('exec', 'guarded', '-c', container, '--', ...argv).catch((e: Error) => e.message);
    const python = `import socket
try:
    socket.create_connection(('10.96.0.1', 443), 3); print('open')
except OSError as e: print('refused', e.errno)`;
    expect(await tryOut('runtime', ['python3', '-c', python]), 'any process of the runtime’s UID').to.contain(
      'refused',
    );
    const js = `require('net').connect(443, '10.96.0.1', () => { console.log('open'); process.exit(0) }).on('error', (e) => console.log(e.code))`;
    expect(await tryOut('agent', ['/usr/local/bin/node', '-e', js]), 'the agent has its way out').to.contain('open');
  });

  it('PodPolicy: a NetworkPolicy for the pod, and a tier that says no more than that', async () => {
    await apply(node('policed', 'PodPolicy'));
    const isolation = await eventually(
      'a proved tier',
      async () => {
        const now = await isolationOf('policed');
        return now?.tier !== undefined && now.tier !== 'none' && now;
      },
      180_000,
      state,
    );
    expect(isolation.tier).to.equal('podpolicy');
    const policy = JSON.parse(await k('get', 'networkpolicy', 'policed-egress', '-o', 'json'));
    expect(policy.spec.policyTypes).to.deep.equal(['Egress']);
    const pod = JSON.parse(await k('get', 'pod', 'policed', '-o', 'json'));
    for (const [label, value] of Object.entries(policy.spec.podSelector.matchLabels))
      expect(pod.metadata.labels[label], label).to.equal(value);
    expect(pod.spec.containers[0].securityContext.capabilities.drop).to.deep.equal(['ALL']);
  });
});
