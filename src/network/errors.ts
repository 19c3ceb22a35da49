import { CodedError } from '../lib/errors.ts';
import { type Hex32, HTTP_STATUS, type HttpErrorCode } from '../protocol/index.ts';

/** What an error body of §2 may carry besides code and message. */
export interface FailureExtras {
  readonly retryAfterMs?: number;
  readonly serverTime?: number;
  readonly serverNonce?: Hex32;
  readonly lastN?: number;
}

const RETRYABLE: readonly HttpErrorCode[] = ['bad_clock', 'replayed', 'rate', 'unavailable'];

/** A call that is answered with an error of §2. The message is shown to the caller: never prompt text, at most 256 bytes. */
export class HttpFailure extends CodedError<HttpErrorCode> {
  readonly extras: FailureExtras;
  constructor(code: HttpErrorCode, message: string, extras: FailureExtras = {}) {
    super(code, message);
    this.name = 'HttpFailure';
    this.extras = extras;
  }
  get status(): number {
    return HTTP_STATUS[this.code];
  }
  body(): { error: Record<string, unknown> } {
    return {
      error: {
        code: this.code,
        message: clip(this.message, 256),
        retryable: RETRYABLE.includes(this.code),
        ...this.extras,
      },
    };
  }
}

/** The first `bytes` bytes of a text, cut between characters. */
export const clip = (text: string, bytes: number): string => {
  if (Buffer.byteLength(text) <= bytes) return text;
  return `${new TextDecoder().decode(Buffer.from(text).subarray(0, bytes - 3)).replace(/\uFFFD+$/, '')}…`;
};

/** Why a caller's job ended without an answer; the OpenAI side turns it into a status. */
export type JobFailureCode =
  | 'unavailable'
  | 'deadline'
  | 'invalid_request'
  | 'engine_error'
  | 'output_too_large'
  | 'interrupted';

export interface JobFailure {
  readonly code: JobFailureCode;
  readonly message: string;
  readonly retryAfterMs?: number;
}
