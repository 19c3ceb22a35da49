/**
 * A real API server with its etcd for contract tests: free loopback ports, a folder of its own, no root, no nodes, no
 * controllers (but the garbage collector, where a test asks for it). About four seconds to start; share one per test file. `npm run test:contract -- --kubernetes 1.33.13` tries
 * another version than the cluster's by RESULTITY_KUBERNETES.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { ensurePrograms } from '../../hack/cluster/binaries.ts';
import { kubeconfigOf, writePki } from '../../hack/cluster/pki.ts';
import { quietProgress } from '../../hack/lib/index.ts';

export interface ApiServer {
  /** https://127.0.0.1:<port> */
  readonly url: string;
  /** Path of a kubeconfig of the administrator, with everything inside. */
  readonly kubeconfig: string;
  /** The administrator (group system:masters): authority, certificate and key in PEM. */
  readonly admin: { readonly ca: string; readonly cert: string; readonly key: string };
  /** One JSON call as the administrator. Answers of any status are returned, not thrown. */
  call(method: Method, path: string, body?: unknown, contentType?: string, accept?: string): Promise<Answer>;
  /**
   * Starts the cluster's own garbage collector beside it, and nothing else of kube-controller-manager. After the CRDs are
   * served: it looks for new kinds twice a minute only.
   */
  collectGarbage(): Promise<void>;
  /** Every write so far that was answered with success, Events and Leases too; empty unless the server was started with `audit`. */
  writes(): readonly AuditedWrite[];
  /** The API server first, then etcd, then the folder. Safe to call twice. */
  stop(): Promise<void>;
}

/** One write as the API server's audit log has it. */
export interface AuditedWrite {
  readonly user: string;
  readonly verb: string;
  /** Plural of the kind, with its subresource: `pods/status`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  /** When the server had the request, and when it had answered, wall clock, ms. */
  readonly from: number;
  readonly to: number;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Answer {
  readonly status: number;
  /** The object, or the Status with its message. */
  readonly body: Json;
}

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field in assertions
type Json = any;

/** Stopped when the test process ends without having called `stop`. */
const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});

