/** Two operators as processes on one API server: the leader is killed, or stopped and woken again, in the middle of its writes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type ApiServer, type AuditedWrite, startApiServer } from '../support/api-server.ts';
import { installCrds } from '../support/crds.ts';
import { KitNetwork, networkManifest, nodeManifest } from '../support/operator-rig.ts';
import { until } from '../support/until.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field in assertions
type Json = any;

const NS = 'nodes';
const at = (plural: string, name = ''): string =>
  `/apis/resultity.com/v1alpha1/namespaces/${NS}/${plural}${name === '' ? '' : `/${name}`}`;
const core = (plural: string): string => `/api/v1/namespaces/${NS}/${plural}`;
const userOf = (name: string): string => `system:serviceaccount:default:${name}`;
/** Of src/kube/lease.ts. */
const LEASE_MS = 15_000;

interface Operator {
  readonly name: string;
  readonly process: ChildProcess;
  readonly out: () => string;
  readonly exit: Promise<number | null>;
}

describe('two operators on one API server', function () {
  this.timeout(240_000);
  let api: ApiServer;
  let network: KitNetwork;
  let folder: string;
  const running: Operator[] = [];

  const create = async (path: string, body: unknown): Promise<Json> => {
    const answer = await api.call('POST', path, body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    return answer.body;
  };
  const items = async (path: string): Promise<Json[]> => (await api.call('GET', path)).body.items;
  const holder = async (): Promise<string> => {
    const { body } = await api.call('GET', '/apis/coordination.k8s.io/v1/namespaces/default/leases/resultity-operator');
    return body.spec?.holderIdentity ?? '';
  };

  /** An operator that the API server knows by a name of its own. */
  const start = async (name: string): Promise<Operator> => {
    await create('/api/v1/namespaces/default/serviceaccounts', { metadata: { name } });
    await create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name, namespace: 'default' }],
    });
    const { status } = await create(`/api/v1/namespaces/default/serviceaccounts/${name}/token`, {
      spec: { expirationSeconds: 3600 },
    });
    const config = join(folder, name);
    const cluster = {
      server: api.url,
      'certificate-authority-data': Buffer.from(api.admin.ca).toString('base64'),
    };
    writeFileSync(
      config,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name, cluster }],
        users: [{ name, user: { token: status.token } }],
        contexts: [{ name, context: { cluster: name, user: name } }],
        'current-context': name,
      }),
      { mode: 0o600 },
    );
    const args = [
      `--kubeconfig=${config}`,
      '--metrics-port=0',
      '--leader-election-namespace=default',
      '--poll-floor-ms=300',
      '--allowed-repositories=registry.example',
    ];
    const child = spawn(process.execPath, ['operator/main.ts', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, POD_NAME: name },
    });
    let out = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (part: Buffer) => {
        out = (out + part.toString()).slice(-20_000);
      });
    const operator: Operator = {
      name,
      process: child,
      out: () => out,
      exit: new Promise((resolve) => child.once('exit', (code) => resolve(code))),
    };
    running.push(operator);
    return operator;
  };
  const comes = (what: string, holds: () => boolean | Promise<boolean>, ms = 90_000): Promise<void> =>
    until(what, () => sleep(100).then(holds), ms).catch(async (cause: unknown) => {
      const said = running.map((o) => `${o.name}: ${o.out().slice(-1500)}`).join('\n');
      throw new Error(`${what}: holder ${await holder()}\n${said}`, { cause });
    });

  const by = (operator: Operator): AuditedWrite[] => api.writes().filter((w) => w.user === userOf(operator.name));
  const work = (operator: Operator): AuditedWrite[] => by(operator).filter((w) => w.resource !== 'leases');
  const fleet = { name: 'f', namespace: NS };
  const scale = async (replicas: number): Promise<void> => {
    const { status } = await api.call(
      'PATCH',
      at('resultityfleets', fleet.name),
      { spec: { replicas } },
      'application/merge-patch+json',
    );
    expect(status).to.equal(200);
  };
  /** What is not as it shall be: every node has one key of its own, by the address in its status, and one pod; nothing is left over. */
  const amiss = async (count: number): Promise<string[]> => {
    const of = async (path: string): Promise<Map<string, Json>> =>
      new Map((await items(path)).map((o) => [o.metadata.name, o]));
    const [nodes, pods, secrets] = await Promise.all([at('resultitynodes'), core('pods'), core('secrets')].map(of));
    const found: string[] = [];
    if (nodes === undefined || pods === undefined || secrets === undefined) return ['nothing'];
    if (nodes.size !== count) found.push(`${nodes.size} nodes`);
    for (const [name, { status }] of nodes) {
      if (!secrets.delete(`${name}-${status?.nodeId}`)) found.push(`${name} has no key of ${status?.nodeId}`);
      if (pods.get(name)?.metadata.uid !== status?.podUID) found.push(`${name} has no pod ${status?.podUID}`);
      pods.delete(name);
    }
    return [...found, ...[...pods.keys()].map((p) => `pod ${p}`), ...[...secrets.keys()].map((s) => `Secret ${s}`)];
  };
  const settles = (count: number): Promise<void> =>
    comes(`${count} nodes`, async () => (await amiss(count)).length === 0).catch(async (cause: unknown) => {
      throw new Error((await amiss(count)).slice(0, 10).join('; '), { cause });
    });
  /** Nobody but the new leader has written since its first write, and it did not begin before the old lease was over. */
  const handedOver = (from: Operator, to: Operator): void => {
    const first = Math.min(...work(to).map((w) => w.from));
    const late = work(from).filter((w) => w.to > first);
    expect(late, `${from.name} wrote after ${to.name} had begun`).to.deep.equal([]);
    const renewed = Math.max(
      ...by(from)
        .filter((w) => w.resource === 'leases')
        .map((w) => w.from),
    );
    expect(first - renewed, 'ms from the last renewal to the first write of the next').to.be.at.least(LEASE_MS - 1000);
  };

  before(async function () {
    this.timeout(600_000);
    folder = mkdtempSync(join(tmpdir(), 'resultity-leader-'));
    api = await startApiServer({ audit: true });
    await installCrds(api);
    await create('/api/v1/namespaces', { metadata: { name: NS } });
    network = await KitNetwork.start();
    network.kit.publish({
      ttl: { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 1000, retryMs: 300, cacheMs: 1000 },
    });
  });
  after(async () => {
    for (const { process: child } of running) child.kill('SIGKILL');
    await network?.stop();
    await api?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('go on where a killed leader stopped, within its lease, and wake to no second one', async () => {
    const one = await start('one');
    await comes('one leads', async () => (await holder()).startsWith('one-'));
    const two = await start('two');
    await comes('two stands by', () => two.out().includes('"standing by"'));
    await create(at('resultitynetworks'), networkManifest(network, NS));
    await create(at('resultityfleets'), {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: 'f' },
      spec: { replicas: 60, template: nodeManifest('x', NS).spec },
    });
    await comes('it is in the middle', async () => (await items(core('secrets'))).length >= 10);
    one.process.kill('SIGKILL');
    await one.exit;
    expect(await amiss(60), 'it was killed before its work was done').to.not.deep.equal([]);
    expect(work(two), 'nobody writes but the leader').to.deep.equal([]);
    await comes('two leads', async () => (await holder()).startsWith('two-'));
    await settles(60);
    handedOver(one, two);

    // Stopped for longer than its lease, as by a frozen machine, and woken when another one leads.
    const three = await start('three');
    await comes('three stands by', () => three.out().includes('"standing by"'));
    await scale(120);
    await comes('it is in the middle again', async () => (await items(core('secrets'))).length >= 75);
    two.process.kill('SIGSTOP');
    await comes('three leads', async () => (await holder()).startsWith('three-'));
    await comes('three writes', () => work(three).length > 20);
    two.process.kill('SIGCONT');
    expect(await two.exit, two.out()).to.equal(1);
    await settles(120);
    handedOver(two, three);
    three.process.kill('SIGTERM');
    expect(await three.exit).to.equal(0);
  });
});
