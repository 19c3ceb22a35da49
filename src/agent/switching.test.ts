import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';
import { modelDigest } from '../protocol/index.ts';
import { statusOf } from './node-view.ts';

const NEW_MODEL = 'small:v2';
const WRONG = { request: { prompt: 'x', max_tokens: 4 }, expect: { contains: 'no engine says this' } };

describe('an accepted configuration takes effect as a whole or not at all', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  const view = () => rig.agent!.view();
  const annotate = (assigned: string, more: Record<string, string> = {}): void =>
    rig.annotate({ 'resultity.com/assigned-model': assigned, 'resultity.com/incarnation': '1700000000000', ...more });
  /** Assigned, and seen by the agent: a pause that comes with it and goes again shows in the view. */
  const assign = async (ref: string): Promise<void> => {
    annotate(ref, { 'resultity.com/paused': 'true' });
    await until('the order is seen', () => view().paused);
    annotate(ref);
    await until('the order is seen', () => !view().paused);
  };
  const notice = (): void => {
    const { epoch, version, digest } = network.kit.current!.snapshot;
    network.send('config.notice', { epoch, version, digest });
  };
  const publish = (models: Record<string, unknown>[], more: Record<string, unknown> = {}): void => {
    network.publish({ models, ...more });
    notice();
  };
  const small = (more: Record<string, unknown> = {}) => network.model({ name: 'small', version: 'v2', ...more });
  const serves = (ref: string): Promise<void> => until(`${ref} is served`, () => view().loaded === ref, 30_000);
  const acks = (): string[] =>
    network
      .of('config.ack')
      .map((h) => [h.body.version, h.body.state, h.body.step, h.body.code].filter(Boolean).join(' '));
  const job = async (jobId: string, model: string, configDigest: `sha256:${string}`): Promise<void> => {
    network.offer({
      jobId,
      model,
      configDigest,
      stream: false,
      request: { model, messages: [{ role: 'user', content: 'x' }] },
    });
    await until(
      `the result of ${jobId}`,
      () => network.results.some((r) => JSON.parse(r).result.jobId === jobId),
      15_000,
    );
  };

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
    rig = new AgentRig({ endpoint: network.endpoint, network: 'testnet', pinnedRoot: network.kit.pinnedRoot });
    await rig.startAgent();
    rig.startLauncher();
    await serves(MINI_MODEL);
    await until('connected', () => network.connected);
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(rig.logs.join(''));
    await rig.close();
    await network.close();
  });

  it('goes back to the old model when the new one fails its test, keeps the old digest and names the step', async () => {
    const before = network.digest;
    await assign(NEW_MODEL);
    publish([network.model(), small({ test: WRONG })]);
    await until('failed', () => acks().includes('2 failed test TestInferenceFailed'), 30_000);
    await serves(MINI_MODEL);
    expect(view().config.applied?.digest).to.equal(before);
    const status = statusOf(view());
    expect(status.config).to.deep.equal({
      applied: before,
      pending: network.digest,
      restrictedBy: network.digest,
      blocked: { step: 'test', reason: 'TestInferenceFailed' },
    });
    expect(status.phase).to.equal('Active');
    expect(status.lastError?.message).to.match(/^step test: the answer/);
    expect(status.models?.map((m) => `${m.model} ${m.state} ${m.reason ?? ''}`)).to.have.members([
      `${MINI_MODEL} active `,
      `${NEW_MODEL} failed TestInferenceFailed`,
    ]);
    await job('old', MINI_MODEL, before);
    const loads = rig.logs.filter((l) => l.includes('engine ready')).length;
    // the signers mend it: nothing waits
    publish([network.model(), small()]);
    await serves(NEW_MODEL);
    expect(view().config.applied?.digest).to.equal(network.digest);
    expect(statusOf(view()).config).to.deep.equal({ applied: network.digest });
    await job('new', NEW_MODEL, network.digest);
    expect(acks()).to.deep.equal([
      '1 applied',
      '2 restricted',
      '2 failed test TestInferenceFailed',
      '3 restricted',
      '3 applied',
    ]);
    expect(rig.logs.filter((l) => l.includes('engine ready'))).to.have.length(loads + 1);
  });

  it('serves on, without a pause, while the files of the new model cannot be had', async () => {
    const before = network.digest;
    const engine = view().engine.facts?.startedAt;
    const files = [{ path: 'model.safetensors', size: 9, sha256: 'ab'.repeat(32) }];
    const digest = modelDigest(files);
    await assign(NEW_MODEL);
    publish([network.model(), small({ files, digest })]);
    await until('failed', () => acks().some((a) => a.startsWith('2 failed prefetch')), 30_000);
    await until('tried again', () => rig.logs.filter((l) => l.includes('back to the one before')).length === 2, 15_000);
    expect(rig.logs.filter((l) => l.includes('test inference passed'))).to.have.length(1);
    expect(acks().filter((a) => a.startsWith('2 failed'))).to.have.length(1);
    await job('old', MINI_MODEL, before);
    expect(view().engine.facts?.startedAt).to.equal(engine);
    expect(view().config.applied?.digest).to.equal(before);
  });

  it('takes the old arguments back when the engine does not come up with the new ones', async () => {
    const before = network.digest;
    const engine = { name: 'vllm', minVersion: '0.18.0', args: { 'max-model-len': 2, 'max-num-seqs': 2 } };
    publish([network.model({ engine })]);
    await until('failed', () => acks().some((a) => a.startsWith('2 failed test')), 30_000);
    await serves(MINI_MODEL);
    expect(view().config.applied?.digest).to.equal(before);
    await job('old', MINI_MODEL, before);
  });

  it('stays where a person holds it, says so, and goes on when released', async () => {
    const before = network.digest;
    annotate(MINI_MODEL, { 'resultity.com/hold': 'true', 'resultity.com/paused': 'true' });
    await until('the order is seen', () => view().paused);
    annotate(MINI_MODEL, { 'resultity.com/hold': 'true' });
    await until('the order is seen', () => !view().paused);
    publish([network.model(), small()], {
      jobs: { maxOutputTokens: 99, maxQueue: 1, timeouts: { firstTokenMs: 9_000, gapMs: 9_000, totalMs: 9_000 } },
    });
    await until('held', () => acks().includes('2 held validate Held'));
    expect(statusOf(view()).config).to.deep.include({ applied: before, blocked: { step: 'validate', reason: 'Held' } });
    await job('old', MINI_MODEL, before);
    annotate(MINI_MODEL);
    await until('applied', () => view().config.applied?.digest === network.digest);
  });

  it('is wholly the old or wholly the new one after a crash in each step', async () => {
    let from = MINI_MODEL;
    let entry = network.model();
    const seen = new Set<string>();
    const crashAt = (text: string): Promise<void> =>
      new Promise((resolve) => {
        rig.onLog = (line) => {
          if (!line.includes(`"${text}`)) return;
          rig.onLog = null;
          resolve(rig.agent?.kill());
        };
      });
    for (const [step, line] of [
      ['validate', 'configuration accepted'],
      ['drain', 'switching the model'],
      ['switch', 'starting the engine'],
      ['test', 'engine ready'],
      ['record', 'test inference passed'],
      ['applied', 'configuration applied'],
    ] as const) {
      const old = network.digest;
      const version = `v${network.kit.version + 1}`;
      const to = `small:${version}`;
      await assign(to);
      const crashed = crashAt(line);
      publish([entry, small({ version })]);
      await crashed;
      const held = JSON.parse(await readFile(join(rig.paths.state as string, 'applied.json'), 'utf8'));
      const whole = held.applied.digest === old ? [old, from] : [network.digest, to];
      expect([held.applied.digest, held.served], step).to.deep.equal(whole);
      seen.add(`${step} ${held.applied.digest === old ? 'old' : 'new'}`);
      await rig.startAgent();
      expect(view().config.applied?.digest, step).to.equal(whole[0]);
      await until(`applied after ${step}`, () => view().config.applied?.digest === network.digest, 30_000);
      await serves(to);
      await until('connected', () => network.connected);
      await job(step, to, network.digest);
      [from, entry] = [to, small({ version })];
    }
    expect([...seen]).to.include.members(['drain old', 'switch old', 'test old', 'applied new']);
  });

  it('keeps who signed it in the execution record', async () => {
    await assign(NEW_MODEL);
    publish([network.model(), small()]);
    await serves(NEW_MODEL);
    const lines = () => network.logs.map((l) => JSON.parse(l)).filter((l) => l.kind === 'config.applied');
    await until('the record', () => lines().some((l) => l.data.version === 2));
    const applied = lines().filter((l) => l.data.version === 2);
    expect(applied).to.have.length(1);
    expect(applied[0].data.digest).to.equal(network.digest);
    const config = network.kit.keys.config.map((k) => k.address as string);
    expect(applied[0].data.signers).to.have.length.at.least(2);
    expect(config).to.include.members(applied[0].data.signers);
  });
});
