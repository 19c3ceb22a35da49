import { expect } from 'chai';
import { CliRig } from '../../test/support/cli-rig.ts';
import { until } from '../../test/support/until.ts';
import { machine, model, network, resultityNode, WHY_NOT_CASES } from '../../test/support/why-not-cases.ts';
import type { ResultityNode } from '../api/index.ts';
import { KIND } from './kinds.ts';
import { nearest } from './nearest.ts';

const RUNNING: ResultityNode['status'] = {
  phase: 'Active',
  podName: 'gpu-a',
  podUID: 'uid-1',
  kubernetesNode: 'gpu-1',
  assignedModel: 'qwen3-32b:v2',
  gpu: { summary: 'NVIDIA-H200', resourceName: 'nvidia.com/gpu', count: 1 },
  agent: { phase: 'Active' },
};

/** Half of the streams began within 0.25 to 0.35 s; 2 of 10 000 jobs were lost, and rejected offers are no jobs. */
const METRICS = `# HELP resultity_agent_jobs_total Jobs by how they ended
resultity_agent_jobs_total{outcome="accepted"} 9998
resultity_agent_jobs_total{outcome="lost_engine"} 2
resultity_agent_jobs_total{outcome="rejected_full"} 500
resultity_agent_ttft_seconds_bucket{le="0.25"} 25
resultity_agent_ttft_seconds_bucket{le="0.35"} 75
resultity_agent_ttft_seconds_bucket{le="+Inf"} 100
resultity_agent_ttft_seconds_count 100
`;

