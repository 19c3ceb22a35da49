import { createHash, type Hash } from 'node:crypto';
import type { CancelReason, JobOffer, Kind, Sha256 } from '../protocol/index.ts';
import type { JobFailure } from './errors.ts';

/** Where a job's answer goes. Exactly one of `answered` and `failed` is called, unless the caller left first. */
export interface JobSink {
  /** An offer went out to this node: nothing of the answer is there yet. */
  offered(node: string): void;
  /** Lines of a streamed answer, in order, each once. */
  lines(lines: readonly string[]): void;
  /** The result is in the ledger. `rest`: streamed lines not yet passed on; `output`: the whole. */
  answered(output: string, rest: readonly string[]): void;
  failed(failure: JobFailure): void;
}

/** A caller's request, validated, with the caller's limits applied. Times are wall milliseconds. */
export interface JobRequest {
  readonly kind: Kind;
  readonly model: string;
  readonly modelDigest: Sha256;
  readonly stream: boolean;
  readonly subcloud?: string;
  readonly priority: number;
  readonly deadline: number;
  readonly request: Record<string, unknown>;
  readonly keyId: string;
}

/** How a job ended while results of it may still come. */
export type Ending = { readonly kind: 'cancelled'; readonly reason: CancelReason } | { readonly kind: 'ended' };

/** The lines of one attempt: how many, and a running hash by which the final output is checked against them. */
export class ReceivedLines {
  #hash: Hash = createHash('sha256');
  #bytes = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }
  add(lines: readonly string[]): void {
    for (const line of lines) {
      const text = this.#count === 0 ? line : `\n${line}`;
      this.#hash.update(text);
      this.#bytes += Buffer.byteLength(text);
      this.#count++;
    }
  }
  /** True when these lines are a prefix of the output's lines. */
  isPrefixOf(output: string): boolean {
    if (this.#count === 0) return true;
    const bytes = Buffer.from(output);
    if (bytes.length < this.#bytes) return false;
    if (bytes.length > this.#bytes && bytes[this.#bytes] !== 0x0a) return false;
    const head = createHash('sha256').update(bytes.subarray(0, this.#bytes)).digest();
    return head.equals(this.#hash.copy().digest());
  }
}

/** One caller's job from arrival until no result of it can matter any more. */
export class Job {
  readonly jobId: string;
  readonly request: JobRequest;
  readonly sink: JobSink;
  /** Monotonic times: its arrival, and when nobody wants an answer any more. */
  readonly arrivedAt: number;
  readonly expiresAt: number;
  lines = new ReceivedLines();
  /** Lines that the caller was given, over all of the job. */
  passedOn = 0;
  /** As many of them as the store was told of. */
  notedPassedOn = 0;
  ending: Ending | undefined;
  /** Monotonic time after which an ended job is forgotten. */
  keptUntil = Number.POSITIVE_INFINITY;

  constructor(jobId: string, request: JobRequest, sink: JobSink, arrivedAt: number, expiresAt: number) {
    this.jobId = jobId;
    this.request = request;
    this.sink = sink;
    this.arrivedAt = arrivedAt;
    this.expiresAt = expiresAt;
  }

  /** The offer's payload: its bytes are what requestHash is over. @param deadline wall milliseconds, by the node's session */
  offer(attempt: number, configDigest: Sha256, deadline: number): string {
    const { kind, model, modelDigest, subcloud, stream, priority, request } = this.request;
    const offer: JobOffer = {
      jobId: this.jobId,
      attempt,
      kind,
      model,
      modelDigest,
      configDigest,
      ...(subcloud === undefined ? {} : { subcloud }),
      stream,
      priority,
      deadline,
      request,
    };
    return JSON.stringify(offer);
  }
}
