import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent } from 'undici';
import { FIELD_MANAGER, GROUP, VERSION } from '../api/contract.ts';
import type { AgentStatus } from '../api/resultity-node-status.ts';
import { fullJitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Settings } from './settings.ts';

export interface StatusWriterOptions {
  /** `host:port` of the API server. */
  readonly apiServer: string;
  /** Folder of the projected token and the cluster's CA. */
  readonly serviceAccount: string;
  readonly name: string;
  readonly namespace: string;
  readonly status: () => AgentStatus;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Sends one apply; the default is the API server itself. Resolves with the HTTP status and a short reason. */
  readonly apply?: (path: string, body: string) => Promise<{ status: number; reason: string }>;
}

const APART_MS = 10_000;
const PHASE_APART_MS = 1_000;

/** The real apply: one kept-alive connection, the bound token read anew each time, since the kubelet rotates it. */
const apiServerApply = (options: StatusWriterOptions) => {
  let agent: Agent | undefined;
  return async (path: string, body: string): Promise<{ status: number; reason: string }> => {
    const ca = await readFile(join(options.serviceAccount, 'ca.crt'), 'utf8');
    const token = (await readFile(join(options.serviceAccount, 'token'), 'utf8')).trim();
    agent ??= new Agent({ connect: { ca, timeout: 10_000 }, connections: 1, allowH2: false });
    const answer = await agent.request({
      origin: `https://${options.apiServer}`,
      path,
      method: 'PATCH',
      headers: {
        'content-type': 'application/apply-patch+yaml',
        accept: 'application/json',
        authorization: `Bearer ${token}`,
      },
      body,
      signal: AbortSignal.timeout(15_000),
    });
    const text = (await answer.body.text()).slice(0, 4_096);
    const reason = answer.statusCode < 300 ? '' : (/"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? '').slice(0, 256);
    return { status: answer.statusCode, reason };
  };
};

/**
 * Writes `status.agent` of this pod's ResultityNode by server-side apply: on change only, ≥ 10 s apart, but at once for the
 * first and (≥ 1 s apart) for a change of phase. The API server being away changes nothing else in the agent.
 */
export class StatusWriter {
  readonly #o: StatusWriterOptions;
  #wake = new AbortController();

  constructor(options: StatusWriterOptions) {
    this.#o = options;
  }

  /** Something may be different now. */
  changed(): void {
    this.#wake.abort();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, name, namespace } = this.#o;
    const apply = this.#o.apply ?? apiServerApply(this.#o);
    const path = `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/resultitynodes/${name}/status?fieldManager=${FIELD_MANAGER.agent}&force=true&fieldValidation=Strict`;
    let written = '';
    let phase: string | undefined;
    let last = Number.NEGATIVE_INFINITY;
    let failures = 0;
    let told = '';
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const status = this.#o.status();
      const body = JSON.stringify({
        apiVersion: `${GROUP}/${VERSION}`,
        kind: 'ResultityNode',
        metadata: { name, namespace },
        status: { agent: status },
      });
      const since = clock.monotonic() - last;
      const apart = status.phase === phase ? APART_MS : PHASE_APART_MS;
      let wait = 60_000;
      if (body !== written && since < apart) wait = apart - since;
      else if (body !== written) {
        last = clock.monotonic();
        try {
          const { status: code, reason } = await apply(path, body);
          if (code >= 300) throw new Error(`HTTP ${code}${reason ? `: ${reason}` : ''}`);
          written = body;
          phase = status.phase;
          if (failures > 0) logger.info('status.agent is written again');
          failures = 0;
          told = '';
          continue;
        } catch (error) {
          const text = error instanceof Error ? error.message : 'failed';
          if (text !== told) logger.warn({ error }, 'status.agent cannot be written, trying again');
          told = text;
          wait = Math.max(1_000, fullJitter(failures++, { baseMs: 1_000, capMs: 60_000 }));
          await clock.sleep(wait, signal).catch(() => {});
          continue;
        }
      }
      await clock.sleep(wait, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
      // a burst of changes is one write
      if (!signal.aborted) await clock.sleep(50, signal).catch(() => {});
    }
  }
}

/** The writer, where there is an API server and a token for it; null outside Kubernetes. */
export const statusWriterOf = async (
  settings: Settings,
  more: Pick<StatusWriterOptions, 'status' | 'clock' | 'logger'>,
): Promise<StatusWriter | null> => {
  const { apiServer, name, namespace } = settings;
  const { serviceAccount } = settings.paths;
  const token = await readFile(join(serviceAccount, 'token')).catch(() => null);
  return apiServer && token ? new StatusWriter({ apiServer, serviceAccount, name, namespace, ...more }) : null;
};
