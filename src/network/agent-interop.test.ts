import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import OpenAI from 'openai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MiniNetwork } from '../../test/support/mini-network.ts';
import { API_KEY, ServiceRig } from '../../test/support/service-rig.ts';
import { until } from '../../test/support/until.ts';
import { verifyReceipt, zReceipts } from '../protocol/index.ts';

const MESSAGES = [{ role: 'user' as const, content: 'What is the capital of France?' }];

describe('the network service with the real agent, the real launcher and a stand-in as engine', function () {
  this.timeout(40_000);
  let folder: string;
  let rig: ServiceRig;
  let pod: AgentRig;
  let client: OpenAI;
  const states = (): string[] => [...rig.service.registry.counts().keys()];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'resultity-interop-'));
    await mkdir(join(folder, 'tiny'));
    // the same small model that the agent's own tests install, served by the service under test
    const mini = new MiniNetwork();
    await writeFile(join(folder, 'tiny/model.safetensors'), mini.modelBytes);
    rig = await ServiceRig.start({ models: folder });
    const model = mini.model({ sources: [`${rig.url}/models/tiny/`] });
    const ttl = { heartbeatMs: 500, missedHeartbeats: 3, pollMs: 30_000, retryMs: 200, cacheMs: 86_400_000 };
    const answer = await rig.publish({ models: [model], ttl, trustedSources: ['127.0.0.1', rig.authority] });
    expect(answer.status, await answer.text()).to.equal(200);
    client = new OpenAI({ apiKey: API_KEY, baseURL: `${rig.url}/v1`, maxRetries: 2 });
    pod = new AgentRig({ endpoint: rig.url, network: rig.kit.network, pinnedRoot: rig.kit.pinnedRoot });
    await pod.startAgent();
    pod.startLauncher();
  });
  after(async function () {
    if (this.test?.parent?.tests.some((t) => t.state === 'failed')) process.stderr.write(pod.logs.join(''));
    await pod.close();
    await rig.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('brings the node to active: registered, model downloaded and verified, tested, in rotation', async () => {
    await until('active', () => states().includes('active'), 30_000);
  });
  it('answers a chat, and the receipt verifies offline', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'tiny:v1', messages: MESSAGES })
      .withResponse();
    expect(data.choices[0]?.message.content).to.contain('Paris');
    const job = response.headers.get('resultity-job') ?? '';
    const answer = await fetch(`${rig.url}/v1/receipts/${job}`, { headers: { authorization: `Bearer ${API_KEY}` } });
    const [pair] = zReceipts.parse(await answer.json()).receipts;
    const authority = { rootVersion: 1, keys: [rig.ticketSigner.address], issuedAt: rig.kit.now };
    expect(verifyReceipt(rig.kit.domain, pair!, [authority]).every((c) => c.ok)).to.equal(true);
    expect(pair?.receipt.verdict).to.equal('accepted');
  });
  it('streams a chat to its end', async () => {
    const stream = await client.chat.completions.create({ model: 'tiny:v1', messages: MESSAGES, stream: true });
    let text = '';
    for await (const part of stream) text += part.choices[0]?.delta.content ?? '';
    expect(text).to.contain('Paris');
  });
  it('serves again by itself after the service was restarted', async () => {
    await rig.restart();
    await until('active again', () => states().includes('active'), 30_000);
    const again = await client.chat.completions.create({ model: 'tiny:v1', messages: MESSAGES });
    expect(again.choices[0]?.message.content).to.contain('Paris');
  });
});
