import { expect } from 'chai';
import type OpenAI from 'openai';
import { AgentAndService } from '../support/agent-and-service.ts';
import type { AgentRig } from '../support/agent-rig.ts';
import type { ServiceRig } from '../support/service-rig.ts';
import { until } from '../support/until.ts';

const MESSAGES = [{ role: 'user' as const, content: 'What is the capital of France?' }];
const MODEL = 'tiny:v1';

describe('agent and network service: results above the frame limit, and callers that leave', function () {
  this.timeout(60_000);
  let both: AgentAndService;
  let rig: ServiceRig;
  let pod: AgentRig;
  let client: OpenAI;

  before(async () => {
    const jobs = { maxOutputTokens: 8192, maxQueue: 4, timeouts: { firstTokenMs: 9e3, gapMs: 9e3, totalMs: 60e3 } };
    both = await AgentAndService.start({
      snapshot: { jobs },
      // 6 000 tokens in one line each: more than 1 MiB of output
      engineEnv: { RESULTITY_SIM_TOKEN_MS: '0', RESULTITY_SIM_SAY: `Paris. ${'verylongword '.repeat(6_000)}` },
    });
    ({ service: rig, pod, client } = both);
  });
  after(async function () {
    if (this.test?.parent?.tests.some((t) => t.state === 'failed')) process.stderr.write(pod.logs.join(''));
    await both?.stop();
  });

  it('takes more than 1 MiB that was not streamed over POST /v1/results and gives it to the caller whole', async () => {
    const { data, response } = await client.embeddings
      .create({ model: MODEL, input: Array.from({ length: 8_000 }, () => ''), encoding_format: 'float' })
      .withResponse();
    expect(data.data).to.have.length(8_000);
    const job = response.headers.get('resultity-job');
    expect(rig.ledger().find((e) => e.result.jobId === job)?.receipt.receipt.verdict).to.equal('accepted');
  });

  it('streams an answer whose result is above 1 MiB, whole and billed once', async () => {
    const answer = await client.chat.completions
      .create({ model: MODEL, messages: MESSAGES, stream: true, max_tokens: 8192 })
      .withResponse();
    const job = answer.response.headers.get('resultity-job');
    let text = '';
    let bytes = 0;
    for await (const part of answer.data) {
      text += part.choices[0]?.delta.content ?? '';
      bytes += JSON.stringify(part).length;
    }
    expect(bytes).to.be.above(1 << 20);
    expect(text.match(/verylongword/g)).to.have.length(6_000);
    await until('the ledger has it', () => rig.ledger().some((e) => e.result.jobId === job));
    expect(rig.ledger().filter((e) => e.result.jobId === job)).to.have.length(1);
  });

  it('frees the engine when the caller of a stream leaves, and serves the next one', async () => {
    const before = pod.calls().length;
    const answer = await client.chat.completions
      .create({ model: MODEL, messages: MESSAGES, stream: true, max_tokens: 8192 })
      .withResponse();
    const job = answer.response.headers.get('resultity-job');
    let seen = 0;
    for await (const _ of answer.data) if (++seen === 20) break; // closes the connection
    await until('the engine stopped', () => pod.calls().some((c) => c.request === `${job}.1` && c.end === 'aborted'));
    expect(pod.calls().length).to.be.above(before);
    await until('no job is open', () => pod.agent?.view().used === 0);
    const next = await client.chat.completions.create({ model: MODEL, messages: MESSAGES, max_tokens: 16 });
    expect(next.choices[0]?.message.content).to.contain('Paris');
  });

  it('loses no result above the limit when the network restarts while the engine works on it', async () => {
    const asked = client.embeddings
      .create({ model: MODEL, input: Array.from({ length: 6_000 }, () => ''), encoding_format: 'float' })
      .catch(() => undefined); // the caller of a restarted service may get an error; the work is not lost
    await until('it runs', () => pod.agent?.view().used === 1);
    const known = rig.ledger().length;
    await rig.restart();
    await asked;
    await until('the result reached the ledger or was given up by name', () => rig.ledger().length > known, 20_000);
    await until('nothing waits for a receipt', () => pod.agent?.view().used === 0);
  });
});
