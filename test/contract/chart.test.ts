import { expect } from 'chai';
import { programPath } from '../../hack/cluster/binaries.ts';
import { exec } from '../../hack/lib/index.ts';
import type { Pod } from '../../operator/pod-types.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { CHART, collectionPath, type Rendered, renderChart } from '../support/chart.ts';
import { facts, storedPod } from '../support/node-facts.ts';

const VARIANTS: Record<string, string[]> = {
  defaults: [],
  'one namespace': ['watchNamespace=gpus'],
  'with the network service': ['networkService.enabled=true', 'networkService.storage.size=1Gi'],
  'with an ingress, limits and a certificate of its own': [
    'networkService.enabled=true',
    'networkService.ingress.enabled=true',
    'networkService.ingress.host=io.example.com',
    'networkService.ingress.tlsSecretName=io-public',
    'networkService.limits.queue=20000',
    'networkService.tls.secretName=io-tls',
    'networkService.admission=token',
  ],
  'with models from an image': ['networkService.enabled=true', 'networkService.modelsImage=r/x@sha256:0'],
  'with network policies and dashboards': [
    'networkPolicies.enabled=true',
    'networkService.enabled=true',
    'watchNamespace=gpus',
    'metrics.dashboards.enabled=true',
  ],
  'one replica without policies': ['operator.replicas=1', 'admissionPolicies.enabled=false', 'crds.install=false'],
};
describe('the chart', () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    for (const namespace of ['resultity-system', 'gpus']) {
      const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
      await server.call('POST', '/api/v1/namespaces', {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: namespace, labels },
      });
    }
  });
  after(() => server.stop());

  it('passes helm lint --strict', async () => {
    await renderChart();
    const { code, stdout, stderr } = await exec([programPath('helm'), 'lint', '--strict', CHART]);
    expect(code, stdout + stderr).to.equal(0);
  });
  for (const [name, sets] of Object.entries(VARIANTS)) {
    it(`is accepted by a server-side dry run with strict fields: ${name}`, async () => {
      for (const object of await renderChart(...sets)) {
        const path = collectionPath(object, object.metadata.namespace);
        const answer = await server.call('POST', `${path}?dryRun=All&fieldValidation=Strict`, object);
        expect(
          answer.status,
          `${object.kind} ${object.metadata.name}: ${JSON.stringify(answer.body.message)}`,
        ).to.equal(201);
      }
    });
  }
  it('makes pods that a namespace with the restricted profile lets in', async () => {
    const at = '/api/v1/namespaces/resultity-system';
    for (const name of ['default', 'resultity'])
      await server.call('POST', `${at}/serviceaccounts`, {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name },
      });
    const pod = (name: string, spec: object) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
    const create = (body: object) => server.call('POST', `${at}/pods?dryRun=All&fieldValidation=Strict`, body);
    const workloads = (
      await renderChart(
        'networkService.enabled=true',
        'networkService.modelsImage=r/x@sha256:0',
        'networkService.limits.queue=9',
      )
    ).filter((o) => o.spec?.template?.spec);
    expect(workloads.map((w) => w.kind).sort()).to.deep.equal(['Deployment', 'Job', 'StatefulSet']);
    for (const { kind, spec } of workloads) {
      const answer = await create(pod(kind.toLowerCase(), spec.template.spec));
      expect(answer.status, `${kind}: ${answer.body.message}`).to.equal(201);
    }
    const rootly = structuredClone(workloads[0]?.spec.template.spec);
    rootly.securityContext.runAsNonRoot = false;
    expect((await create(pod('rootly', rootly))).body.message, 'the profile is enforced').to.contain(
      'violates PodSecurity',
    );
  });
  it('lets in by NetworkPolicy exactly the ports that its pods serve, those of nodes included', async () => {
    const sets = ['networkPolicies.enabled=true', 'networkService.enabled=true', 'watchNamespace=gpus'];
    const objects = await renderChart(...sets);
    const served = [
      ...objects
        .filter((o) => o.spec?.template?.spec)
        .map((o) => ({ namespace: o.metadata.namespace, pod: o.spec.template as Pod })),
      { namespace: 'gpus', pod: storedPod(facts()) },
    ].map(({ namespace, pod }) => ({
      namespace,
      labels: pod.metadata?.labels ?? {},
      ports: [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])]
        .flatMap((c) => (c.ports ?? []) as readonly { readonly containerPort: number }[])
        .map((port) => port.containerPort),
    }));
    const policies = objects.filter((o) => o.kind === 'NetworkPolicy');
    for (const { metadata, spec } of policies) {
      const matches = Object.entries(spec.podSelector.matchLabels);
      const chosen = served.filter(
        (pod) => pod.namespace === metadata.namespace && matches.every(([key, value]) => pod.labels[key] === value),
      );
      expect(chosen, metadata.name).to.have.length(1);
      const open = (spec.ingress ?? []).flatMap((rule: { ports: { port: number }[] }) => rule.ports.map((p) => p.port));
      expect(open, metadata.name).to.have.members(chosen[0]?.ports ?? []);
    }
    expect(policies).to.have.length(served.length);
  });
  it('has five admission policies that fail closed, each bound and with a value that turns it off', async () => {
    const policies = async (...sets: string[]): Promise<Rendered[]> =>
      (await renderChart(...sets)).filter((o) => o.kind.startsWith('ValidatingAdmissionPolicy'));
    const names = (all: readonly Rendered[]): string[] => [...new Set(all.map((o) => o.metadata.name))];
    const all = await policies();
    expect(all).to.have.length(10);
    for (const { kind, metadata, spec } of all)
      if (kind === 'ValidatingAdmissionPolicy') {
        expect(spec.failurePolicy, metadata.name).to.equal('Fail');
        for (const v of spec.validations) expect(v.message ?? v.messageExpression, metadata.name).to.be.a('string');
      } else expect(spec, metadata.name).to.deep.include({ policyName: metadata.name, validationActions: ['Deny'] });
    const values = ['agentStatus', 'images', 'operatorPods', 'operatorSpecs', 'approvedModels'];
    const off = await Promise.all(values.map(async (v) => names(await policies(`admissionPolicies.${v}=false`))));
    expect(off.map((left) => names(all).filter((name) => !left.includes(name)))).to.deep.equal([
      ['resultity-agent-own-status'],
      ['resultity-images'],
      ['resultity-operator-pods'],
      ['resultity-operator-specs'],
      ['resultity-approved-models'],
    ]);
    expect(await policies('admissionPolicies.enabled=false')).to.deep.equal([]);
    // what `helm upgrade --reuse-values` makes of values that did not have the name
    expect(names(await policies('admissionPolicies.images=null'))).to.include('resultity-images');
  });
  it('keeps the CRDs when it is uninstalled', async () => {
    const crds = (await renderChart()).filter((o) => o.kind === 'CustomResourceDefinition');
    expect(crds).to.have.length(4);
    for (const crd of crds) expect(crd.metadata.annotations?.['helm.sh/resource-policy']).to.equal('keep');
  });
  it('asks for monitoring objects only where their API is, or when told to', async () => {
    const monitoring = (objects: readonly Rendered[]) =>
      objects.filter((o) => o.apiVersion.startsWith('monitoring.coreos.com/')).map((o) => o.kind);
    expect(monitoring(await renderChart())).to.deep.equal([]);
    const all = ['PodMonitor', 'PodMonitor', 'PrometheusRule'];
    expect(
      monitoring(await renderChart('metrics.podMonitor.enabled=true', 'metrics.rules.enabled=true')),
    ).to.have.members(all);
    const { stdout } = await exec([
      ...[programPath('helm'), 'template', 'r', CHART, '--api-versions', 'monitoring.coreos.com/v1'],
    ]);
    expect(stdout.match(/^kind: (PodMonitor|PrometheusRule)$/gm)).to.have.length(3);
  });
  it('gives each alert the address of its page', async () => {
    const rules = (await renderChart('metrics.rules.enabled=true')).find((o) => o.kind === 'PrometheusRule');
    const alerts = rules?.spec.groups.flatMap((g: { rules: object[] }) => g.rules);
    expect(alerts).to.have.length.greaterThan(10);
    for (const { alert, annotations } of alerts)
      expect(annotations.runbook_url).to.match(new RegExp(`^https://.+/${alert}\\.md$`));
  });
  it('takes the finalizers off before it is uninstalled, with rights that nobody has otherwise', async () => {
    const hooks = (await renderChart()).filter((o) => o.metadata.annotations?.['helm.sh/hook'] === 'pre-delete');
    expect(hooks.map((o) => o.kind)).to.have.members(['Role', 'RoleBinding', 'Job']);
    expect(hooks.find((o) => o.kind === 'Role')?.rules).to.deep.equal([
      { apiGroups: ['apps'], resources: ['deployments'], resourceNames: ['resultity'], verbs: ['get', 'patch'] },
    ]);
  });
  it('refuses values that it does not know, and names them', async () => {
    const { code, stderr } = await exec([programPath('helm'), 'template', 'x', CHART, '--set', 'operator.replica=3']);
    expect(code).to.not.equal(0);
    expect(stderr).to.contain('replica');
  });
});
