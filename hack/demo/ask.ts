import { readFile } from 'node:fs/promises';
import { createParser } from 'eventsource-parser';
import { Agent, request } from 'undici';

/** An answer of the network's OpenAI-compatible API, with what the demo shows of it. */
export interface Answer {
  readonly text: string;
  readonly job: string;
  readonly node: string;
  readonly firstTokenMs: number;
  readonly totalMs: number;
  readonly completionTokens: number;
  /** The output whose hash was signed: the body as it came, or the lines joined by LF; undefined when lines were left out. */
  readonly output?: string;
}

/** An explicit refusal: nothing of the answer had come. */
export class RefusedError extends Error {
  readonly status: number;
  constructor(status: number, body: string) {
    super(`the network answered ${status}: ${body}`);
    this.status = status;
  }
}

/** An answer that had begun and ended with an explicit error. */
export class MidStreamError extends Error {}

/** A small client of the API: any OpenAI client does the same. */
export class NetworkApi {
  readonly #base: string;
  readonly #agent: Agent;
  readonly #key: string;

  private constructor(base: string, agent: Agent, key: string) {
    this.#base = base;
    this.#agent = agent;
    this.#key = key;
  }
  /** `servername` is whom the certificate must name when it is not the host of `base`. */
  static async open(base: string, caFile: string, apiKey: string, servername?: string): Promise<NetworkApi> {
    const ca = await readFile(caFile, 'utf8');
    return new NetworkApi(
      base,
      new Agent({ connect: { ca, ...(servername && { servername }) }, headersTimeout: 330_000, bodyTimeout: 330_000 }),
      apiKey,
    );
  }
  close(): Promise<void> {
    return this.#agent.close();
  }

  async ask(body: Record<string, unknown>, stream: boolean): Promise<Answer> {
    const started = performance.now();
    const answer = await request(`${this.#base}/v1/chat/completions`, {
      method: 'POST',
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, stream, ...(stream && { stream_options: { include_usage: true } }) }),
    });
    if (answer.statusCode !== 200) throw new RefusedError(answer.statusCode, await answer.body.text());
    const header = (name: string): string => String(answer.headers[name] ?? '');
    const common = { job: header('resultity-job'), node: header('resultity-node') };
    if (!stream) {
      const output = await answer.body.text();
      const parsed = JSON.parse(output) as {
        choices: { message: { content: string } }[];
        usage: { completion_tokens: number };
      };
      const ms = performance.now() - started;
      return {
        ...common,
        output,
        text: parsed.choices[0]?.message.content ?? '',
        completionTokens: parsed.usage.completion_tokens,
        firstTokenMs: ms,
        totalMs: ms,
      };
    }
    const lines: string[] = [];
    let text = '';
    let firstTokenMs = 0;
    let completionTokens = 0;
    let done = false;
    const parser = createParser({
      onEvent: ({ data }) => {
        if (data === '[DONE]') {
          done = true;
          return;
        }
        lines.push(data);
        const chunk = JSON.parse(data) as {
          choices?: { delta?: { content?: string } }[];
          usage?: { completion_tokens: number } | null;
          error?: { message?: string };
        };
        if (chunk.error) throw new MidStreamError(`the stream ended with an error: ${JSON.stringify(chunk.error)}`);
        const piece = chunk.choices?.[0]?.delta?.content ?? '';
        if (piece && !firstTokenMs) firstTokenMs = performance.now() - started;
        text += piece;
        completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
      },
    });
    answer.body.setEncoding('utf8');
    for await (const piece of answer.body) parser.feed(piece as string);
    if (!done) throw new Error('the stream ended without [DONE]');
    return {
      ...common,
      text,
      output: lines.join('\n'),
      firstTokenMs,
      totalMs: performance.now() - started,
      completionTokens,
    };
  }

  /** `GET /v1/receipts/<jobId>`, as text: what `resultity receipt verify` reads. Waits a moment for the node's result. */
  async receipts(job: string): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const answer = await request(`${this.#base}/v1/receipts/${encodeURIComponent(job)}`, {
        dispatcher: this.#agent,
        headers: { authorization: `Bearer ${this.#key}` },
      });
      const text = await answer.body.text();
      if (answer.statusCode === 200) return text;
      if (attempt >= 20) throw new Error(`no receipt of job ${job}: ${answer.statusCode} ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}
