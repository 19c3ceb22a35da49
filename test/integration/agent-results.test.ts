import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import OpenAI from 'openai';
import { AgentRig } from '../support/agent-rig.ts';
import { MiniNetwork } from '../support/mini-network.ts';
import { API_KEY, ServiceRig } from '../support/service-rig.ts';
import { until } from '../support/until.ts';

const MESSAGES = [{ role: 'user' as const, content: 'What is the capital of France?' }];
const MODEL = 'tiny:v1';

describe('agent and network service: results above the frame limit, and callers that leave', function () {
  this.timeout(60_000);
  let folder: string;
  let rig: ServiceRig;
  let pod: AgentRig;
  let client: OpenAI;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'resultity-results-'));
    await mkdir(join(folder, 'tiny'));
    const mini = new MiniNetwork();
    await writeFile(join(folder, 'tiny/model.safetensors'), mini.modelBytes);
    rig = await ServiceRig.start({ models: folder });
    const model = mini.model({ sources: [`${rig.url}/models/tiny/`] });
    const ttl = { heartbeatMs: 500, missedHeartbeats: 3, pollMs: 30_000, retryMs: 200, cacheMs: 86_400_000 };
    const jobs = { maxOutputTokens: 8192, maxQueue: 4, timeouts: { firstTokenMs: 9e3, gapMs: 9e3, totalMs: 60e3 } };
    await rig.publish({ models: [model], jobs, ttl, trustedSources: ['127.0.0.1', rig.authority] });
    client = new OpenAI({ apiKey: API_KEY, baseURL: `${rig.url}/v1`, maxRetries: 0 });
    pod = new AgentRig({ endpoint: rig.url, network: rig.kit.network, pinnedRoot: rig.kit.pinnedRoot });
    await pod.startAgent();
    // 6 000 tokens in one line each: more than 1 MiB of output
    pod.startLauncher({ RESULTITY_SIM_TOKEN_MS: '0', RESULTITY_SIM_SAY: `Paris. ${'verylongword '.repeat(6_000)}` });
    await until('active', () => [...rig.service.registry.counts().keys()].includes('active'), 30_000);
  });
  after(async function () {
    if (this.test?.parent?.tests.some((t) => t.state === 'failed')) process.stderr.write(pod.logs.join(''));
    await pod.close();
    await rig.stop();
    await rm(folder, { recursive: true, force: true });
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
