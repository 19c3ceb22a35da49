import { expect } from 'chai';
import type OpenAI from 'openai';
import { AgentAndService } from '../../test/support/agent-and-service.ts';
import { API_KEY, type ServiceRig } from '../../test/support/service-rig.ts';
import { verifyReceipt, zReceipts } from '../protocol/index.ts';

const MESSAGES = [{ role: 'user' as const, content: 'What is the capital of France?' }];

describe('the network service with the real agent, the real launcher and a stand-in as engine', function () {
  this.timeout(60_000);
  let both: AgentAndService;
  let rig: ServiceRig;
  let client: OpenAI;

  // registered, model downloaded and verified, tested, in rotation
  before(async () => {
    both = await AgentAndService.start({ maxRetries: 2 });
    ({ service: rig, client } = both);
  });
  after(async function () {
    if (this.test?.parent?.tests.some((t) => t.state === 'failed')) process.stderr.write(both.pod.logs.join(''));
    await both?.stop();
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
    await both.active();
    const again = await client.chat.completions.create({ model: 'tiny:v1', messages: MESSAGES });
    expect(again.choices[0]?.message.content).to.contain('Paris');
  });
});
