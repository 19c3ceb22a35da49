import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Standin, startStandin } from '../../test/standin/standin.ts';
import { EngineClient } from './engine-client.ts';
import { SseLines } from './sse-lines.ts';

const clocks = { firstTokenMs: 5000, gapMs: 5000, totalMs: 8000 };
const chat = (more: object = {}): object => ({
  model: 'm:v1',
  messages: [{ role: 'user', content: 'What is the capital of France?' }],
  stream: true,
  stream_options: { include_usage: true },
  ...more,
});

describe('engine client', () => {
  let dir: string;
  let standin: Standin;
  let client: EngineClient;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'engine-'));
    standin = await startStandin({ socketPath: join(dir, 's'), model: 'm:v1', slots: 1 });
    client = new EngineClient({ socketPath: join(dir, 's') });
  });
  afterEach(async () => {
    await client.close();
    await standin.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('streams lines whose join is the output, and reads usage and finish reason', async () => {
    const seen: string[] = [];
    const done = await client.run('chat.completions', chat(), {
      stream: true,
      timeouts: clocks,
      onLine: (l) => void seen.push(l),
    });
    if (done.state !== 'done') throw new Error(done.detail);
    expect(done.output).to.equal(seen.join('\n'));
    const text = seen.map((l) => JSON.parse(l).choices[0]?.delta?.content ?? '').join('');
    expect(text).to.match(/^Paris\. \(I am resultity-runtime-sim, a stand-in/);
    expect(done.usage?.completionTokens).to.equal(done.contentChunks);
    expect(done.finishReason).to.equal('stop');
  });

  it('returns the exact body when not streamed', async () => {
    const done = await client.run('chat.completions', chat({ stream: false }), { stream: false, timeouts: clocks });
    if (done.state !== 'done') throw new Error(done.detail);
    expect(JSON.parse(done.output).choices[0].message.content).to.contain('Paris');
    expect(done.lines).to.equal(0);
  });

  it('answers embeddings with finish reason stop', async () => {
    const done = await client.run(
      'embeddings',
      { model: 'm:v1', input: ['a', 'b'] },
      { stream: false, timeouts: clocks },
    );
    if (done.state !== 'done') throw new Error(done.detail);
    expect(JSON.parse(done.output).data).to.have.length(2);
    expect(done.finishReason).to.equal('stop');
  });

  it('tells health, models and metrics', async () => {
    expect(await client.health()).to.deep.equal({ state: 'up' });
    expect((await client.models())[0]).to.deep.equal({ id: 'm:v1', maxModelLen: 2048 });
    await client.run('chat.completions', chat(), { stream: true, timeouts: clocks });
    const m = await client.metrics();
    expect(m.running).to.equal(0);
    expect(m.generationTokens).to.be.greaterThan(5);
  });

  it('takes a socket that nobody listens on as not up yet', async () => {
    const other = new EngineClient({ socketPath: join(dir, 'none') });
    const health = await other.health();
    expect(health).to.include({ state: 'down', why: 'refused' });
    const lost = await other.run('completions', { model: 'm:v1', prompt: 'x' }, { stream: false, timeouts: clocks });
    expect(lost).to.include({ state: 'failed', reason: 'engine_crash' });
    await other.close();
  });

  it('frees the slot of a cancelled request', async () => {
    standin.setMode('stall');
    const stop = new AbortController();
    const lost = await client.run('chat.completions', chat(), {
      stream: true,
      timeouts: clocks,
      signal: stop.signal,
      onLine: (_, i) => (i === 2 ? stop.abort() : undefined),
    });
    expect(lost).to.include({ state: 'failed', reason: 'cancelled' });
    standin.setMode('ok');
    const next = await client.run('chat.completions', chat(), { stream: true, timeouts: clocks });
    expect(next.state).to.equal('done');
    expect(standin.calls.map((c) => c.end)).to.deep.equal(['aborted', 'done']);
  });

  for (const [mode, reason] of [
    ['error-chunk', 'engine_error'],
    ['garbage-sse', 'engine_error'],
    ['error-500', 'engine_error'],
    ['cut', 'engine_crash'],
  ] as const)
    it(`names ${reason} when the engine does ${mode}`, async () => {
      standin.setMode(mode);
      const lost = await client.run('chat.completions', chat(), { stream: true, timeouts: clocks });
      expect(lost).to.include({ state: 'failed', reason });
    });

  for (const [mode, reason, clock] of [
    ['wedged', 'timeout_first', { firstTokenMs: 60 }],
    ['stall', 'timeout_gap', { gapMs: 60 }],
    ['stall', 'timeout_total', { totalMs: 60 }],
  ] as const)
    it(`stops by ${reason} when the engine does ${mode}`, async () => {
      standin.setMode(mode);
      const lost = await client.run('chat.completions', chat(), { stream: true, timeouts: { ...clocks, ...clock } });
      expect(lost).to.include({ state: 'failed', reason });
    });

  it('applies only the total clock without streaming', async () => {
    standin.setMode('wedged');
    const timeouts = { firstTokenMs: 1, gapMs: 1, totalMs: 60 };
    const lost = await client.run('chat.completions', chat({ stream: false }), { stream: false, timeouts });
    expect(lost).to.include({ state: 'failed', reason: 'timeout_total' });
  });

  it('refuses an output above the cap', async () => {
    const lost = await client.run('chat.completions', chat(), { stream: true, timeouts: clocks, maxOutputBytes: 300 });
    expect(lost).to.include({ state: 'failed', reason: 'output_too_large' });
  });

  it('keeps each line byte for byte, however the bytes are cut', async () => {
    const line = '{"choices":[{"delta":{"content":"\\u00e9 é 😀  x"}}],  "n":1.0 }';
    const body = Buffer.from(
      `: hello\n\ndata: ${line}\r\n\r\ndata:${line}\n\nevent: x\ndata: [DONE]\n\ndata: late\n\n`,
    );
    for (const step of [1, 2, 3, 7, body.length]) {
      const sse = new SseLines();
      const out: string[] = [];
      for (let at = 0; at < body.length; at += step) out.push(...sse.push(body.subarray(at, at + step)));
      expect(out).to.deep.equal([line, line]);
      expect(sse.done).to.equal(true);
    }
  });

  it('sends an inference once even when the engine closes the connection unread', async () => {
    let connections = 0;
    const path = join(dir, 'rude');
    const rude = createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((r) => rude.listen(path, r));
    const other = new EngineClient({ socketPath: path });
    const lost = await other.run('completions', { model: 'm:v1', prompt: 'x' }, { stream: false, timeouts: clocks });
    expect(lost).to.include({ state: 'failed', reason: 'engine_crash' });
    expect(connections).to.equal(1);
    await other.close();
    rude.close();
  });
});
