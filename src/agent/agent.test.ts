import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';

const orders = (more: Record<string, string> = {}): Record<string, string> => ({
  'resultity.com/assigned-model': MINI_MODEL,
  'resultity.com/incarnation': '1700000000000',
  ...more,
});
/** An answer of many tokens, so that a test has the time to interrupt it. */
const LONG = {
  request: {
    model: MINI_MODEL,
    messages: [{ role: 'user', content: `What is the capital of France? ${'Tell me all that you know. '.repeat(40)}` }],
    stream: true,
  },
};

describe('the agent against a small network, with the real launcher and a stand-in as engine', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;

  const beat = () => network.of('heartbeat').at(-1)?.body;
  const active = (): Promise<void> =>
    until('Active', () => network.connected && beat()?.models[0]?.loaded === true && beat().config !== null, 30_000);
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

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(rig.logs.join(''));
    await rig.close();
    await network.close();
  });

  it('registers, installs the model, proves it and does a job streamed and one not', async () => {
    await start();
    await active();
    expect(beat().models).to.deep.equal([
      { model: MINI_MODEL, digest: network.modelDigest, state: 'active', loaded: true },
    ]);
    expect(beat().config.digest).to.equal(network.digest);
    expect(beat().capacity).to.deep.equal({ slots: 2, queue: 4 });
    const payload = network.offer();
    await until('the receipt', () => network.results.length === 1);
    const streamed = network.lastResult();
    expect(streamed.result.requestHash).to.equal(`sha256:${createHash('sha256').update(payload).digest('hex')}`);
    const passedOn = network.linesOf('job-1');
    expect(passedOn).to.have.length.greaterThan(0);
    expect(streamed.output.split('\n').slice(0, passedOn.length)).to.deep.equal(passedOn);
    network.offer({ jobId: 'job-2', stream: false });
    await until('the second result', () => network.results.length === 2);
    const body = JSON.parse(network.lastResult().output);
    expect(body.choices[0].message.content).to.contain('Paris');
    expect(network.lastResult().result.completionTokens).to.equal(body.usage.completion_tokens);
    network.offer({ jobId: 'job-3', kind: 'embeddings', stream: false, request: { model: MINI_MODEL, input: 'a' } });
    await until('the third result', () => network.results.length === 3);
    expect(network.lastResult().result).to.include({ completionTokens: 0, finishReason: 'stop' });
    // nothing of what people asked or were told is in any log or record
    expect(rig.logs.join('')).not.to.contain('capital of France');
    expect(rig.logs.join('')).not.to.contain('42'.repeat(32));
  });

  it('frees the engine when a job is cancelled, and goes on after a cut socket where the network stopped', async () => {
    await start();
    await active();
    network.offer({ jobId: 'long', ...LONG });
    await until('first lines', () => network.linesOf('long').length > 2);
    network.send('job.cancel', { jobId: 'long', attempt: 1, reason: 'client_gone' });
    await until('job.lost', () => network.of('job.lost').length === 1);
    expect(network.of('job.lost')[0]?.body).to.deep.equal({ jobId: 'long', attempt: 1, reason: 'cancelled' });
    await until('the engine is free', () => rig.calls().some((c) => c.request === 'long.1' && c.end === 'aborted'));

    network.offer({ jobId: 'cut', ...LONG });
    await until('lines', () => network.linesOf('cut').length > 3);
    network.drop();
    await until('a new session', () => network.sessions === 2);
    expect(network.hello?.jobs).to.deep.include({
      jobId: 'cut',
      attempt: 1,
      state: 'running',
      deltas: network.hello?.jobs[0]?.deltas,
    });
    await until('its result', () => network.results.length === 1, 20_000);
    const held = network.linesOf('cut');
    expect(network.lastResult().output.split('\n').slice(0, held.length)).to.deep.equal(held);
    const calls = () => rig.calls().filter((c) => c.request === 'cut.1');
    await until('the engine’s own log of it', () => calls().length > 0);
    expect(calls()).to.have.length(1);
  });

  it('resends the very bytes of an unreceipted result after a crash, and gives up what it had only accepted', async () => {
    await start();
    await active();
    network.receipts = false;
    network.offer({ jobId: 'done', stream: false });
    await until('the result', () => network.results.length === 1);
    network.offer({ jobId: 'half', ...LONG });
    await until('lines', () => network.linesOf('half').length > 1);
    await rig.agent?.kill();
    network.receipts = true;
    network.heard.length = 0;
    await rig.startAgent();
    await until('the result again', () => network.results.length === 2, 20_000);
    await until('job.lost', () => network.of('job.lost').length > 0);
    expect(network.results[1]).to.equal(network.results[0]);
    expect(network.of('job.lost').map((h) => h.body)).to.deep.equal([
      { jobId: 'half', attempt: 1, reason: 'agent_restart' },
    ]);
    expect(network.hello?.jobs).to.deep.equal([{ jobId: 'done', attempt: 1, state: 'result', deltas: 0 }]);
    // the engine was left running by the new agent, tested again, and serves
    await active();
    expect(rig.calls().filter((c) => c.request === 'half.1')).to.have.length(1);
    network.offer({ jobId: 'half', attempt: 1 });
    await until('a reject', () => network.of('job.reject').length === 1);
    expect(network.of('job.reject')[0]?.body.code).to.equal('stale_attempt');
    network.offer({ jobId: 'half', attempt: 2 });
    await until('the second attempt', () => network.results.length === 3);
  });

  it('refuses a model with a wrong byte, and recovers alone when the file is right again', async () => {
    const right = network.modelBytes;
    network.modelBytes = Buffer.from(right);
    network.modelBytes[7] = 0x21;
    await start();
    await until('Failed', () => beat()?.models[0]?.state === 'failed', 20_000);
    expect(beat().models[0]).to.include({ reason: 'DigestMismatch', loaded: false });
    network.offer();
    await until('a reject', () => network.of('job.reject').length === 1);
    network.modelBytes = right;
    await active();
  });

  it('keeps the old configuration when the new one is tampered with, and takes it when it is right', async () => {
    await start();
    await active();
    const before = network.digest;
    network.publish({
      jobs: { maxOutputTokens: 99, maxQueue: 1, timeouts: { firstTokenMs: 9_000, gapMs: 9_000, totalMs: 9_000 } },
    });
    const right = network.kit.answer;
    network.kit.tamper((a) => {
      (a.snapshot as { version: number }).version = 77;
    });
    const { epoch, version, digest } = network.kit.current!.snapshot;
    network.send('config.notice', { epoch, version, digest });
    await until('a refusal', () => rig.logs.some((l) => l.includes('configuration not renewed')));
    expect(rig.agent?.view().config.applied?.digest).to.equal(before);
    expect(rig.agent?.view().errors).to.include('bad_signature');
    network.kit.answer = right;
    await until('the new one', () => rig.agent?.view().config.applied?.digest === digest);
    await until('an ack', () =>
      network.of('config.ack').some((h) => h.body.state === 'applied' && h.body.digest === digest),
    );
    await until('new capacity', () => beat()?.capacity.queue === 1);
    expect(network.of('config.ack').map((h) => h.body.state)).to.include('restricted');
  });

  it('rejects while drained or paused, says bye once, and comes back', async () => {
    await start();
    await active();
    rig.annotate(orders({ 'resultity.com/paused': 'true' }));
    await until('paused', () => rig.agent?.view().paused === true);
    network.offer();
    await until('a reject', () => network.of('job.reject').length === 1);
    expect(network.of('job.reject')[0]?.body.code).to.equal('paused');
    rig.annotate(orders());
    await until('resumed', () => rig.agent?.view().paused === false);
    network.offer({ jobId: 'slow', ...LONG });
    await until('lines', () => network.linesOf('slow').length > 1);
    network.send('control', { action: 'drain', reason: 'maintenance', retryAfterMs: 50 });
    await until('bye', () => network.of('bye').length === 1, 20_000);
    expect(network.of('bye')[0]?.body.reason).to.equal('drained');
    expect(network.results.map((r) => JSON.parse(r).result.jobId)).to.deep.equal(['slow']);
    network.state = 'draining';
    await until('back', () => network.sessions === 2);
    network.offer({ jobId: 'next' });
    await until('a reject', () => network.of('job.reject').length === 2);
    expect(network.of('job.reject')[1]?.body.code).to.equal('draining');
    network.send('control', { action: 'resume', reason: 'done' });
    await until('resumed', () => rig.agent?.view().drain === 'no');
    network.offer({ jobId: 'last' });
    await until('its result', () => network.results.length === 2);
  });

  it('finishes what runs when the pod ends, then lets the engine go', async () => {
    await start();
    await active();
    network.offer({ jobId: 'last', ...LONG });
    await until('lines', () => network.linesOf('last').length > 1);
    rig.launcher?.kill('SIGTERM');
    await until('the result', () => network.results.length === 1, 20_000);
    await until('drained', () => existsSync(join(rig.paths.control as string, 'drained')));
    await until('the launcher ends', () => rig.launcher?.exitCode === 0, 10_000);
    await rig.agent?.stop();
    expect(network.of('bye').map((h) => h.body.reason)).to.deep.equal(['drained']);
    expect(network.of('job.lost')).to.deep.equal([]);
  });
});
