import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import {
  type JobOffer,
  type JobReceiptMessage,
  type JobResultMessage,
  parsePayload,
  type Sha256,
  zJobCancel,
  zJobOffer,
  zJobReceipt,
} from '../../src/protocol/index.ts';
import type { Arrived, FakeNode } from './fake-node.ts';

export interface WorkOptions {
  readonly models: readonly { readonly ref: string; readonly digest: Sha256 }[];
  readonly slots?: number;
  readonly queue?: number;
  /** Time for each line of an answer; 0 answers at once. */
  readonly lineMs?: number;
  /** Nothing is answered before this resolves. */
  readonly hold?: Promise<void>;
}

type JobCancel = z.infer<typeof zJobCancel>;
interface Running {
  readonly offer: JobOffer;
  readonly payload: string;
  readonly stop: AbortController;
  sent: number;
}

/** What a working node answers, so that a caller can tell its own answer from another's. */
export const answerTo = (question: string): string => `You asked: ${question}`;

/**
 * A node that works by itself: it takes every offer, answers it after a while, gives up what is cancelled, and after a cut
 * comes back with what it has, sending each result until it is receipted. A fake engine and no journal; the rest as the
 * protocol has it.
 */
export class WorkingNode {
  readonly node: FakeNode;
  readonly receipts: JobReceiptMessage[] = [];
  readonly cancels: JobCancel[] = [];
  readonly #options: WorkOptions;
  readonly #running = new Map<string, Running>();
  readonly #results = new Map<string, JobResultMessage>();
  readonly #stop = new AbortController();
  #life: Promise<void> | undefined;

  constructor(node: FakeNode, options: WorkOptions) {
    this.node = node;
    this.#options = options;
    node.onFrame = (frame) => this.#take(frame);
  }

  /** Jobs that are being worked on now. */
  get running(): number {
    return this.#running.size;
  }
  /** Results without a receipt. */
  get unreceipted(): number {
    return this.#results.size;
  }

  /** Registers and connects; from then on it comes back by itself. */
  async start(): Promise<this> {
    const { status, json } = await this.node.register();
    if (status !== 200) throw new Error(`register answered ${status}: ${JSON.stringify(json)}`);
    await this.#connect();
    this.#life = this.#live().catch(() => {});
    return this;
  }
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const job of this.#running.values()) job.stop.abort();
    await this.#life;
    this.node.close();
  }

  async #live(): Promise<void> {
    for (let beat = performance.now(); ; await sleep(50, undefined, { signal: this.#stop.signal })) {
      if (this.node.closed) await this.#connect();
      else if (performance.now() - beat > 5_000) {
        beat = performance.now();
        this.#beat();
      }
    }
  }
  #connect(): Promise<void> {
    const named = [...this.#running.values()].map(({ offer, sent }) => ({
      ...ref(offer),
      state: 'running',
      deltas: sent,
    }));
    const held = [...this.#results.values()].map(({ result }) => ({ ...ref(result), state: 'result', deltas: 0 }));
    return this.node.connect({ capacity: this.#capacity, jobs: [...named, ...held] as never });
  }
  get #capacity(): { slots: number; queue: number } {
    return { slots: this.#options.slots ?? 8, queue: this.#options.queue ?? 0 };
  }
  #beat(): void {
    const [first, ...more] = this.#options.models;
    const config = this.node.welcome?.config;
    if (!first || !config) return;
    const heartbeat = this.node.heartbeat(first.ref, first.digest, config, { capacity: this.#capacity });
    const others = more.map(({ ref: model, digest }) => ({ model, digest, state: 'active' as const, loaded: true }));
    this.node.send('heartbeat', { ...heartbeat, models: [...heartbeat.models, ...others] });
  }

  #take({ t, payload }: Arrived): void {
    if (t === 'welcome') this.#welcomed();
    else if (t === 'job.offer') {
      const offer = parsePayload(zJobOffer, { t, payload });
      this.node.send('job.accept', ref(offer));
      const job = { offer, payload, stop: new AbortController(), sent: 0 };
      this.#running.set(offer.jobId, job);
      this.#work(job).catch(() => {});
    } else if (t === 'job.cancel') this.#cancelled(parsePayload(zJobCancel, { t, payload }));
    else if (t === 'job.receipt') {
      const receipt = parsePayload(zJobReceipt, { t, payload });
      this.receipts.push(receipt);
      this.#results.delete(receipt.receipt.jobId);
    }
  }
  #welcomed(): void {
    const wanted = new Map(this.node.welcome?.jobs.map((j) => [j.jobId, j.deltas]));
    for (const [jobId, job] of this.#running) {
      const held = wanted.get(jobId);
      if (held === undefined) this.#drop(job);
      else job.sent = Math.min(job.sent, held);
    }
    this.#beat();
    for (const message of this.#results.values()) this.node.send('job.result', message);
  }
  #cancelled(cancel: JobCancel): void {
    this.cancels.push(cancel);
    const job = this.#running.get(cancel.jobId);
    if (job) this.#drop(job);
    const result = this.#results.get(cancel.jobId);
    if (result) this.node.send('job.result', result);
    else this.node.send('job.lost', { ...ref(cancel), reason: 'cancelled' });
  }
  #drop(job: Running): void {
    job.stop.abort();
    this.#running.delete(job.offer.jobId);
  }

  async #work(job: Running): Promise<void> {
    const { offer, payload, stop } = job;
    const lines = linesOf(offer);
    await this.#options.hold;
    for (let i = 0; i < lines.length; i++) {
      if (this.#options.lineMs) await sleep(this.#options.lineMs, undefined, { signal: stop.signal });
      if (!offer.stream || this.node.closed || !this.node.welcome) continue;
      this.node.send('job.delta', { ...ref(offer), from: job.sent, lines: lines.slice(job.sent, i + 1) });
      job.sent = i + 1;
    }
    this.#running.delete(offer.jobId);
    const completionTokens = offer.kind === 'embeddings' ? 0 : wordsOf(offer).length;
    const message = this.node.result(offer, payload, lines.join('\n'), { completionTokens });
    this.#results.set(offer.jobId, message);
    if (!this.node.closed && this.node.welcome) this.node.send('job.result', message);
  }
}

