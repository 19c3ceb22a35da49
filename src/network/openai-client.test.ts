import { expect } from 'chai';
import OpenAI, { APIError } from 'openai';
import { API_KEY, ServiceRig } from '../../test/support/service-rig.ts';
import { testModel } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { answerTo, WorkingNode, type WorkOptions } from '../../test/support/working-node.ts';
import { ApiKeys } from './api-keys.ts';

const SLOW_KEY = 'sk-slow-1234567890';
const keys = new ApiKeys(
  JSON.stringify({
    keys: [
      { id: 'caller', key: API_KEY, admin: true },
      { id: 'slow', key: SLOW_KEY, perMinute: 40 },
    ],
  }),
);
const TASKS = ['chat.completions', 'completions', 'embeddings'];
const MODEL = 'tiny:v1';
const ask = (content: string) => ({ model: MODEL, messages: [{ role: 'user' as const, content }] });

/** The official client as it comes: its own retries are on. */
describe('the official openai client', function () {
  this.timeout(60_000);
  let rig: ServiceRig;
  let client: OpenAI;
  before(async () => {
    rig = await ServiceRig.start({ keys });
    await rig.publish({ models: [testModel('tiny', { tasks: TASKS }), testModel('chatty')] });
    client = new OpenAI({ apiKey: API_KEY, baseURL: `${rig.url}/v1` });
  });
  after(() => rig.stop());

  const workers: WorkingNode[] = [];
  const work = async (name: string, options: Omit<WorkOptions, 'models'> = {}) => {
    const models = [rig.model];
    const worker = await new WorkingNode(rig.node(name), { models, ...options }).start();
    workers.push(worker);
    await until(`${name} is active`, () => rig.service.registry.state(worker.node.node) === 'active');
    return worker;
  };
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((w) => w.stop()));
    await until('no session is left', () => rig.service.hub.size === 0);
  });
  const metric = async (name: string): Promise<number> => {
    const line = (await rig.metrics.text()).split('\n').find((l) => l.startsWith(`resultity_network_${name} `));
    return Number(line?.split(' ')[1] ?? 0);
  };
  const refused = async (work: Promise<unknown>): Promise<InstanceType<typeof APIError>> => {
    const error = await work.then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).to.be.instanceOf(APIError);
    return error as InstanceType<typeof APIError>;
  };

  it('chats, completes, embeds, streams each, and lists models', async () => {
    await work('all');
    const chat = await client.chat.completions.create(ask('why?'));
    expect(chat.choices[0]?.message.content).to.equal(answerTo('why?'));
    expect(chat.usage?.completion_tokens).to.equal(3);
    const text = await client.completions.create({ model: MODEL, prompt: 'once' });
    expect(text.choices[0]?.text).to.equal(answerTo('once'));
    const vectors = await client.embeddings.create({ model: MODEL, input: ['one', 'three'], encoding_format: 'float' });
    expect(vectors.data.map((d) => d.embedding)).to.deep.equal([
      [3, 0, 0.5],
      [5, 1, 0.5],
    ]);
    let said = '';
    let usage: number | undefined;
    const stream = await client.chat.completions.create({
      ...ask('how?'),
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const part of stream) {
      said += part.choices[0]?.delta.content ?? '';
      usage = part.usage?.completion_tokens ?? usage;
    }
    expect(said).to.equal(answerTo('how?'));
    expect(usage).to.equal(3);
    said = '';
    for await (const part of await client.completions.create({ model: MODEL, prompt: 'twice', stream: true }))
      said += part.choices[0]?.text ?? '';
    expect(said).to.equal(answerTo('twice'));
    const listed: string[] = [];
    for await (const model of client.models.list()) listed.push(model.id);
    expect(listed).to.deep.equal([MODEL, 'chatty:v1']);
    expect((await client.models.retrieve(MODEL)).owned_by).to.equal('testnet');
  });

  it('has 200 requests open at once, half of them streams, and each gets its own answer, once in the ledger', async () => {
    const { promise: hold, resolve: go } = Promise.withResolvers<void>();
    await Promise.all([1, 2, 3, 4].map((n) => work(`many ${n}`, { slots: 25, queue: 25, lineMs: 20, hold })));
    const before = rig.ledger().length;
    until('all are at work', () => workers.reduce((sum, w) => sum + w.running, 0) === 200, 20_000).then(go, () => {});
    const said = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        if (i % 2 === 0) return (await client.chat.completions.create(ask(`q ${i}`))).choices[0]?.message.content;
        let text = '';
        for await (const part of await client.chat.completions.create({ ...ask(`q ${i}`), stream: true }))
          text += part.choices[0]?.delta.content ?? '';
        return text;
      }),
    );
    expect(said).to.deep.equal(Array.from({ length: 200 }, (_, i) => answerTo(`q ${i}`)));
    const entries = rig.ledger().slice(before);
    expect(entries.filter((e) => e.receipt.receipt.verdict === 'accepted')).to.have.length(200);
    expect(new Set(entries.map((e) => e.result.jobId)).size).to.equal(200);
    expect(new Set(entries.map((e) => e.result.node)).size, 'all four nodes worked').to.equal(4);
  });

  for (const stream of [true, false])
    it(`frees the node when the client aborts ${stream ? 'a stream' : 'a request'}: the next one is served`, async () => {
      const worker = await work(`one ${stream}`, { slots: 1, lineMs: stream ? 2_000 : 60_000 });
      const stop = new AbortController();
      const left = client.chat.completions.create({ ...ask('leave'), stream } as never, { signal: stop.signal });
      const gone = left.then(
        async (s: unknown) => {
          for await (const _ of s as AsyncIterable<unknown>);
        },
        () => {},
      );
      await until('the node is at work', () => worker.running === 1);
      const stay = new AbortController();
      const next = client.chat.completions.create(ask('stay'), { signal: stay.signal });
      await until('the next one waits', async () => (await metric('queue_depth')) === 1);
      stop.abort();
      await until('the node is told', () => worker.cancels[0]?.reason === 'client_gone');
      await until('the node has the next job', () => worker.running === 1);
      await gone;
      stay.abort();
      await next.catch(() => {});
    });

  it('is told of its mistakes in OpenAI’s shape, without a retry: key, model, task, field', async () => {
    const foreign = new OpenAI({ apiKey: 'sk-nobody-0000', baseURL: `${rig.url}/v1` });
    const key = await refused(foreign.chat.completions.create(ask('x')));
    expect(key).to.be.instanceOf(OpenAI.AuthenticationError);
    expect([key.status, key.code, key.type]).to.deep.equal([401, 'bad_api_key', 'authentication_error']);
    const model = await refused(client.chat.completions.create({ ...ask('x'), model: 'gpt-9' }));
    expect(model).to.be.instanceOf(OpenAI.NotFoundError);
    expect([model.status, model.code, model.param]).to.deep.equal([404, 'model_not_found', 'model']);
    expect((await refused(client.models.retrieve('gpt-9'))).status).to.equal(404);
    const task = await refused(client.embeddings.create({ model: 'chatty:v1', input: 'x' }));
    expect([task.status, task.param]).to.deep.equal([400, 'model']);
    const wrong: [string, Record<string, unknown>][] = [
      ['messages', { messages: undefined }],
      ['messages', { messages: [] }],
      ['messages', { messages: [{ content: 'who says it?' }] }],
      ['temperature', { temperature: 3 }],
      ['temperature', { temperature: 'hot' }],
      ['top_p', { top_p: -0.1 }],
      ['max_tokens', { max_tokens: 0 }],
      ['max_completion_tokens', { max_completion_tokens: 1.5 }],
      ['n', { n: 0 }],
      ['stop', { stop: 7 }],
      ['stream', { stream: 'yes' }],
      ['stream_options', { stream_options: [] }],
    ];
    for (const [field, over] of wrong) {
      const error = await refused(client.chat.completions.create({ ...ask('x'), ...over } as never));
      expect(error, field).to.be.instanceOf(OpenAI.BadRequestError);
      expect([error.status, error.param, error.type]).to.deep.equal([400, field, 'invalid_request_error']);
      expect(error.message).to.contain(field);
    }
    const prompt = await refused(client.completions.create({ model: MODEL } as never));
    expect([prompt.status, prompt.param]).to.deep.equal([400, 'prompt']);
    const input = await refused(client.embeddings.create({ model: MODEL, input: [] }));
    expect([input.status, input.param]).to.deep.equal([400, 'input']);
    const steered = await refused(
      client.chat.completions.create(ask('x'), { headers: { 'resultity-priority': 'high' } }),
    );
    expect([steered.status, steered.param]).to.deep.equal([400, 'resultity-priority']);
  });

  it('waits as Retry-After says when its key is over the limit, and goes on', async () => {
    const hasty = new OpenAI({ apiKey: SLOW_KEY, baseURL: `${rig.url}/v1`, maxRetries: 0 });
    const all = Array.from({ length: 41 }, () => hasty.models.list());
    const errors = (await Promise.allSettled(all)).filter((r) => r.status === 'rejected').map((r) => r.reason);
    expect(errors).to.have.length.at.least(1);
    for (const error of errors) {
      expect(error).to.be.instanceOf(OpenAI.RateLimitError);
      expect([error.status, error.code]).to.deep.equal([429, 'rate']);
      expect(Number(error.headers.get('retry-after'))).to.be.within(1, 2);
    }
    const patient = new OpenAI({ apiKey: SLOW_KEY, baseURL: `${rig.url}/v1` });
    expect((await patient.models.list()).data).to.have.length(2);
    // another key is not held back
    expect((await client.models.list()).data).to.have.length(2);
  });

  it('is told 503 with Retry-After when nobody serves, and comes back until somebody does', async () => {
    const once = new OpenAI({ apiKey: API_KEY, baseURL: `${rig.url}/v1`, maxRetries: 0 });
    const error = await refused(once.chat.completions.create(ask('anyone?')));
    expect(error).to.be.instanceOf(OpenAI.InternalServerError);
    expect([error.status, error.code]).to.deep.equal([503, 'unavailable']);
    expect(error.message).to.contain('no node can serve tiny:v1');
    expect(Number(error.headers?.get('retry-after'))).to.be.above(0);
    const turnedAway = 'jobs_total{outcome="failed"}';
    const before = await metric(turnedAway);
    const patient = client.chat.completions.create(ask('anyone now?'));
    await until('it was turned away once', async () => (await metric(turnedAway)) > before);
    await work('late');
    expect((await patient).choices[0]?.message.content).to.equal(answerTo('anyone now?'));
  });
});
