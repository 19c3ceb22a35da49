import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { MidStreamError, type NetworkApi, RefusedError } from '../../hack/demo/ask.ts';
import { QUESTION } from '../../hack/demo/snapshot.ts';

/** How one request ended. `lost`: neither a whole answer nor an explicit error. */
type End = 'answered' | 'refused' | 'midStream' | 'lost';

interface Call {
  readonly end: End;
  readonly model: string;
  readonly at: number;
  readonly job?: string;
  readonly node?: string;
  /** Of anything but an answer. */
  readonly message?: string;
}

/** Callers who ask one question after another, every second one with a stream, while something happens to the nodes. */
export class Load {
  readonly calls: Call[] = [];
  readonly #api: NetworkApi;
  readonly #models: readonly string[];
  readonly #callers: readonly Promise<void>[];
  readonly #stopped = new AbortController();

  /** Starts at once. Caller n asks for model n modulo their number; a refused one waits half a second, as Retry-After asks. */
  constructor(api: NetworkApi, models: readonly string[], callers: number) {
    this.#api = api;
    this.#models = models;
    this.#callers = Array.from({ length: callers }, (_, n) => this.#caller(n));
  }

  count(end: End): number {
    return this.calls.filter((c) => c.end === end).length;
  }
  answered(model: string): Call[] {
    return this.calls.filter((c) => c.end === 'answered' && c.model === model);
  }

  /** Asks nothing new; resolves when every caller has had its end. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await Promise.all(this.#callers);
  }

  /** Every call ended in the open, and every answered job was accepted, so billed, exactly once. Prints the table. */
  async settle(title: string): Promise<void> {
    await this.stop();
    const answered = this.calls.filter((c) => c.end === 'answered');
    let twice = 0;
    let unreceipted = 0;
    for (const { job = '' } of answered) {
      const { receipts } = JSON.parse(await this.#api.receipts(job)) as {
        receipts: { receipt: { verdict: string } }[];
      };
      const accepted = receipts.filter((r) => r.receipt.verdict === 'accepted').length;
      if (accepted > 1) twice++;
      if (accepted < 1) unreceipted++;
    }
    const figures = ['answered', 'refused', 'midStream', 'lost'].map((end) => `${end} ${this.count(end as End)}`);
    process.stdout.write(`      ${title}: ${figures.join(', ')}, billed twice ${twice}, not billed ${unreceipted}\n`);
    expect(answered.length, 'answers under load').to.be.greaterThan(0);
    expect(this.calls.filter((c) => c.end === 'lost')).to.deep.equal([]);
    expect({ twice, unreceipted }).to.deep.equal({ twice: 0, unreceipted: 0 });
  }

  async #caller(n: number): Promise<void> {
    const model = this.#models[n % this.#models.length] ?? '';
    for (let i = n; !this.#stopped.signal.aborted; i++) {
      const call = await this.#ask(model, i % 2 === 0);
      this.calls.push(call);
      await sleep(call.end === 'answered' ? 50 : 500);
    }
  }

  async #ask(model: string, stream: boolean): Promise<Call> {
    const at = Date.now();
    try {
      const { job, node } = await this.#api.ask({ model, ...QUESTION }, stream);
      return { end: 'answered', model, at, job, node };
    } catch (error) {
      const end = error instanceof RefusedError ? 'refused' : error instanceof MidStreamError ? 'midStream' : 'lost';
      return { end, model, at, message: (error as Error).message };
    }
  }
}
