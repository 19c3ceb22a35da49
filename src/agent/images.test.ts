import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';
import { statusOf } from './node-view.ts';

const NEW_MODEL = 'small:v2';
const image = (c: string): string => `registry.example/vllm@sha256:${c.repeat(64)}`;
const runtimes = [{ engine: 'vllm', version: '0.33.0', image: image('c'), accelerator: 'cpu' }];
const images = (runtime: string, agent = `registry.example/resultity@sha256:${'b'.repeat(64)}`) => ({ agent, runtime });

describe('an agent whose pod runs other images than the newest configuration names', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  const view = () => rig.agent!.view();
  const assign = (ref: string): void =>
    rig.annotate({ 'resultity.com/assigned-model': ref, 'resultity.com/incarnation': '1700000000000' });
  const start = async (settings: Record<string, unknown> = {}): Promise<void> => {
    rig = new AgentRig({
      endpoint: network.endpoint,
      network: 'testnet',
      pinnedRoot: network.kit.pinnedRoot,
      settings,
    });
    await rig.startAgent();
    rig.startLauncher();
  };
  const active = (): Promise<void> =>
    until('Active', () => network.connected && network.of('heartbeat').at(-1)?.body.models[0]?.loaded === true, 30_000);
  const told = (): string[] => rig.logs.filter((line) => line.includes('configuration stays pending'));
  const acks = (): string[] => network.of('config.ack').map((h) => `${h.body.version} ${h.body.state}`);
  const publishNew = (over: Record<string, unknown> = {}): void => {
    network.publish({
      runtimes,
      models: [network.model(), network.model({ name: 'small', version: 'v2' })],
      jobs: { maxOutputTokens: 99, maxQueue: 1, timeouts: { firstTokenMs: 9_000, gapMs: 9_000, totalMs: 9_000 } },
      ...over,
    });
    const { epoch, version, digest } = network.kit.current!.snapshot;
    network.send('config.notice', { epoch, version, digest });
  };

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(rig.logs.join(''));
    await rig.close();
    await network.close();
  });

  it('is restricted at once, serves on what is applied, and extends in the pod that has the image', async () => {
    await start();
    await active();
    const before = network.digest;
    publishNew();
    assign(NEW_MODEL);
    await until('pending', () => view().config.pending?.digest === network.digest);
    await until('told', () => told().length === 1);
    await until('restricted', () => network.of('heartbeat').at(-1)?.body.capacity.queue === 1);
    expect(view().config.applied?.digest).to.equal(before);
    network.offer({ configDigest: before });
    await until('a result on the old configuration', () => network.results.length === 1, 10_000);
    expect(network.lastResult().result).to.include({ model: MINI_MODEL, configDigest: before });
    const status = statusOf(view());
    const blocked = { step: 'validate', reason: 'ImageMismatch' };
    expect(status.config).to.deep.equal({
      applied: before,
      pending: network.digest,
      restrictedBy: network.digest,
      blocked,
    });
    expect(status.lastError?.code).to.equal('ImageMismatch');
    expect(status.models?.map((m) => `${m.model} ${m.state} ${m.reason}`)).to.have.members([
      `${MINI_MODEL} active undefined`,
      `${NEW_MODEL} pending ImageMismatch`,
    ]);
    expect(acks()).to.deep.equal(['1 applied', '2 restricted']);
    expect(told()).to.have.length(1);

    await rig.agent?.kill();
    await rig.startAgent({ images: images(`mirror.example/other/${image('c').slice(9)}`) });
    await until('the new model', () => view().loaded === NEW_MODEL, 20_000);
    expect(view().config).to.deep.include({ pending: null });
    expect(view().config.applied?.digest).to.equal(network.digest);
    expect(view().runtimeVersion).to.equal('0.33.0');
  });

  it('serves nothing when it starts for the first time on an image that is not listed, and says why', async () => {
    await start({ images: images(image('d')) });
    await until('told', () => told().length === 1);
    await until('connected', () => network.connected);
    const status = statusOf(view());
    expect(status.config).to.deep.include({ pending: network.digest });
    expect(status.config).not.to.have.property('applied');
    expect(status.lastError?.code).to.equal('ImageMismatch');
    expect(status.models).to.deep.equal([
      { model: MINI_MODEL, digest: network.modelDigest, state: 'pending', reason: 'ImageMismatch' },
    ]);
    expect(view().engine.facts?.pid ?? null).to.equal(null);
    network.offer();
    await until('a reject', () => network.of('job.reject').length === 1);
    expect(rig.calls()).to.deep.equal([]);
  });

  it('does not wait for an agent image, which the operator rolls later', async () => {
    await start({ images: images(image('a'), `registry.example/resultity@sha256:${'e'.repeat(64)}`) });
    await active();
    expect(view().config.applied?.digest).to.equal(network.digest);
  });

  it('takes no job while it is older than the configuration demands, and leaves the engine alone', async () => {
    await start();
    await active();
    const before = network.digest;
    const engine = view().engine.facts?.startedAt;
    publishNew({ agent: { ...agentOf(network), minVersion: '9.0.0' } });
    await until('not loaded', () => view().loaded === null);
    network.offer({ configDigest: before });
    await until('a reject', () => network.of('job.reject').length === 1);
    expect(statusOf(view()).lastError?.code).to.equal('VersionTooOld');
    expect(view().config.pending?.digest).to.equal(network.digest);
    expect(view().engine.facts?.startedAt).to.equal(engine);
  });
});

const agentOf = (network: MiniNetwork): object => network.kit.document().agent as object;
