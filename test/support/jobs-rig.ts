import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentMetrics } from '../../src/agent/job-metrics.ts';
import { Jobs } from '../../src/agent/jobs.ts';
import { SqliteJournal } from '../../src/agent/journal.ts';
import type { OfferRules } from '../../src/agent/offer-check.ts';
import { Results } from '../../src/agent/results.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import {
  type JobOffer,
  type JobReceiptMessage,
  type JobResultMessage,
  resultHash,
  type Sha256,
  signStruct,
} from '../../src/protocol/index.ts';
import { EngineClient, type Timeouts } from '../../src/runtime/index.ts';
import { type Mode, type Standin, startStandin } from '../standin/standin.ts';
import { SignerKit, testSigner } from './signer-kit.ts';

export const JOB_MODEL = 'sim:v1';
const DIGEST: Sha256 = `sha256:${'d'.repeat(64)}`;
const CONFIG: Sha256 = `sha256:${'c'.repeat(64)}`;

export interface JobsRigOptions {
  readonly clock?: Clock;
  readonly slots?: number;
  readonly queue?: number;
  readonly tokenMs?: number;
  readonly say?: string;
  readonly mode?: Mode;
  readonly timeouts?: Timeouts;
  /** Bytes that the journal believes to be free. */
  readonly room?: () => number;
  /** Where its folder is made. */
  readonly folder?: string;
  /** Frame limit of the network. */
  readonly frameBytes?: number;
}

/**
 * What takes a job from offer to receipt, alone: jobs, results and journal of the agent, the stand-in as engine on a real
 * socket, and in place of the session a channel that writes down what it is given. No HTTP, no launcher.
 */
export class JobsRig {
  readonly dir: string;
  readonly kit = new SignerKit();
  readonly sent: { readonly t: string; readonly body: Record<string, unknown>; readonly text: string }[] = [];
  readonly posted: string[] = [];
  readonly errors: string[] = [];
  readonly records: { readonly kind: string; readonly data: Record<string, unknown> }[] = [];
  readonly metrics = new Metrics();
  readonly logs: string[] = [];
  /** What stands in for the session: false = none is open. */
  online = true;
  /** Answers POST /v1/results; the accepted receipt by default. */
  answerPost: (payload: string) => Promise<unknown> = async (payload) => this.receiptOf(JSON.parse(payload));
  /** Called for each frame that was sent. */
  onSent: (t: string, body: Record<string, unknown>) => void = () => {};
  standin!: Standin;
  journal!: SqliteJournal;
  results!: Results;
  jobs!: Jobs;
  readonly #signer = testSigner('node');
  readonly #stop = new AbortController();
  #engine!: EngineClient;
  readonly #o: JobsRigOptions;
  readonly #clock: Clock;
  #loop: Promise<void> = Promise.resolve();

  private constructor(options: JobsRigOptions) {
    this.#o = options;
    this.dir = mkdtempSync(join(options.folder ?? tmpdir(), 'jobs-'));
    this.#clock = options.clock ?? systemClock;
  }

  static async start(options: JobsRigOptions = {}): Promise<JobsRig> {
    const rig = new JobsRig(options);
    rig.standin = await startStandin({
      socketPath: join(rig.dir, 'engine.sock'),
      slots: options.slots ?? 2,
      tokenMs: options.tokenMs ?? 0,
      ...(options.say === undefined ? {} : { say: options.say }),
      ...(options.mode === undefined ? {} : { mode: options.mode }),
    });
    rig.#engine = new EngineClient({ socketPath: join(rig.dir, 'engine.sock') });
    rig.wire();
    rig.#loop = rig.jobs.run(rig.#stop.signal);
    return rig;
  }

