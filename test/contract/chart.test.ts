import { expect } from 'chai';
import { programPath } from '../../hack/cluster/binaries.ts';
import { exec } from '../../hack/lib/index.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { CHART, collectionPath, type Rendered, renderChart } from '../support/chart.ts';

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
const restrictedProblems = (pod: Rendered): string[] => {
  const problems: string[] = [];
  const { securityContext: s, containers, initContainers = [] } = pod;
  if (s?.runAsNonRoot !== true) problems.push('runAsNonRoot');
  if (s?.seccompProfile?.type !== 'RuntimeDefault') problems.push('seccompProfile');
  for (const c of [...containers, ...initContainers]) {
    if (c.securityContext?.allowPrivilegeEscalation !== false) problems.push(`${c.name}: allowPrivilegeEscalation`);
    if (!c.securityContext?.capabilities?.drop?.includes('ALL')) problems.push(`${c.name}: capabilities`);
  }
  return problems;
};

describe('the chart', () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    for (const namespace of ['resultity-system', 'gpus'])
      await server.call('POST', '/api/v1/namespaces', {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: namespace },
      });
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
  it('makes pods that fit the restricted profile', async () => {
    const workloads = (await renderChart('networkService.enabled=true')).filter((o) => o.spec?.template?.spec);
    expect(workloads.map((w) => w.kind).sort()).to.deep.equal(['Deployment', 'Job', 'StatefulSet']);
    for (const w of workloads) expect(restrictedProblems(w.spec.template.spec), w.kind).to.deep.equal([]);
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
