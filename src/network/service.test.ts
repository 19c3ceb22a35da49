import { expect } from 'chai';
import OpenAI, { APIError } from 'openai';
import type { FakeNode } from '../../test/support/fake-node.ts';
import { API_KEY, OTHER_KEY, ServiceRig } from '../../test/support/service-rig.ts';
import { until } from '../../test/support/until.ts';
import { CLOSE, type JobOffer, verifyReceipt } from '../protocol/index.ts';

const chunk = (content: string, over: Record<string, unknown> = {}): string =>
  JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }], ...over });
const USAGE = chunk('', { choices: [], usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 } });
const ANSWER = JSON.stringify({
  id: 'c',
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Paris' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
});
const MESSAGES = [{ role: 'user' as const, content: 'What is the capital of France?' }];

describe('the network service', () => {
  let rig: ServiceRig;
  let client: OpenAI;
  let node: FakeNode;
  before(async () => {
    rig = await ServiceRig.start();
    await rig.publish();
    client = new OpenAI({ apiKey: API_KEY, baseURL: `${rig.url}/v1`, maxRetries: 0 });
  });
  after(() => rig.stop());
  const chat = (over: Record<string, unknown> = {}) =>
    client.chat.completions.create({
      model: rig.model.ref,
      messages: MESSAGES,
      ...over,
    } as never) as unknown as Promise<never>;
  const take = async (): Promise<{ offer: JobOffer; payload: string }> => {
    const taken = await node.offer();
    node.accept(taken.offer);
    return taken;
  };

  it('answers 503 with Retry-After in OpenAI’s shape when no node can serve', async () => {
    const error = await chat().then(
      () => undefined,
      (e: unknown) => e as InstanceType<typeof APIError>,
    );
    expect(error).to.be.instanceOf(APIError);
    expect(error?.status).to.equal(503);
    expect(error?.code).to.equal('unavailable');
    expect(error?.headers?.get('retry-after')).to.match(/^[1-9]/);
  });

  it('makes a registered node active by its first good heartbeat, and remembers its owner', async () => {
    node = rig.node();
    const { status, json } = await node.register();
    expect(status).to.equal(200);
    expect(json).to.include({ state: 'registered', ownerProved: false });
    expect(json.config.snapshot.version).to.equal(1);
    await node.connect();
    expect(node.welcome).to.deep.include({ state: 'registered', config: rig.config, jobs: [] });
    rig.beat(node);
    await until('active', () => rig.service.registry.state(node.node) === 'active');
  });

  it('answers a chat that is not streamed byte for byte, with a receipt that verifies offline', async () => {
    const asked = fetch(`${rig.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${API_KEY}` },
      body: JSON.stringify({ model: 'tiny', messages: MESSAGES }),
    });
    const { offer, payload } = await take();
    expect(offer).to.deep.include({ kind: 'chat.completions', stream: false, attempt: 1, priority: 5 });
    expect(offer.request).to.deep.include({ model: 'tiny:v1', max_tokens: 512 });
    node.send('job.result', node.result(offer, payload, ANSWER));
    const receipt = await node.receipt();
    expect(receipt.receipt).to.deep.include({ verdict: 'accepted', jobId: offer.jobId, rootVersion: 1 });
    const response = await asked;
    expect(await response.text()).to.equal(ANSWER);
    expect(response.headers.get('resultity-job')).to.equal(offer.jobId);
    expect(response.headers.get('resultity-node')).to.equal(node.node);

    const get = (key: string) =>
      fetch(`${rig.url}/v1/receipts/${offer.jobId}`, { headers: { authorization: `Bearer ${key}` } });
    const { receipts } = (await (await get(API_KEY)).json()) as { receipts: never[] };
    const authority = { rootVersion: 1, keys: [rig.ticketSigner.address], issuedAt: rig.kit.now };
    const checks = verifyReceipt(rig.kit.domain, receipts[0] as never, [authority], ANSWER);
    expect(checks.filter((c) => !c.ok)).to.deep.equal([]);
    expect((await get(OTHER_KEY)).status).to.equal(404);
  });

  it('streams to the official client, without the usage line that was not asked for', async () => {
    const asked = chat({ stream: true }) as unknown as Promise<AsyncIterable<{ choices: unknown[] }>>;
    const { offer, payload } = await take();
    expect(offer.request.stream_options).to.deep.equal({ include_usage: true });
    const lines = [chunk('Par'), chunk('is'), USAGE];
    node.send('job.delta', { jobId: offer.jobId, attempt: 1, from: 0, lines: lines.slice(0, 1) });
    // a repetition is skipped, what is new is taken
    node.send('job.delta', { jobId: offer.jobId, attempt: 1, from: 0, lines: lines.slice(0, 2) });
    node.send('job.result', node.result(offer, payload, lines.join('\n')));
    let text = '';
    let count = 0;
    for await (const part of await asked) {
      count++;
      text += (part as { choices: { delta: { content: string } }[] }).choices[0]?.delta.content;
    }
    expect(text).to.equal('Paris');
    expect(count).to.equal(2);
    expect((await node.receipt()).receipt.verdict).to.equal('accepted');
  });

  it('gives the same receipt again for the same result, byte for byte, over HTTP too', async () => {
    const asked = chat();
    const { offer, payload } = await take();
    const result = node.result(offer, payload, ANSWER);
    node.send('job.result', result);
    const first = await node.receipt();
    await asked;
    node.send('job.result', result);
    expect(await node.receipt()).to.deep.equal(first);
    const again = await node.call('POST', '/v1/results', result);
    expect(again.json).to.deep.equal(first);
    const other = node.result(offer, payload, ANSWER, { completionTokens: 2 });
    expect((await node.call('POST', '/v1/results', other)).json.receipt.verdict).to.equal('duplicate');
  });

  it('bills the smaller of what a node claims and what its output holds, and keeps both', async () => {
    const asked = chat();
    const { offer, payload } = await take();
    node.send('job.result', node.result(offer, payload, ANSWER, { promptTokens: 9_000, completionTokens: 5_000 }));
    expect((await node.receipt()).receipt.verdict).to.equal('accepted');
    await asked;
    const entry = [...rig.ledger()].find((e) => e.result.jobId === offer.jobId);
    expect(entry?.tokens).to.deep.equal({
      promptClaimed: 9_000,
      completionClaimed: 5_000,
      completionCounted: 3,
      method: 'output',
      promptBilled: 7,
      completionBilled: 3,
    });
  });

  it('rejects a result whose output is not what was streamed', async () => {
    const asked = chat({ stream: true }) as unknown as Promise<AsyncIterable<unknown>>;
    const { offer, payload } = await take();
    node.send('job.delta', { jobId: offer.jobId, attempt: 1, from: 0, lines: [chunk('Par')] });
    const stream = await asked;
    node.send('job.result', node.result(offer, payload, chunk('Lon')));
    expect((await node.receipt()).receipt.verdict).to.equal('rejected');
    let failed = false;
    try {
      for await (const _part of stream);
    } catch {
      failed = true;
    }
    expect(failed).to.equal(true);
  });

  it('cancels the job when the caller leaves, and bills the lines that were passed on', async () => {
    const stop = new AbortController();
    const asked = client.chat.completions.create(
      { model: rig.model.ref, messages: MESSAGES, stream: true },
      { signal: stop.signal },
    );
    const { offer, payload } = await take();
    node.send('job.delta', { jobId: offer.jobId, attempt: 1, from: 0, lines: [chunk('Par')] });
    await asked;
    stop.abort();
    const cancel = JSON.parse(await node.next('job.cancel'));
    expect(cancel).to.deep.equal({ jobId: offer.jobId, attempt: 1, reason: 'client_gone' });
    node.send('job.result', node.result(offer, payload, chunk('Par')));
    expect((await node.receipt()).receipt.verdict).to.equal('accepted');
    const entry = [...rig.ledger()].find((e) => e.result.jobId === offer.jobId);
    expect(entry?.tokens).to.include({ method: 'lines', completionClaimed: 3, completionBilled: 1 });
  });

  it('goes on with a running stream on a new socket from the lines it holds', async () => {
    const asked = chat({ stream: true }) as unknown as Promise<
      AsyncIterable<{ choices: { delta: { content: string } }[] }>
    >;
    const { offer, payload } = await take();
    const lines = [chunk('Par'), chunk('is')];
    const job = { jobId: offer.jobId, attempt: 1 };
    node.send('job.delta', { ...job, from: 0, lines: lines.slice(0, 1) });
    const stream = await asked;
    node.cut();
    await node.gone();
    await node.connect({ jobs: [{ ...job, state: 'running', deltas: 2 }] });
    expect(node.welcome?.jobs).to.deep.equal([{ ...job, deltas: 1 }]);
    rig.beat(node);
    node.send('job.delta', { ...job, from: 1, lines: lines.slice(1) });
    node.send('job.result', node.result(offer, payload, lines.join('\n')));
    let text = '';
    for await (const part of stream) text += part.choices[0]?.delta.content;
    expect(text).to.equal('Paris');
    await node.receipt();
  });

  it('reassigns a job that the new hello does not name, with a higher attempt, and calls the old result late', async () => {
    const asked = chat();
    const old = await take();
    node.cut();
    await node.gone();
    await node.connect();
    expect(node.welcome?.jobs).to.deep.equal([]);
    rig.beat(node);
    const { offer, payload } = await take();
    expect(offer).to.deep.include({ jobId: old.offer.jobId, attempt: 2 });
    node.send('job.result', node.result(old.offer, old.payload, ANSWER));
    expect((await node.receipt()).receipt.verdict).to.equal('late');
    node.send('job.result', node.result(offer, payload, ANSWER));
    expect((await node.receipt()).receipt.verdict).to.equal('accepted');
    await asked;
  });

  it('lets the newer incarnation supersede the older one and refuses the older one afterwards', async () => {
    const newer = rig.node();
    newer.incarnation = 2;
    newer.bootId = 'boot-2';
    await newer.connect();
    expect(newer.welcome).to.be.an('object');
    expect(await node.gone()).to.equal(CLOSE.superseded);
    await node.connect();
    expect(await node.gone()).to.equal(CLOSE.superseded);
    expect(rig.service.registry.row(node.node)?.incarnation).to.equal(2);
    node = newer;
    rig.beat(node);
    await until('active', () => rig.service.registry.state(node.node) === 'active');
  });

  it('refuses an API key that it does not know and a model that is not approved', async () => {
    const stranger = new OpenAI({ apiKey: 'sk-unknown-00000', baseURL: `${rig.url}/v1`, maxRetries: 0 });
    const fails = (p: Promise<unknown>) =>
      p.then(
        () => undefined,
        (e: { status: number; code: string }) => [e.status, e.code],
      );
    expect(await fails(stranger.models.list())).to.deep.equal([401, 'bad_api_key']);
    expect(await fails(chat({ model: 'gpt-9' }))).to.deep.equal([404, 'model_not_found']);
    expect((await client.models.list()).data.map((m) => m.id)).to.deep.equal(['tiny:v1']);
    expect((await client.models.retrieve('tiny:v1')).id).to.equal('tiny:v1');
  });

  it('tells nodes of a new configuration, and refuses one that does not rise or lacks signatures', async () => {
    expect((await rig.publish()).status).to.equal(200);
    const notice = JSON.parse(await node.next('config.notice'));
    expect(notice).to.deep.equal(rig.config);
    expect(notice.version).to.equal(2);
    expect((await rig.publish({ version: 1 })).status).to.equal(400);
    rig.kit.version = 2;
    const made = rig.kit.publish();
    const unsigned = { snapshot: made.snapshot, snapshotSignatures: [], document: Buffer.from(made.bytes).toString() };
    const answer = await rig.post('/v1/admin/publications', unsigned);
    expect(answer.status).to.equal(400);
    expect(await answer.text()).to.contain('threshold_not_met');
    expect(rig.config.version).to.equal(2);
    rig.beat(node);
  });

  it('tells a waiting caller to come back when it restarts; the official client does, and the old result is late', async () => {
    const patient = new OpenAI({ apiKey: API_KEY, baseURL: `${rig.url}/v1`, maxRetries: 2 });
    const asked = patient.chat.completions.create({ model: rig.model.ref, messages: MESSAGES });
    const plain = rig.post(
      '/v1/chat/completions',
      { model: rig.model.ref, messages: MESSAGES },
      { authorization: `Bearer ${API_KEY}` },
    );
    const old = await take();
    await take();
    await rig.restart();
    const told = await plain;
    expect(told.status).to.equal(503);
    expect(told.headers.get('retry-after')).to.equal('2');
    expect(((await told.json()) as { error: { code: string } }).error.code).to.equal('unavailable');
    await node.gone();
    await node.connect();
    rig.beat(node);
    node.send('job.result', node.result(old.offer, old.payload, ANSWER));
    expect((await node.receipt()).receipt.verdict).to.equal('late');
    const { offer, payload } = await take();
    node.send('job.result', node.result(offer, payload, ANSWER));
    expect((await node.receipt()).receipt.verdict).to.equal('accepted');
    expect((await asked).choices[0]?.message.content).to.equal('Paris');
  });

  it('keeps nodes, publication, incarnation and receipts over a restart', async () => {
    const asked = chat();
    const { offer, payload } = await take();
    const result = node.result(offer, payload, ANSWER);
    node.send('job.result', result);
    const first = await node.receipt();
    await asked;
    await rig.restart();
    expect(await node.gone()).to.equal(CLOSE.restart);
    expect(rig.config.version).to.equal(2);
    await node.connect();
    expect(node.welcome?.state).to.equal('active');
    rig.beat(node);
    node.send('job.result', result);
    expect(await node.receipt()).to.deep.equal(first);
  });
});