  /** Opens the journal and makes jobs and results on it, as a start of the agent does. */
  wire(): void {
    const clock = this.#clock;
    this.journal = new SqliteJournal(join(this.dir, 'journal.db'), undefined, this.#o.room);
    const logger = createLogger('jobs', 'trace', { write: (line: string) => void this.logs.push(line) });
    const { domain } = this.kit;
    const metrics = agentMetrics(this.metrics);
    const channel = {
      send: (t: string, payload: string | object): boolean => {
        const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
        if (!this.online || Buffer.byteLength(text) > channel.frameBytes()) return false;
        const body = JSON.parse(text) as Record<string, unknown>;
        this.sent.push({ t, body, text });
        this.onSent(t, body);
        return true;
      },
      frameBytes: () => this.#o.frameBytes ?? 1 << 20,
      congestion: () => undefined,
      postResult: (payload: string): Promise<unknown> => {
        this.posted.push(payload);
        return this.answerPost(payload);
      },
    };
    const shared = {
      clock,
      logger,
      domain,
      journal: this.journal,
      channel,
      metrics,
      record: (kind: string, data: Record<string, unknown>) => void this.records.push({ kind, data }),
      onError: (code: string) => void this.errors.push(code),
    };
    const online = this.kit.keys.ticket[0];
    const authority = { rootVersion: 1, keys: online ? [online.address] : [], issuedAt: 0 };
    this.results = new Results({ ...shared, authorities: () => [authority] });
    this.jobs = new Jobs({
      ...shared,
      serverNow: () => clock.now(),
      signer: this.#signer,
      engine: this.#engine,
      results: this.results,
      rules: () => this.#rules(),
      limits: () => ({
        slots: this.#o.slots ?? 2,
        queue: this.#o.queue ?? 4,
        timeouts: this.#o.timeouts ?? { firstTokenMs: 20_000, gapMs: 20_000, totalMs: 60_000 },
      }),
      onLoad: () => {},
    });
  }

  offer(over: Partial<JobOffer> = {}): void {
    const offer = this.offerOf(over);
    this.jobs.offer(offer, JSON.stringify(offer));
  }
  offerOf(over: Partial<JobOffer> = {}): JobOffer {
    const stream = over.stream ?? true;
    return {
      jobId: 'job-1',
      attempt: 1,
      kind: 'chat.completions',
      model: JOB_MODEL,
      modelDigest: DIGEST,
      configDigest: CONFIG,
      stream,
      priority: 5,
      deadline: this.#clock.now() + 60_000,
      request: {
        model: JOB_MODEL,
        messages: [{ role: 'user', content: 'What is the capital of France?' }],
        ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
      },
      ...over,
    };
  }
  of(t: string): Record<string, unknown>[] {
    return this.sent.filter((s) => s.t === t).map((s) => s.body);
  }
  /** The journalled job.result messages that went out as frames. */
  resultFrames(): string[] {
    return this.sent.filter((s) => s.t === 'job.result').map((s) => s.text);
  }
  receiptOf(message: JobResultMessage): JobReceiptMessage {
    const { jobId, attempt, node } = message.result;
    const online = this.kit.keys.ticket[0];
    if (!online) throw new Error('the kit has no ticket key');
    const receipt = {
      jobId,
      attempt,
      node,
      resultHash: resultHash(this.kit.domain, message.result),
      verdict: 'accepted' as const,
      rootVersion: 1,
      receivedAt: this.#clock.now(),
    };
    const sig = signStruct(online, this.kit.domain, 'JobReceipt', receipt);
    return { receipt, sig, signer: online.address };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.results.sessionOver();
    await this.#engine.close();
    await this.standin.close();
    this.journal.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #rules(): OfferRules {
    return {
      now: this.#clock.now(),
      draining: false,
      paused: false,
      configs: [{ digest: CONFIG, modelDigest: (ref) => (ref === JOB_MODEL ? DIGEST : undefined) }],
      model: {
        ref: JOB_MODEL,
        digest: DIGEST,
        tasks: ['chat.completions', 'completions', 'embeddings'],
        active: true,
        loaded: true,
      },
      subclouds: [],
      global: true,
      maxOutputTokens: 1 << 20,
    };
  }
}
