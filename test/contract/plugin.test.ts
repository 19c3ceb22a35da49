/** The plugin on a real API server, with the rights that docs/cli.md gives to a user, and with less. No operator: the test plays it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { buildProgram, type Io, runCommand } from '../../src/cli/index.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { collectionPath } from '../support/chart.ts';
import { installCrds } from '../support/crds.ts';
import { smallest, withFields } from '../support/manifests.ts';
import { until } from '../support/until.ts';
import { machine } from '../support/why-not-cases.ts';

const NS = 'nodes';
const MERGE = 'application/merge-patch+json';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const at = (plural: string, name = ''): string =>
  `/apis/resultity.com/v1alpha1/namespaces/${NS}/${plural}${name === '' ? '' : `/${name}`}`;

describe('the plugin on a real API server', function () {
  this.timeout(60_000);
  let api: ApiServer;
  let dir: string;

  const create = async (path: string, body: object) => {
    const answer = await api.call('POST', path, body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    return answer.body;
  };
  /** A kubeconfig of an account that has only what is bound to it. */
  const account = async (name: string): Promise<string> => {
    await create(`/api/v1/namespaces/${NS}/serviceaccounts`, { metadata: { name } });
    const { status } = await create(`/api/v1/namespaces/${NS}/serviceaccounts/${name}/token`, {
      spec: { expirationSeconds: 3600 },
    });
    const file = join(dir, name);
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'c',
          cluster: { server: api.url, 'certificate-authority-data': Buffer.from(api.admin.ca).toString('base64') },
        },
      ],
      users: [{ name: 'u', user: { token: status.token } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: NS } }],
      'current-context': 'x',
    };
    await writeFile(file, JSON.stringify(config));
    return file;
  };
  const run = async (kubeconfig: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> => {
    const out: string[] = [];
    const err: string[] = [];
    const io: Io = {
      out: (line) => out.push(line),
      err: (line) => err.push(line),
      stdin: async () => '',
      color: false,
      now: () => Date.now(),
      env: { KUBECONFIG: kubeconfig },
      pollMs: 20,
    };
    const code = await runCommand(buildProgram(io, '0.0.0'), args, io);
    return { code, out: out.join('\n'), err: err.join('\n') };
  };
  let user: string;
  let guest: string;

  before(async () => {
    api = await startApiServer();
    dir = await mkdtemp(join(tmpdir(), 'resultity-plugin-'));
    await create('/api/v1/namespaces', { metadata: { name: NS } });
    const text = await readFile('docs/cli.md', 'utf8');
    const yaml = /```yaml\n(apiVersion: rbac[\s\S]*?)```/.exec(text)?.[1] ?? '';
    for (const document of parseAllDocuments(yaml)) {
      const object = document.toJS();
      await create(collectionPath(object, object.metadata.namespace), object);
    }
    user = await account('user');
    guest = await account('guest');
    const subjects = [{ kind: 'ServiceAccount', name: 'user', namespace: NS }];
    const ref = { apiGroup: 'rbac.authorization.k8s.io', name: 'resultity-user' };
    await create(`${RBAC}/namespaces/${NS}/rolebindings`, {
      metadata: { name: 'user' },
      roleRef: { ...ref, kind: 'Role' },
      subjects,
    });
    await create(`${RBAC}/clusterrolebindings`, {
      metadata: { name: 'user' },
      roleRef: { ...ref, kind: 'ClusterRole' },
      subjects,
    });
  });
  after(async () => {
    await api?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('says that the chart is missing where the CRDs are', async () => {
    const { code, err } = await run(api.kubeconfig, 'status', '-n', NS);
    expect(code).to.equal(1);
    expect(err).to.contain('install the chart resultity-operator first');
  });

  it('works with the rights of docs/cli.md, from an empty namespace to a paused, held, drained and restarted node', async () => {
    await installCrds(api);
    await until('the CRDs are served', async () => (await run(user, 'status')).code === 0, 20_000);
    expect((await run(user, 'status')).out).to.contain('nothing of Resultity is in this namespace');

    await create(at('resultitynodes'), withFields(smallest.ResultityNode, { 'metadata.name': 'gpu-a' }));
    expect((await run(user, 'why-not', 'gpu-a')).out).to.contain(
      'NetworkNotFound: there is no ResultityNetwork "testnet"',
    );
    await create(at('resultitynetworks'), withFields(smallest.ResultityNetwork, { 'metadata.name': 'testnet' }));
    await create(at('approvedmodels'), smallest.ApprovedModel);
    expect((await run(user, 'why-not', 'gpu-a')).out).to.contain('gpu-a waits for its place: NoGPUNodes');
    const { status, ...node } = machine();
    await create('/api/v1/nodes', node);
    await api.call('PATCH', '/api/v1/nodes/gpu-1/status', { status }, MERGE);
    const placed = await run(user, 'why-not', 'gpu-a', '-o', 'wide');
    expect(placed.err).to.equal('');
    // A node without a kubelet is tainted not-ready by the API server's own admission.
    expect(placed.out).to.match(/node gpu-1 +NVIDIA-H200: (8 of 8 free|is not ready)/);
    expect((await run(user, 'models')).out).to.contain('qwen3-32b-instruct:v2');

    const pod = {
      containers: [{ name: 'runtime', image: 'x' }],
      initContainers: [{ name: 'agent', image: 'x', restartPolicy: 'Always' }],
    };
    const make = async (): Promise<string> =>
      (await create(`/api/v1/namespaces/${NS}/pods`, { metadata: { name: 'gpu-a' }, spec: pod })).metadata.uid;
    const say = async (s: object): Promise<void> => {
      const answer = await api.call('PATCH', `${at('resultitynodes', 'gpu-a')}/status`, { status: s }, MERGE);
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    };
    const first = await make();
    await say({ phase: 'Active', podName: 'gpu-a', podUID: first, observedGeneration: 1, agent: { phase: 'Active' } });

    const pausing = run(user, 'pause', 'gpu-a', '--timeout', '20s');
    await until(
      'the spec says paused',
      async () => (await api.call('GET', at('resultitynodes', 'gpu-a'))).body.spec.paused === true,
    );
    const condition = {
      type: 'Paused',
      status: 'True',
      reason: 'PausedByUser',
      message: '',
      lastTransitionTime: '2026-11-21T10:00:00Z',
    };
    await say({ phase: 'Paused', observedGeneration: 2, conditions: [condition], agent: { phase: 'Paused' } });
    expect(await pausing).to.include({ code: 0 });
    expect(await run(user, 'resume', 'gpu-a', '--no-wait')).to.include({ code: 0 });

    expect(await run(user, 'config', 'hold', 'gpu-a')).to.include({ code: 0 });
    expect((await api.call('GET', at('resultitynodes', 'gpu-a'))).body.metadata.annotations).to.include({
      'resultity.com/hold': 'true',
    });
    expect(await run(user, 'config', 'release', 'gpu-a')).to.include({ code: 0 });
    expect(await run(user, 'config', 'history')).to.include({ code: 0 });

    const restarting = run(user, 'restart', 'gpu-a', '--timeout', '20s');
    const live = `/api/v1/namespaces/${NS}/pods/gpu-a`;
    await until(
      'the pod is marked',
      async () => (await api.call('GET', live)).body.metadata?.annotations?.['resultity.com/drain'] === 'true',
    );
    await say({ phase: 'Draining', agent: { phase: 'Drained' } });
    await until('the pod is gone', async () => (await api.call('GET', live)).status === 404);
    const second = await make();
    await say({ phase: 'Active', podUID: second, observedGeneration: 3, agent: { phase: 'Active' } });
    expect(await restarting).to.include({ code: 0, out: 'gpu-a is back, with the same identity' });
  });

  it('backs up and restores an identity, and writes a support bundle, with those rights', async () => {
    const { Wallet } = await import('ethers');
    const file = join(dir, 'backup.json');
    const wallet = new Wallet(`0x${'4c'.repeat(32)}`);
    await writeFile(file, JSON.stringify({ privateKey: wallet.privateKey }));
    expect(await run(user, 'identity', 'import', 'gpu-a', '--from', file)).to.include({ code: 0 });
    await api.call(
      'PATCH',
      `${at('resultitynodes', 'gpu-a')}/status`,
      { status: { nodeId: wallet.address.toLowerCase() } },
      MERGE,
    );
    const copy = join(dir, 'copy.json');
    expect(await run(user, 'identity', 'export', 'gpu-a', '--to', copy, '--plain')).to.include({ code: 0 });
    expect(JSON.parse(await readFile(copy, 'utf8'))).to.deep.equal({
      nodeId: wallet.address,
      privateKey: wallet.privateKey,
    });
    const bundle = join(dir, 'bundle');
    expect(await run(user, 'support-bundle', '--to', bundle)).to.include({ code: 0 });
    const left = await readFile(join(bundle, 'left-out.txt'), 'utf8');
    // There is no kubelet to ask for logs; nothing is missing for want of rights.
    expect(left).to.not.contain('you may not');
  });

  it('names the verb and the resource that a guest may not use', async () => {
    const { code, err } = await run(guest, 'why-not', 'gpu-a');
    expect(code).to.equal(1);
    expect(err).to.contain('you may not get resultitynodes.resultity.com in namespace nodes');
    expect((await run(user, 'why-not', 'gpu-b')).err).to.contain('did you mean gpu-a?');
  });
});
