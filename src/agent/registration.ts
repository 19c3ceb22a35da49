import { fullJitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Secret } from '../lib/secret.ts';
import {
  type BindMessage,
  type NodeState,
  type Owner,
  parseAddress,
  type RegisterAnswer,
  zRegisterAnswer,
} from '../protocol/index.ts';
import { NetworkError, type NetworkHttp } from './http.ts';

/** Answers that no retry mends soon: an operator of the network, or the owner, must do something. */
const TERMINAL = [
  'bad_address',
  'revoked',
  'not_admitted',
  'owner_mismatch',
  'version',
  'bad_signature',
  'bad_request',
];
export const TERMINAL_RETRY_MS = 600_000;

export interface Registration {
  readonly http: Pick<NetworkHttp, 'post'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly node: `0x${string}`;
  readonly owner: { wallet: string } | { email: string };
  readonly bind: BindMessage | undefined;
  readonly enrolment: Secret | undefined;
  readonly metadata: () => {
    agent: string;
    runtime: string;
    hardware: Record<string, unknown>;
    labels: Record<string, string>;
  };
  /** ttl.retryMs of the configuration in force. */
  readonly retryMs: () => number;
  /** Told of every answer and every refusal. */
  readonly onState: (state: NodeState | 'unregistered', reason?: string) => void;
  readonly random?: () => number;
}

const wireOwner = (owner: Registration['owner']): Owner =>
  'wallet' in owner ? { wallet: parseAddress(owner.wallet) } : { email: owner.email };

/** One call of POST /v1/register. Idempotent: a known node is re-validated, never made anew. @throws NetworkError */
export const registerOnce = async (r: Registration, signal?: AbortSignal): Promise<RegisterAnswer> => {
  const body = {
    node: r.node,
    owner: wireOwner(r.owner),
    ...(r.bind ? { bind: r.bind } : {}),
    ...(r.enrolment ? { enrolment: r.enrolment.reveal() } : {}),
    metadata: r.metadata(),
  };
  const answer = zRegisterAnswer.safeParse(await r.http.post('/v1/register', JSON.stringify(body), signal));
  if (!answer.success)
    throw new NetworkError('bad_answer', `register: ${answer.error.issues[0]?.path.join('.')} is wrong`);
  return answer.data;
};

/**
 * Registers until the network admits the node: pending repeats every 10 × retryMs, refusals that only people can mend
 * every 10 minutes, everything else with full jitter up to 30 s. Ends with an admitted node, or by `signal`.
 */
export const registerUntilAdmitted = async (r: Registration, signal: AbortSignal): Promise<RegisterAnswer> => {
  for (let failures = 0; ; ) {
    try {
      const answer = await registerOnce(r, signal);
      failures = 0;
      if (answer.state !== 'pending') {
        r.logger.info(
          { node: r.node, state: answer.state, ownerProved: answer.ownerProved },
          'registered with the network',
        );
        r.onState(answer.state);
        return answer;
      }
      r.onState('pending', 'NotAdmitted');
      r.logger.info({ node: r.node }, 'registered, waiting to be admitted by the network');
      await r.clock.sleep(10 * r.retryMs(), signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const code = error instanceof CodedError ? error.code : 'unreachable';
      const terminal = TERMINAL.includes(code);
      r.onState(code === 'revoked' ? 'revoked' : 'unregistered', code);
      const wait = terminal
        ? TERMINAL_RETRY_MS
        : Math.max(
            (error instanceof NetworkError && error.retryAfterMs) || 0,
            fullJitter(failures++, { baseMs: 500, capMs: 30_000, ...(r.random ? { random: r.random } : {}) }),
          );
      r.logger.warn({ reason: code, error, ms: Math.round(wait) }, 'registration failed, trying again');
      await r.clock.sleep(wait, signal);
    }
  }
};