const ref = ({ jobId, attempt }: { jobId: string; attempt: number }) => ({ jobId, attempt });

const questionOf = ({ request }: JobOffer): string => {
  const asked = request as { messages?: { content: string }[]; prompt?: string };
  return asked.messages?.at(-1)?.content ?? asked.prompt ?? '';
};
const wordsOf = (offer: JobOffer): string[] => answerTo(questionOf(offer)).match(/\s*\S+/g) ?? [];

/** The engine's answer: one body, or the lines of a stream with the line of usage last. */
const linesOf = (offer: JobOffer): string[] => {
  const { kind, model, stream } = offer;
  const id = `answer-${offer.jobId}`;
  if (kind === 'embeddings') {
    const input = [offer.request.input].flat() as string[];
    const data = input.map((text, index) => ({ object: 'embedding', index, embedding: [text.length, index, 0.5] }));
    return [JSON.stringify({ object: 'list', model, data, usage: { prompt_tokens: 7, total_tokens: 7 } })];
  }
  const words = wordsOf(offer);
  const chat = kind === 'chat.completions';
  const usage = { prompt_tokens: 7, completion_tokens: words.length, total_tokens: 7 + words.length };
  const head = { id, created: 1, model };
  if (!stream) {
    const text = words.join('');
    const said = chat ? { message: { role: 'assistant', content: text } } : { text };
    const choices = [{ index: 0, ...said, finish_reason: 'stop' }];
    return [JSON.stringify({ ...head, object: chat ? 'chat.completion' : 'text_completion', choices, usage })];
  }
  const object = chat ? 'chat.completion.chunk' : 'text_completion';
  const part = (text: string, i: number): string => {
    const finish_reason = i === words.length - 1 ? 'stop' : null;
    const choice = { index: 0, ...(chat ? { delta: { content: text } } : { text }), finish_reason };
    return JSON.stringify({ ...head, object, choices: [choice] });
  };
  return [...words.map(part), JSON.stringify({ ...head, object, choices: [], usage })];
};