/** @throws Error with the end of the log when a program does not come up within 60 s. */
export async function startApiServer({ audit = false } = {}): Promise<ApiServer> {
  const { RESULTITY_KUBERNETES: kubernetes } = process.env;
  const programs = await ensurePrograms(
    ['etcd', 'kube-apiserver'],
    quietProgress,
    undefined,
    kubernetes === undefined ? {} : { kubernetes },
  );
  const folder = await mkdtemp(join(tmpdir(), 'resultity-api-'));
  folders.add(folder);
  const [port, client, peer] = await freePorts(3);
  const dns = ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];
  await writePki(folder, [
    { file: 'apiserver', name: 'kube-apiserver', dns, ips: ['127.0.0.1', '10.96.0.1'] },
    { file: 'admin', name: 'admin', organization: 'system:masters' },
  ]);
  const url = `https://127.0.0.1:${port}`;
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigOf(folder, 'admin', url, 'contract'), { mode: 0o600 });
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const admin = { ca: read('ca.crt'), cert: read('admin.crt'), key: read('admin.key') };
  const agent = new Agent({ connect: { ...admin }, connections: 8, allowH2: false });
  const etcd = start(folder, 'etcd', programs.etcd, [
    `--data-dir=${join(folder, 'etcd')}`,
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-cluster=default=http://127.0.0.1:${peer}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ]);
  const api = start(folder, 'kube-apiserver', programs['kube-apiserver'], [
    `--etcd-servers=http://127.0.0.1:${client}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    `--tls-cert-file=${join(folder, 'apiserver.crt')}`,
    `--tls-private-key-file=${join(folder, 'apiserver.key')}`,
    `--client-ca-file=${join(folder, 'ca.crt')}`,
    `--service-account-key-file=${join(folder, 'sa.pub')}`,
    `--service-account-signing-key-file=${join(folder, 'sa.key')}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    '--service-cluster-ip-range=10.96.0.0/24',
    '--authorization-mode=RBAC',
    '--allow-privileged=true',
    ...(audit
      ? [
          `--audit-policy-file=${auditPolicy(folder)}`,
          `--audit-log-path=${join(folder, 'audit.log')}`,
          '--audit-log-mode=blocking',
        ]
      : []),
    // No controllers run, so no namespace gets the ServiceAccount that this plug-in would ask for.
    '--disable-admission-plugins=ServiceAccount',
  ]);
  const writes = (): AuditedWrite[] =>
    audit
      ? read('audit.log')
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Json)
          .filter(({ responseStatus }) => responseStatus?.code < 300)
          .map(({ user, verb, objectRef: at, requestReceivedTimestamp, stageTimestamp }) => ({
            user: user.username,
            verb,
            resource: at.subresource === undefined ? at.resource : `${at.resource}/${at.subresource}`,
            namespace: at.namespace ?? '',
            name: at.name ?? '',
            from: Date.parse(requestReceivedTimestamp),
            to: Date.parse(stageTimestamp),
          }))
      : [];
  let collector: ChildProcess | undefined;
  const collectGarbage = async (): Promise<void> => {
    const manager = await ensurePrograms(['kube-controller-manager'], quietProgress);
    collector ??= start(folder, 'kube-controller-manager', manager['kube-controller-manager'], [
      `--kubeconfig=${kubeconfig}`,
      '--controllers=garbage-collector-controller',
      '--leader-elect=false',
      '--secure-port=0',
      '--kube-api-qps=200',
      '--kube-api-burst=400',
    ]);
  };
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= (async () => {
      if (collector) await end(collector);
      await end(api);
      await end(etcd);
      await agent.destroy();
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
    })();
    return stopped;
  };
  const call: ApiServer['call'] = async (
    method,
    path,
    body,
    contentType = 'application/json',
    accept = 'application/json',
  ) => {
    const answer = await request(`${url}${path}`, {
      method,
      dispatcher: agent,
      headers: { accept, ...(body === undefined ? {} : { 'content-type': contentType }) },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    const json = answer.headers['content-type']?.includes('json') === true;
    return { status: answer.statusCode, body: json ? (JSON.parse(text) as Json) : text };
  };
  try {
    await waitReady(call, [etcd, api], folder);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, kubeconfig, admin, call, collectGarbage, writes, stop };
}

/** Of writes alone, once they are answered. */
function auditPolicy(folder: string): string {
  const path = join(folder, 'audit-policy.yaml');
  const rules = [{ level: 'Metadata', verbs: ['create', 'update', 'patch', 'delete'] }, { level: 'None' }];
  const omitStages = ['RequestReceived'];
  writeFileSync(path, JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages, rules }));
  return path;
}

function start(folder: string, name: string, program: string, args: readonly string[]): ChildProcess {
  const log = openSync(join(folder, `${name}.log`), 'a');
  const child = spawn(program, args, { stdio: ['ignore', log, log] });
  closeSync(log);
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  await gone;
  clearTimeout(timer);
}

async function waitReady(call: ApiServer['call'], children: readonly ChildProcess[], folder: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const ready = await call('GET', '/readyz').catch(() => undefined);
    if (ready?.status === 200) {
      const namespace = await call('GET', '/api/v1/namespaces/default');
      if (namespace.status === 200) return;
    }
    const dead = children.some((child) => child.exitCode !== null || child.signalCode !== null);
    if (dead || performance.now() > deadline) {
      const tail = ['etcd', 'kube-apiserver'].map((name) => {
        const lines = readFileSync(join(folder, `${name}.log`), 'utf8')
          .trimEnd()
          .split('\n');
        return `${name}: ${lines.slice(-5).join('\n')}`;
      });
      throw new Error(`the API server did not come up\n${tail.join('\n')}`);
    }
    await sleep(100);
  }
}

/** Ports that were free a moment ago; all are held open until the last is known, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => {
            const address = server.address();
            if (address === null || typeof address === 'string') reject(new Error('no port'));
            else resolve(address.port);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
