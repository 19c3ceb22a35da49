import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';
import { RUNTIME_READY_PATH } from '../api/contract.ts';
import { statusOf } from './node-view.ts';

const image = (c: string): string => `registry.example/vllm@sha256:${c.repeat(64)}`;
const orders = (more: Record<string, string> = {}): Record<string, string> => ({
  'resultity.com/assigned-model': MINI_MODEL,
  'resultity.com/incarnation': '1700000000000',
  ...more,
});

describe('an agent in a pod whose images are patched in place', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  const view = () => rig.agent!.view();
  const phase = () => statusOf(view()).phase;

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
    rig = new AgentRig({ endpoint: network.endpoint, network: 'testnet', pinnedRoot: network.kit.pinnedRoot });
    await rig.startAgent();
    rig.startLauncher();
    await until('Active', () => network.connected && phase() === 'Active', 30_000);
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(rig.logs.join(''));
    await rig.close();
    await network.close();
  });

  it('serves again when another runtime container has taken the place of one that was told to end', async () => {
    rig.annotate(orders({ 'resultity.com/drain': 'true' }));
    await until('drained', () => phase() === 'Drained');
    const before = view().engine.facts?.startedAt;
    const gone = new Promise((resolve) => rig.launcher?.once('exit', resolve));
    rig.launcher?.kill('SIGTERM');
    await gone;
    rig.startLauncher();
    await until(
      'tested again',
      () => (view().engine.facts?.startedAt ?? before) !== before && view().loaded !== null,
      20_000,
    );
    expect(phase()).to.equal('Drained');
    rig.annotate(orders());
    await until('Active again', () => network.connected && phase() === 'Active', 20_000);
    network.offer();
    await until('a result', () => network.results.length === 1, 10_000);
  });

  it('calls the runtime ready by what stands when asked, not by its last look at an engine that is gone', async () => {
    const ask = async () => (await fetch(`http://127.0.0.1:${rig.agent!.port}${RUNTIME_READY_PATH}`)).status;
    expect(await ask()).to.equal(200);
    rig.launcher?.kill('SIGSTOP');
    process.kill(view().engine.facts!.pid!, 'SIGKILL');
    expect(await ask()).to.equal(503);
    rig.launcher?.kill('SIGCONT');
  });

  it('takes the image that was patched in for its own, and extends to the configuration that needs it', async () => {
    network.publish({ runtimes: [{ engine: 'vllm', version: '0.33.0', image: image('c'), accelerator: 'cpu' }] });
    const { epoch, version, digest } = network.kit.current!.snapshot;
    network.send('config.notice', { epoch, version, digest });
    await until('pending', () => view().config.pending?.digest === digest);
    const engine = view().engine.facts?.startedAt;
    rig.annotate(orders({ 'resultity.com/runtime-image': image('c') }));
    await until('applied', () => view().config.applied?.digest === digest);
    expect(statusOf(view()).runtime).to.include({ image: image('c'), version: '0.33.0' });
    expect(view().engine.facts?.startedAt).to.equal(engine);
  });

  it('says Handover once its jobs are done, and leaves its engine to the next agent', async () => {
    network.offer();
    rig.annotate(orders({ 'resultity.com/handover': 'true' }));
    await until('Handover', () => phase() === 'Handover');
    expect(network.results).to.have.length(1);
    network.offer({ jobId: '00000000-0000-4000-8000-00000000000a' });
    await until('a reject', () => network.of('job.reject').length === 1);
    const engine = view().engine.facts?.startedAt;
    await rig.agent?.stop();
    rig.annotate(orders());
    await rig.startAgent();
    await until('Active', () => network.connected && phase() === 'Active', 20_000);
    expect(view().engine.facts?.startedAt).to.equal(engine);
  });
});
