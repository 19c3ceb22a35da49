import { assertNever } from '../lib/errors.ts';
import type { JobFailure } from './errors.ts';

/** An answer in OpenAI's error shape; clients of it decide by status, type and code. */
export class OpenAiFailure extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly retryAfterMs: number | undefined;
  constructor(
    status: number,
    message: string,
    param: string | null = null,
    code: string | null = null,
    retryAfterMs?: number,
  ) {
    super(message);
    this.name = 'OpenAiFailure';
    this.status = status;
    this.param = param;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
  body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    return { error: { message: this.message, type: typeOf(this.status), param: this.param, code: this.code } };
  }
}

const typeOf = (status: number): string => {
  if (status === 401) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
};

/** What a caller is told when a job came to nothing (docs/protocol.md §2). */
export const failureOf = (failure: JobFailure): OpenAiFailure => {
  const make = (status: number, code: string): OpenAiFailure =>
    new OpenAiFailure(status, failure.message, null, code, failure.retryAfterMs);
  switch (failure.code) {
    case 'unavailable':
      return make(503, 'unavailable');
    case 'deadline':
      return make(504, 'deadline');
    case 'invalid_request':
      return make(400, 'invalid_request');
    case 'engine_error':
    case 'interrupted':
      return make(500, failure.code);
    case 'output_too_large':
      return make(500, 'output_too_large');
    default:
      return assertNever(failure.code);
  }
};
