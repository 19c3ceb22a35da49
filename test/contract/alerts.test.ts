import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { exec, quietProgress, repoRoot } from '../../hack/lib/index.ts';
import { CATALOG, metricsOf } from '../../hack/observe/catalog.ts';
import { prometheusProgram } from '../../hack/observe/prometheus.ts';
import { operatorMetrics } from '../../operator/metrics.ts';
import { agentMetrics } from '../../src/agent/job-metrics.ts';
import { kubeMetrics } from '../../src/kube/index.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import { networkMetrics } from '../../src/network/metrics.ts';

const RULES = join(repoRoot, 'charts/resultity-operator/files/alerts.yaml');
const TESTS = join(repoRoot, 'test/alerts/alerts.test.yaml');
const RUNBOOKS = join(repoRoot, 'docs/runbooks');

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}
const alerts = (parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Alert[] }[] }).groups.flatMap((g) => g.rules);

const promtool = async (args: readonly string[], input?: string): Promise<{ code: number; text: string }> => {
  const program = await prometheusProgram('promtool', quietProgress);
  const { code, stdout, stderr } = await exec([program, ...args], input === undefined ? {} : { input });
  return { code, text: `${stdout}${stderr}` };
};

describe('the alerts', () => {
  it('are rules that promtool takes', async () => {
    const { code, text } = await promtool(['check', 'rules', RULES]);
    expect(text).to.contain(`${alerts.length} rules found`);
    expect(code, text).to.equal(0);
  });
  it('fire when they should and are silent when they should not', async () => {
    const { code, text } = await promtool(['test', 'rules', TESTS]);
    expect(code, text).to.equal(0);
  });
  it('each have both kinds of test, and a runbook page that says what to look at and what to do', () => {
    const titles = (parse(readFileSync(TESTS, 'utf8')) as { tests: { name: string }[] }).tests.map((t) => t.name);
    expect(titles).to.have.members(alerts.flatMap((a) => [`${a.alert} fires`, `${a.alert} stays silent`]));
    expect(readdirSync(RUNBOOKS)).to.have.members(alerts.map((a) => `${a.alert}.md`));
    for (const { alert } of alerts) {
      const page = readFileSync(join(RUNBOOKS, `${alert}.md`), 'utf8');
      expect(page, alert).to.match(
        new RegExp(`^# ${alert}\n\n[\\s\\S]+\n## Look\n[\\s\\S]+\`\`\`\n[\\s\\S]+\n## Do\n`),
      );
    }
  });
  it('look only at metrics that a program registers', () => {
    for (const { alert, expr } of alerts) expect(metricsOf(expr), alert).to.have.lengthOf.at.least(1);
    expect(() => metricsOf('rate(resultity_agent_job_total[5m])')).to.throw('resultity_agent_job_total');
  });
});

describe('the metrics', () => {
  it('are named as promtool wants them', async () => {
    const metrics = new Metrics();
    agentMetrics(metrics);
    networkMetrics(metrics);
    operatorMetrics(metrics);
    kubeMetrics(metrics, 'resultity_');
    const { code, text } = await promtool(['check', 'metrics'], await metrics.text());
    expect(code, text).to.equal(0);
  });
  it('carry no label whose values grow with time or load, but on _info', () => {
    const unbounded = /^(job|job_id|jobId|pod|pod_uid|uid|digest|client|key|address|node_id)$/;
    for (const { name, labels } of CATALOG)
      if (!name.endsWith('_info'))
        expect(
          labels.filter((l) => unbounded.test(l)),
          name,
        ).to.deep.equal([]);
  });
});