describe('the plugin looks at a cluster', () => {
  let rig: CliRig;
  beforeEach(async () => {
    rig = await CliRig.start();
  });
  afterEach(() => rig.stop());

  it('shows networks and nodes, and for each that is not as it should be what to do next', async () => {
    await rig.seed(KIND.network, {
      ...network(),
      status: { version: 41, shortDigest: '9f31c2a7e0b4', ticketAge: 'Fresh', root: { version: 3 } },
    });
    await rig.seed(KIND.node, resultityNode({}, RUNNING));
    await rig.seed(KIND.node, resultityNode({}, { phase: 'Unplaced' }, 'gpu-b'));
    const { code, out } = await rig.run('status');
    expect(code).to.equal(0);
    expect(out).to.contain('NETWORK testnet   config v41 9f31c2a7e0b4 (fresh)   root v3');
    expect(out).to.match(/gpu-a +Active +qwen3-32b:v2 +NVIDIA-H200/);
    expect(out).to.match(/gpu-b +Unplaced .*→ kubectl resultity why-not gpu-b/);
  });

  it('shows what agents say right now in the wide form, and a dash for those that do not answer', async () => {
    await rig.seed(KIND.node, resultityNode({}, RUNNING));
    await rig.seed(KIND.node, resultityNode({}, { ...RUNNING, podName: 'gpu-b' }, 'gpu-b'));
    const proxy = '/api/v1/namespaces/nodes/pods/gpu-a:9440/proxy';
    rig.api.text = ({ path }) =>
      path === `${proxy}/statusz`
        ? JSON.stringify({ jobs: { running: 7 }, tokensPerSecond: 1840.4, heartbeatAgeMs: 2000 })
        : path === `${proxy}/metrics`
          ? METRICS
          : undefined;
    const { out } = await rig.run('status', '-o', 'wide');
    expect(out).to.match(/RUN +TTFT P50 +TOK\/S +JOBS +OK % +HEARTBEAT +MACHINE/);
    expect(out).to.match(/gpu-a .* 7 +300 ms +1 840 +10 000 +99\.98 +2s +gpu-1/);
    expect(out).to.match(/gpu-b .* - +- +- +- +- +- +gpu-1/);
  });

  it('gives the whole picture as JSON, without the API server’s bookkeeping', async () => {
    const node = resultityNode({}, RUNNING);
    await rig.seed(KIND.node, { ...node, metadata: { ...node.metadata, managedFields: [{ manager: 'x' }] } } as never);
    const { out } = await rig.run('status', '-o', 'json');
    expect(JSON.parse(out).nodes[0].status.phase).to.equal('Active');
    expect(out).to.not.contain('managedFields');
  });

  it('takes where to go before the command too, as kubectl’s users write it', async () => {
    await rig.seed(KIND.node, resultityNode({}, RUNNING));
    expect((await rig.run('-n', 'nodes', 'status')).out).to.contain('gpu-a');
    expect((await rig.run('--namespace=elsewhere', 'status')).out).to.contain('nothing of Resultity');
  });

  it('watches: shows the next picture when something changed, until interrupted', async () => {
    await rig.seed(KIND.node, resultityNode({}, RUNNING));
    const stop = new AbortController();
    let shown = 0;
    Object.assign(rig.io, { signal: stop.signal, clear: () => ++shown });
    const running = rig.run('status', '--watch');
    const at = { name: 'gpu-a', namespace: 'nodes' };
    await until('picture 1', () => shown === 1);
    await rig.client.patchMerge(KIND.node, at, { status: { phase: 'Draining' } }, { subresource: 'status' });
    await until('picture 2', () => shown === 2);
    stop.abort();
    const { code, out } = await running;
    expect(code).to.equal(0);
    expect(out.match(/Active|Draining/g)).to.deep.equal(['Active', 'Draining']);
  });

  it('says why a node has no place, from what the cluster holds, as text and as JSON', async () => {
    const full = WHY_NOT_CASES.find((c) => c.title === 'node full')!;
    await rig.seed(KIND.network, network());
    await rig.seed(KIND.model, model('qwen3-32b'));
    await rig.seed(KIND.machine, machine());
    for (const pod of full.pods ?? []) await rig.seed(KIND.pod, pod);
    await rig.seed(KIND.node, resultityNode());
    const { code, out, err } = await rig.run('why-not', 'gpu-a');
    expect(code).to.equal(0);
    expect(err).to.equal('');
    expect(out.split('\n')[0]).to.equal('gpu-a waits for its place: NoSpareGPU');
    expect(out).to.contain('NVIDIA-H200 all 8 in use');
    const json = JSON.parse((await rig.run('why-not', 'gpu-a', '-o', 'json')).out);
    expect(json).to.include({ node: 'gpu-a', answer: 'waits' });
    expect(json.findings[0].reason).to.equal('NoSpareGPU');
    expect((await rig.run('why-not', 'gpu-a', '-o', 'wide')).out).to.contain('node gpu-1  NVIDIA-H200: all 8 in use');
  });

  it('tells the state of a resource claim', async () => {
    await rig.seed(KIND.network, network());
    await rig.seed(KIND.model, model('qwen3-32b'));
    const spec = {
      placement: {
        unreachableSeconds: 1,
        fit: 'Advise' as const,
        resourceClaims: [{ name: 'gpu', resourceClaimName: 'one' }],
      },
    };
    await rig.seed(KIND.node, resultityNode(spec));
    expect((await rig.run('why-not', 'gpu-a')).out).to.contain('ClaimPending: there is no resource claim "gpu" yet');
    await rig.seed(KIND.claim, { metadata: { name: 'one', namespace: 'nodes' } });
    expect((await rig.run('why-not', 'gpu-a')).out).to.contain(
      'ClaimPending: the resource claim "gpu" waits for a device',
    );
    await rig.client.patchMerge(
      KIND.claim,
      { name: 'one', namespace: 'nodes' },
      { status: { allocation: {} } },
      { subresource: 'status' },
    );
    expect((await rig.run('why-not', 'gpu-a')).out).to.contain('nothing stands in its way');
  });

  it('goes on without what may not be seen, and says so', async () => {
    await rig.seed(KIND.network, network());
    await rig.seed(KIND.model, model('qwen3-32b'));
    await rig.seed(KIND.node, resultityNode());
    rig.api.fault({ when: (r) => r.path === '/api/v1/nodes', answer: { status: 403, reason: 'Forbidden' } });
    const { code, err } = await rig.run('why-not', 'gpu-a');
    expect(code).to.equal(0);
    expect(err).to.equal('you may not list nodes: GPUs are not judged');
  });

  it('lists the approved models', async () => {
    await rig.seed(KIND.model, model('qwen3-32b'));
    await rig.seed(KIND.model, model('old', { state: 'archived' }));
    const { out } = await rig.run('models');
    expect(out).to.match(/qwen3-32b:v2 +testnet +active +1 × 71 680 MiB, ≥ 8.0 +65 GB +1 +0 +0/);
    expect(out).to.match(/old:v2 +testnet +archived/);
  });

  it('merges the logs of agent and runtime by time', async () => {
    await rig.seed(KIND.node, resultityNode({}, RUNNING));
    rig.api.text = ({ path, query }) => {
      if (!path.endsWith('/pods/gpu-a/log')) return undefined;
      return query.get('container') === 'agent'
        ? '2026-11-21T10:00:01Z {"msg":"one"}\n2026-11-21T10:00:03Z {"msg":"three"}\n'
        : '2026-11-21T10:00:02Z two\n';
    };
    expect((await rig.run('logs', 'gpu-a')).out.split('\n')).to.deep.equal([
      'agent    {"msg":"one"}',
      'runtime  two',
      'agent    {"msg":"three"}',
    ]);
    expect((await rig.run('logs', 'gpu-a', '-c', 'runtime', '--tail', '5')).out).to.equal('two');
    expect(rig.api.requests.at(-1)?.query.get('tailLines')).to.equal('5');
    expect((await rig.run('logs', 'gpu-a', '-c', 'agent', '--follow', '--since', '10m')).out).to.contain('three');
    expect(rig.api.requests.at(-1)?.query.get('sinceSeconds')).to.equal('600');
  });

  it('says what to do when it cannot', async () => {
    await rig.seed(KIND.node, resultityNode());
    const wrong = async (...args: string[]) => {
      const { code, err } = await rig.run(...args);
      expect(code).to.equal(1);
      return err;
    };
    expect(await wrong('why-not', 'gpu-b')).to.equal(
      'error: there is no ResultityNode "gpu-b" in namespace nodes; did you mean gpu-a?',
    );
    expect(await wrong('logs', 'gpu-a')).to.contain('gpu-a has no pod, so no logs; kubectl resultity why-not gpu-a');
    expect(await wrong('status', '--kubeconfig', '/nowhere')).to.match(
      /cannot read the kubeconfig \/nowhere.*set KUBECONFIG/,
    );
    const refuse = (status: number, reason: string) =>
      rig.api.fault({ when: (r) => r.path.includes('resultitynetworks'), times: 2, answer: { status, reason } });
    refuse(403, 'Forbidden');
    expect(await wrong('config', 'history')).to.contain(
      'you may not list resultitynetworks.resultity.com in namespace nodes',
    );
    rig.api.fault({ when: () => true, times: 1, answer: { status: 404, reason: 'NotFound' } });
    expect(await wrong('models')).to.contain(
      'this cluster has no ApprovedModels: install the chart resultity-operator first',
    );
    await rig.api.stop();
    expect(await wrong('models')).to.contain('does not answer: check --context and the connection');
  });

  it('paints only on a terminal', async () => {
    await rig.seed(KIND.node, resultityNode({}, RUNNING));
    expect((await rig.run('status')).out).to.not.contain('\u001b');
    Object.assign(rig.io, { color: true });
    expect((await rig.run('status')).out).to.contain('\u001b[32mActive\u001b[0m');
  });

  it('knows the names that were meant', () => {
    expect(nearest('h200-', ['h200-0', 'h200-1', 'a100-0'])).to.deep.equal(['h200-0', 'h200-1']);
    expect(nearest('xyz', ['h200-0'])).to.deep.equal([]);
  });
});
