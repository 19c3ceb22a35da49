import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { QUESTION } from '../../hack/demo/snapshot.ts';
import { exec, repoRoot } from '../../hack/lib/index.ts';
import { ENGINE_MS, e2e, eventually, NS } from './setup.ts';

/** How many identities the network knows, by its own metrics. */
const registeredNodes = async (): Promise<number> => {
  const path = `/api/v1/namespaces/${SYSTEM_NAMESPACE}/pods/resultity-network-0:9444/proxy/metrics`;
  const text = await e2e().target.kubectl(['get', '--raw', path]);
  const counts = [...text.matchAll(/^resultity_network_nodes\{[^}]*\} (\d+)$/gm)].map((m) => Number(m[1]));
  return counts.reduce((sum, n) => sum + n, 0);
};

describe('from apply to a verified answer', () => {
  it('shows the node Active, Ready and Serving with model, GPU and digest', async () => {
    const { get, k, installed } = e2e();
    const node = await get('rnode', 'demo-0');
    expect(node.status.phase).to.equal('Active');
    for (const type of [
      'Ready',
      'Serving',
      'Registered',
      'NetworkVisible',
      'RuntimeIsolated',
      'ModelsVerified',
      'ConfigSynced',
    ])
      expect(node.status.conditions.find((c: { type: string }) => c.type === type)?.status, type).to.equal('True');
    const row = (await k('get', 'rnode', 'demo-0', '--no-headers')).trim();
    expect(row).to.match(/^demo-0\s+Active\s+True\s+True\s/);
    expect(row).to.contain(installed.model);
    expect(row).to.contain(node.status.config.shortDigest);
  });
  it('runs both containers of the pod under the restricted profile, the agent as a restartable init container', async () => {
    const { get } = e2e();
    const pod = await get('pod', 'demo-0');
    expect(
      pod.spec.initContainers.map((c: { name: string; restartPolicy: string }) => [c.name, c.restartPolicy]),
    ).to.deep.include(['agent', 'Always']);
    const namespace = await e2e().target.kubectl(['get', 'namespace', NS, '-o', 'json']);
    expect(JSON.parse(namespace).metadata.labels['pod-security.kubernetes.io/enforce']).to.equal('restricted');
    for (const c of [...pod.spec.initContainers, ...pod.spec.containers])
      expect(c.image).to.match(/@sha256:[0-9a-f]{64}$/);
  });
  for (const stream of [true, false])
    it(`answers ${stream ? 'streamed' : 'whole'}, and result and receipt verify offline; an altered output does not`, async () => {
      const { installed, target } = e2e();
      await installed.withApi(async (api) => {
        const answer = await api.ask({ model: installed.model, ...QUESTION }, stream);
        expect(answer.text).to.contain(installed.expect);
        const [receipt, output, root] = [
          join(target.dir, 'r.json'),
          join(target.dir, 'o.txt'),
          join(installed.dir, 'roots/1.json'),
        ];
        writeFileSync(receipt, await api.receipts(answer.job));
        const verify = async (text: string): Promise<number> => {
          writeFileSync(output, text);
          const argv = ['src/cli/main.ts', 'receipt', 'verify', receipt, '--root', root, '--output', output];
          return (await exec([process.execPath, ...argv], { cwd: repoRoot })).code;
        };
        expect(await verify(answer.output ?? '')).to.equal(0);
        expect(await verify(`${answer.output} `)).to.equal(1);
      });
    });
  it('tells its story in events', async () => {
    const { k } = e2e();
    const reasons = (
      await k(
        'get',
        'events',
        '-o',
        'jsonpath={range .items[?(@.involvedObject.kind=="ResultityNode")]}{.reason} {end}',
      )
    ).split(' ');
    for (const reason of ['CreatedPod', 'NodeRegistered', 'ModelVerified', 'ConfigApplied'])
      expect(reasons).to.include(reason);
  });
  it('survives the deletion of its pod: same node_id, no new registration, serving again', async () => {
    const { k, get, installed } = e2e();
    const before = await get('rnode', 'demo-0');
    const registered = await registeredNodes();
    const secrets = (await k('get', 'secret', '-o', 'name')).trim();
    await k('delete', 'pod', 'demo-0', '--timeout=120s');
    const after = await eventually(
      'serving again',
      async () => {
        const node = await get('rnode', 'demo-0');
        const ready = node.status.conditions.find((c: { type: string }) => c.type === 'Ready');
        return node.status.podUID !== before.status.podUID && ready?.status === 'True' && node;
      },
      ENGINE_MS,
      () => k('get', 'rnode,pod', '-o', 'wide'),
    );
    expect(after.status.nodeId).to.equal(before.status.nodeId);
    expect(await registeredNodes()).to.equal(registered);
    expect((await k('get', 'secret', '-o', 'name')).trim()).to.equal(secrets);
    await installed.withApi(async (api) => {
      const answer = await api.ask({ model: installed.model, ...QUESTION }, false);
      expect(answer.node.toLowerCase()).to.equal(before.status.nodeId.toLowerCase());
    });
  });
});
