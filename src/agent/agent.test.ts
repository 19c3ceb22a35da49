import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';

const assigned = { 'resultity.com/assigned-model': MINI_MODEL, 'resultity.com/incarnation': '1700000000000' };

describe('the agent against a small network, with the real launcher and a stand-in as engine', function () {
  this.timeout(40_000);
  let network: MiniNetwork;
  let rig: AgentRig;

  const active = (): Promise<void> =>
    until(
      'Active',
      () => network.of('heartbeat').some((h) => h.body.models[0]?.loaded === true && h.body.config),
      30_000,
    );

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
    rig = new AgentRig({ endpoint: network.endpoint, network: 'testnet', pinnedRoot: network.kit.pinnedRoot });
    await rig.startAgent();
    rig.startLauncher();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(rig.logs.join(''));
    await rig.close();
    await network.close();
  });

  it('registers, installs the model, proves it and does a job streamed and one not', async () => {
    await active();
    const beat = network.of('heartbeat').at(-1)?.body;
    expect(beat.models).to.deep.equal([
      { model: MINI_MODEL, digest: network.modelDigest, state: 'active', loaded: true },
    ]);
    expect(beat.config.digest).to.equal(network.digest);
    expect(beat.capacity).to.deep.equal({ slots: 2, queue: 4 });
    const payload = network.offer();
    await until('the receipt', () => network.results.length === 1);
    const streamed = network.lastResult();
    const { createHash } = await import('node:crypto');
    expect(streamed.result.requestHash).to.equal(`sha256:${createHash('sha256').update(payload).digest('hex')}`);
    expect(streamed.output.split('\n').slice(0, network.linesOf('job-1').length)).to.deep.equal(
      network.linesOf('job-1'),
    );
    expect(network.linesOf('job-1').length).to.be.greaterThan(0);
    expect(streamed.output).to.contain('Paris');
    network.offer({ jobId: 'job-2', stream: false });
    await until('the second result', () => network.results.length === 2);
    const body = JSON.parse(network.lastResult().output);
    expect(body.choices[0].message.content).to.contain('Paris');
    expect(network.lastResult().result.completionTokens).to.equal(body.usage.completion_tokens);
    await until('both settled', () => rig.logs.filter((l) => l.includes('receipt verified')).length === 2);
  });
});
void readFileSync;
void writeFileSync;
void join;
void assigned;
