import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { NetworkApi } from '../../hack/demo/ask.ts';
import { NETWORK_HOST, SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { Load } from './load.ts';
import { e2e, eventually } from './setup.ts';

const NODE_PORT = 30443;
/** Longer than a machine's lease lives, so that Kubernetes takes the machines for lost when it wakes. `RESULTITY_OUTAGE_MS` for a longer one. */
const OUTAGE_MS = Number(process.env.RESULTITY_OUTAGE_MS ?? 75_000);

describe('an API server that answers nobody', function () {
  this.timeout(OUTAGE_MS + 400_000);
  let frozen = false;
  before(async function () {
    const { target } = e2e();
    if (!target.cluster) return this.skip();
    // callers reach the network past the API server, which a port-forward does not
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'callers', namespace: SYSTEM_NAMESPACE },
      spec: {
        type: 'NodePort',
        selector: { 'app.kubernetes.io/component': 'network' },
        ports: [{ port: 8443, targetPort: 'https', nodePort: NODE_PORT }],
      },
    };
    await target.kubectl(['apply', '-f', '-'], JSON.stringify(service));
    const open = (): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect(NODE_PORT, target.cluster?.nodeAddress, () => resolve(socket.destroy() !== undefined));
        socket.once('error', () => resolve(false));
      });
    await eventually('the port is open', open);
  });
  after(async () => {
    if (frozen) e2e().target.cluster?.freeze('kube-apiserver', false);
    await e2e().target.kubectl(['-n', SYSTEM_NAMESPACE, 'delete', 'service', 'callers', '--ignore-not-found']);
  });

  it('stops no job and no pod; when it is back everything settles and nothing was deleted', async () => {
    const { target, installed, get, condition } = e2e();
    const { cluster } = target;
    if (!cluster) throw new Error('no cluster of our own');
    const uids = async (): Promise<string[]> => {
      const { items } = JSON.parse(await target.kubectl(['get', 'pods', '-A', '-o', 'json']));
      return items
        .map((p: { metadata: { name: string; uid: string } }) => `${p.metadata.name} ${p.metadata.uid}`)
        .sort();
    };
    const before = await uids();
    const restarts = async (): Promise<number[]> => {
      const { status } = await get('pod', 'demo-0');
      return [...status.initContainerStatuses, ...status.containerStatuses].map((c) => c.restartCount);
    };
    const restarted = await restarts();
    const api = await NetworkApi.open(
      `https://${cluster.nodeAddress}:${NODE_PORT}`,
      join(installed.dir, 'tls/ca.crt'),
      readFileSync(join(installed.dir, 'api-key'), 'utf8').trim(),
      NETWORK_HOST,
    );
    const load = new Load(api, [installed.model], 4);
    try {
      await eventually('answers', () => Promise.resolve(load.count('answered') > 4));
      frozen = true;
      cluster.freeze('kube-apiserver', true);
      const during = load.count('answered');
      await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
      expect(load.count('answered') - during, 'answers while it was away').to.be.greaterThan(20);
      cluster.freeze('kube-apiserver', false);
      frozen = false;
      await eventually(
        'Ready again',
        async () => (await condition('rnode', 'demo-0', 'Ready')).status === 'True',
        180_000,
        async () => JSON.stringify((await get('rnode', 'demo-0')).status.conditions),
      );
      await new Promise((resolve) => setTimeout(resolve, 20_000)); // what would be evicted or replaced is by now
    } finally {
      await load.settle(`API server away for ${OUTAGE_MS / 1000} s`);
      await api.close();
    }
    expect({ refused: load.count('refused'), midStream: load.count('midStream') }).to.deep.equal({
      refused: 0,
      midStream: 0,
    });
    expect(await uids()).to.deep.equal(before);
    expect(await restarts()).to.deep.equal(restarted);
  });
});
