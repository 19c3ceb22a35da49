/** A real API server with the chart's CRDs, roles and admission policies in force, callers of each kind, and tables of verdicts. */
import { expect } from 'chai';
import { after, it } from 'mocha';
import { Agent, request } from 'undici';
import { type ApiServer, startApiServer } from './api-server.ts';
import { collectionPath, renderChart } from './chart.ts';
import { until } from './until.ts';

export const RESULTITY = '/apis/resultity.com/v1alpha1';
/** `gpus` enforces the restricted profile, `other` nothing. */
export const NAMESPACES = ['gpus', 'other', 'resultity-system'] as const;

export interface Attempt {
  readonly who: string;
  readonly method: 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: object;
  readonly type?: string;
}
export interface Verdict {
  readonly status: number;
  readonly message: string;
}

export interface Gate {
  readonly server: ApiServer;
  /** As the administrator. @throws Error unless it is made */
  make(path: string, body: object): Promise<Json>;
  /** Adds a caller by a token of a ServiceAccount, bound to a pod when one is given. */
  caller(who: string, namespace: string, account: string, bound?: { name: string; uid: string }): Promise<void>;
  try(attempt: Attempt): Promise<Verdict>;
  stop(): Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field in assertions
type Json = any;

const KINDS = [
  'CustomResourceDefinition',
  'ClusterRole',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
];

/** Callers `operator` (the release's account) and `person` are there; both may do all that RBAC can allow. */
export const startGate = async (...sets: string[]): Promise<Gate> => {
  const server = await startApiServer();
  const dispatcher = new Agent({ connect: { ca: server.admin.ca }, allowH2: false });
  const tokens = new Map<string, string>();
  const make: Gate['make'] = async (path, body) => {
    const answer = await server.call('POST', path, body);
    if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const caller: Gate['caller'] = async (who, namespace, account, bound) => {
    const { status } = await make(`/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: bound ? { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...bound } } : {},
    });
    tokens.set(who, status.token);
  };
  const attempt: Gate['try'] = async ({ who, method, path, body, type = 'application/json' }) => {
    const answer = await request(`${server.url}${path}`, {
      method,
      dispatcher,
      headers: { authorization: `Bearer ${tokens.get(who)}`, 'content-type': type },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.statusCode, message: ((await answer.body.json()) as { message?: string }).message ?? '' };
  };
  const stop = async (): Promise<void> => {
    await dispatcher.close();
    await server.stop();
  };
  try {
    for (const name of NAMESPACES)
      await make('/api/v1/namespaces', {
        metadata: { name, labels: name === 'gpus' ? { 'pod-security.kubernetes.io/enforce': 'restricted' } : {} },
      });
    for (const object of await renderChart(...sets))
      if (KINDS.includes(object.kind)) await make(collectionPath(object), object);
    for (const [namespace, name] of [
      ['gpus', 'resultity-agent'],
      ['other', 'resultity-agent'],
      ['resultity-system', 'resultity'],
      ['other', 'person'],
      ['kube-system', 'generic-garbage-collector'],
    ] as const) {
      await make(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
      // wider than any role of the chart on purpose: what is refused is refused by a policy, not by RBAC
      await make('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
        metadata: { name: `wide-${namespace}-${name}` },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
        subjects: [{ kind: 'ServiceAccount', name, namespace }],
      });
    }
    await caller('operator', 'resultity-system', 'resultity');
    await caller('person', 'other', 'person');
    await caller('garbage collector', 'kube-system', 'generic-garbage-collector');
    await inForce(server, attempt);
  } catch (error) {
    await stop();
    throw error;
  }
  return { server, make, caller, try: attempt, stop };
};

/** Policies take a moment until the API server has compiled them; each is asked for something that it refuses. */
const inForce = async (server: ApiServer, attempt: Gate['try']): Promise<void> => {
  const { items } = (await server.call('GET', '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies'))
    .body;
  const there = new Set((items as { metadata: { name: string } }[]).map((p) => p.metadata.name));
  const pod = (labels: Record<string, string>): object => ({
    metadata: { name: 'probe', labels },
    spec: { containers: [{ name: 'x', image: 'x' }] },
  });
  const object = (kind: string, spec: object, metadata: object = {}): object => ({
    apiVersion: 'resultity.com/v1alpha1',
    kind,
    metadata: { name: 'probe', ...metadata },
    spec,
  });
  const pods = '/api/v1/namespaces/other/pods?dryRun=All';
  const probes: Record<string, Attempt> = {
    'resultity-images': { who: 'person', method: 'POST', path: pods, body: pod({ 'resultity.com/node': 'x' }) },
    'resultity-operator-pods': { who: 'operator', method: 'POST', path: pods, body: pod({}) },
    'resultity-operator-specs': {
      who: 'operator',
      method: 'POST',
      path: `${RESULTITY}/namespaces/other/resultitynetworks?dryRun=All`,
      body: object('ResultityNetwork', { endpoint: 'https://example.com', trust: { root: '{}' } }),
    },
    'resultity-approved-models': {
      who: 'person',
      method: 'POST',
      path: `${RESULTITY}/namespaces/other/approvedmodels?dryRun=All`,
      body: object('ApprovedModel', MIRROR, { ownerReferences: [OWNED_BY_NETWORK] }),
    },
  };
  for (const [name, probe] of Object.entries(probes)) {
    if (!there.has(name)) continue;
    let said = '';
    const refused = async (): Promise<boolean> => {
      said = (await attempt(probe)).message;
      return said.includes(name);
    };
    await until(`the policy ${name} is in force`, refused, 30_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${said || 'accepted'}`);
    });
  }
};

/** The spec of an ApprovedModel. */
export const MIRROR = {
  networkRef: { name: 'testnet' },
  name: 'tiny',
  version: 'v1',
  digest: `sha256:${'1'.repeat(64)}`,
  size: 1,
  state: 'active',
  tasks: ['chat.completions'],
  requires: { gpus: 1, gpuMemoryMiB: 1, diskMiB: 1 },
} as const;

export const OWNED_BY_NETWORK = {
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNetwork',
  name: 'testnet',
  uid: '4b1d6c2e-0000-4000-8000-000000000001',
  controller: true,
} as const;

/** One line of a table: who tries what, and what the API server says. */
export interface Row {
  readonly title: string;
  readonly attempt: () => Attempt;
  /** Part of the refusal's message; without it the attempt is accepted. */
  readonly refused?: string;
}

/** A test for each row, inside a `describe`; what was answered is printed as a table after the last. */
export const verdicts = (gate: () => Gate, rows: readonly Row[]): void => {
  const lines: string[] = [];
  for (const { title, attempt, refused } of rows)
    it(`${refused === undefined ? 'accepts' : 'refuses'} ${title}`, async () => {
      const { status, message } = await gate().try(attempt());
      const said = message.replace(/^.*denied request: /, '');
      lines.push(`${status < 300 ? 'accept' : 'REFUSE'}  ${title}${status < 300 ? '' : `\n                ${said}`}`);
      if (refused === undefined) expect(status, message).to.be.lessThan(300);
      else {
        // 403 is the profile of the namespace
        expect(status, message).to.be.oneOf([403, 422]);
        expect(message).to.contain(refused);
      }
    });
  after(() => process.stdout.write(`${lines.map((line) => `      ${line}\n`).join('')}`));
};
