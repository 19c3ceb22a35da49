import { CodedError } from '../lib/errors.ts';

/** One field that the API server found wrong. */
export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export type KubeErrorCode =
  | 'kube_api' // the API server answered with a Status
  | 'kube_network' // no (whole) answer: refused, reset, timed out
  | 'kube_timeout' // our own deadline passed
  | 'kube_not_leader' // a write was refused because leadership is not held
  | 'kube_watch' // a watch stream said something that is no event
  | 'kube_config' // no usable connection settings
  | 'kube_stopped'; // the manager or a part of it failed while running

export class KubeError extends CodedError<KubeErrorCode> {
  constructor(code: KubeErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options);
    this.name = 'KubeError';
  }
}

/** The API server's own refusal. Decide by `status` and `reason`, never by the text. */
export class ApiError extends KubeError {
  /** The HTTP status, or the `code` of an error inside a watch stream. */
  readonly status: number;
  /** `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `Expired`, … as the server gave it; '' when it gave none. */
  readonly reason: string;
  /** Milliseconds the server asked to wait. */
  readonly retryAfterMs: number | undefined;
  readonly causes: readonly StatusCause[];

  constructor(
    message: string,
    of: { status: number; reason?: string; retryAfterMs?: number | undefined; causes?: readonly StatusCause[] },
  ) {
    super('kube_api', message);
    this.name = 'ApiError';
    this.status = of.status;
    this.reason = of.reason ?? '';
    this.retryAfterMs = of.retryAfterMs;
    this.causes = of.causes ?? [];
  }
}

interface StatusBody {
  kind?: string;
  message?: string;
  reason?: string;
  code?: number;
  details?: { causes?: StatusCause[]; retryAfterSeconds?: number };
}

/** Builds the error from an answer's body (a Status, or anything), its code and its Retry-After header. */
export const apiErrorFrom = (step: string, status: number, body: unknown, retryAfter?: string): ApiError => {
  const given = (typeof body === 'object' && body !== null ? body : {}) as StatusBody;
  const seconds = Number(retryAfter ?? given.details?.retryAfterSeconds ?? Number.NaN);
  const text = given.message ?? (typeof body === 'string' && body.trim() !== '' ? body.trim().slice(0, 300) : '');
  return new ApiError(`${step}: ${status}${text ? ` ${text}` : ''}`, {
    status,
    ...(given.reason === undefined ? {} : { reason: given.reason }),
    retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined,
    causes: given.details?.causes ?? [],
  });
};

const statusIs = (error: unknown, status: number): error is ApiError =>
  error instanceof ApiError && error.status === status;

export const isNotFound = (error: unknown): error is ApiError => statusIs(error, 404);
/** The object exists already (an answer to create). */
export const isAlreadyExists = (error: unknown): error is ApiError =>
  statusIs(error, 409) && (error as ApiError).reason === 'AlreadyExists';
/** Somebody wrote in between, a precondition failed, or another field manager owns a field. */
export const isConflict = (error: unknown): error is ApiError =>
  statusIs(error, 409) && (error as ApiError).reason !== 'AlreadyExists';
/** The resourceVersion or continue token is too old: list again. */
export const isGone = (error: unknown): error is ApiError => statusIs(error, 410);
export const isInvalid = (error: unknown): error is ApiError => statusIs(error, 422) || statusIs(error, 400);
