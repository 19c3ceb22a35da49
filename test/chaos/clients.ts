import { createHash } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.ts';
import type { ClientRecord } from './records.ts';

export interface LoadOptions {
  /** Port of the network service on loopback: callers are not behind the fault proxy. */
  readonly port: number;
  readonly apiKey: string;
  readonly model: string;
  readonly clients: number;
  /** Tokens of an answer, least and most. */
  readonly tokens: readonly [number, number];
  /** How long a caller waits for an end before it counts as hung. */
  readonly patienceMs: number;
  readonly random: Random;
  /** Takes what a caller saw, once it is over. */
  readonly keep: (record: ClientRecord) => void;
}

type End = Pick<ClientRecord, 'outcome'> & Partial<Pick<ClientRecord, 'code' | 'raised' | 'outputHash'>>;

const DEADLINE_MS = 60_000;
const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** Callers who ask one question after another, more than half of them with a stream. */
export class Load {
  readonly #o: LoadOptions;
  readonly #agent = new Agent({ keepAlive: false });
  readonly #loops: Promise<void>[] = [];
  #stopped = false;
  #ids = 0;
  #ended = 0;
  /** Streams under way; once the answer began, by node. */
  readonly #streams = new Map<number, string>();

  constructor(options: LoadOptions) {
    this.#o = options;
  }

  /** Requests under way that asked for a stream. */
  get streaming(): number {
    return this.#streams.size;
  }
  /** Streams that a node has begun to answer and not ended. */
  streamingOf(node: string): number {
    return [...this.#streams.values()].filter((of) => of === node).length;
  }
  /** Requests that have had their end. */
  get ended(): number {
    return this.#ended;
  }

  start(): void {
    // nine of sixteen: so that half of what is open at a node streams, chance allowing
    for (let i = 0; i < this.#o.clients; i++) this.#loops.push(this.#caller(i % 16 < 9));
  }
  /** Asks nothing new; resolves when every caller has had its end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    this.#agent.destroy();
  }

  async #caller(stream: boolean): Promise<void> {
    const { random, tokens } = this.#o;
    while (!this.#stopped) {
      const maxTokens = random.between(...tokens);
      // one caller in twenty does not stay for the end
      const leaveAfter = stream && random.chance(0.05) ? random.between(1, 4) : Number.POSITIVE_INFINITY;
      const record = await this.#ask(stream, maxTokens, leaveAfter);
      this.#ended++;
      this.#o.keep(record);
      // as a client would: a service that is down is asked again later
      if (record.outcome !== 'complete') await sleep(record.raised === undefined ? 300 : random.between(500, 1_000));
    }
  }

  #ask(stream: boolean, maxTokens: number, leaveAfter: number): Promise<ClientRecord> {
    const id = ++this.#ids;
    const at = Date.now();
    const { port, apiKey, model, patienceMs } = this.#o;
    return new Promise((resolve) => {
      if (stream) this.#streams.set(id, '');
      let response: IncomingMessage | undefined;
      let ended = false;
      const lines: string[] = [];
      const end = (how: End): void => {
        if (ended) return;
        ended = true;
        clearTimeout(timer);
        this.#streams.delete(id);
        const named = { jobId: headerOf(response, 'resultity-job'), node: headerOf(response, 'resultity-node') };
        resolve({ id, stream, at, endedAt: Date.now(), lines: lines.length, ...named, ...how });
        call.destroy();
      };
      const timer = setTimeout(() => end({ outcome: 'hung' }), patienceMs);
      const broke = (error: NodeJS.ErrnoException): void =>
        end({ outcome: error.code === 'ECONNREFUSED' ? 'error' : 'cut', raised: error.code ?? error.message });
      const call = request({
        host: '127.0.0.1',
        port,
        path: '/v1/chat/completions',
        method: 'POST',
        agent: this.#agent,
        headers: {
          authorization: `Bearer ${apiKey}`,
          'content-type': 'application/json',
          'resultity-deadline-ms': String(DEADLINE_MS),
        },
      });
      call.on('error', broke);
      call.on('response', (answer) => {
        response = answer;
        answer.on('error', broke);
        if (stream && answer.statusCode === 200) this.#streams.set(id, headerOf(answer, 'resultity-node') ?? '');
        if (stream && answer.statusCode === 200) readStream(answer, lines, leaveAfter, end);
        else readBody(answer, end);
      });
      call.end(
        JSON.stringify({
          model,
          max_tokens: maxTokens,
          messages: [{ role: 'user', content: `Question ${id}: what is the capital of France, and why that one?` }],
          ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
        }),
      );
    });
  }
}

const headerOf = (answer: IncomingMessage | undefined, name: string): string | undefined => {
  const value = answer?.headers[name];
  return typeof value === 'string' ? value : undefined;
};

const readBody = (answer: IncomingMessage, end: (how: End) => void): void => {
  const parts: Buffer[] = [];
  answer.on('data', (part: Buffer) => parts.push(part));
  answer.on('end', () => {
    const text = Buffer.concat(parts).toString('utf8');
    if (!answer.complete) return end({ outcome: 'truncated' });
    if (answer.statusCode === 200) return end({ outcome: 'complete', outputHash: sha256(text) });
    end({ outcome: 'error', code: codeOf(text) ?? String(answer.statusCode) });
  });
};

const readStream = (answer: IncomingMessage, lines: string[], leaveAfter: number, end: (how: End) => void): void => {
  let held = '';
  answer.setEncoding('utf8');
  answer.on('data', (part: string) => {
    held += part;
    for (let at = held.indexOf('\n\n'); at >= 0; at = held.indexOf('\n\n')) {
      const line = held.slice(0, at).replace(/^data: /, '');
      held = held.slice(at + 2);
      if (line === '[DONE]') return end({ outcome: 'complete', outputHash: sha256(lines.join('\n')) });
      const code = codeOf(line);
      if (code !== undefined) return end({ outcome: 'error', code });
      lines.push(line);
      if (lines.length >= leaveAfter) return end({ outcome: 'left' });
    }
  });
  answer.on('end', () => end({ outcome: 'truncated' }));
};

/** The code of an error in OpenAI's shape, or undefined when the text is no error. */
const codeOf = (text: string): string | undefined => {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown } };
    return error === undefined ? undefined : String(error.code ?? 'error');
  } catch {
    return undefined;
  }
};
