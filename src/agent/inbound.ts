import { assertNever } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Control, NodeState } from '../protocol/index.ts';
import type { PodAnnotations } from './annotations.ts';
import type { ConfigSync } from './config-sync.ts';
import type { Drain } from './drain.ts';
import type { Heartbeats } from './heartbeat.ts';
import type { Jobs } from './jobs.ts';
import type { Results } from './results.ts';
import type { Inbound } from './session.ts';
import type { Settings } from './settings.ts';

export interface InboundTargets {
  readonly jobs: Jobs;
  readonly results: Results;
  readonly config: ConfigSync;
  readonly drain: Drain;
  readonly heartbeats: Heartbeats;
  readonly logger: Logger;
  readonly serverNow: () => number;
  readonly drainMs: number;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onError: (code: string, message: string) => void;
  readonly shutdown: () => void;
}

const CONTROL_MAX_AGE_MS = 60_000;

/** Hands each verified message of the network to what it is for. */
export const handleInbound = (message: Inbound, to: InboundTargets): void => {
  switch (message.t) {
    case 'job.offer':
      to.jobs.offer(message.body, message.payload);
      return;
    case 'job.cancel':
      to.jobs.cancel(message.body, message.body.reason);
      return;
    case 'job.receipt':
      to.results.receipt(message.body);
      return;
    case 'config.notice':
      to.config.notice(message.body);
      return;
    case 'control':
      if (to.serverNow() - message.ts > CONTROL_MAX_AGE_MS)
        to.logger.warn({ reason: message.body.action }, 'order of the network dropped: it is too old');
      else obey(message.body, to);
      return;
    case 'error':
      to.logger.warn({ reason: message.body.code, error: message.body.message }, 'the network reports an error');
      to.onError(message.body.code, message.body.message ?? '');
      return;
    case 'bye':
      to.logger.info({ reason: message.body.reason, ms: message.body.retryAfterMs }, 'the network says goodbye');
      return;
    default:
      assertNever(message);
  }
};

const obey = (order: Control, to: InboundTargets): void => {
  if (order.action !== 'ping') {
    to.logger.info({ action: order.action, reason: order.reason }, 'order of the network');
    to.record('control', { action: order.action, reason: order.reason });
  }
  switch (order.action) {
    case 'ping':
      to.heartbeats.now();
      return;
    case 'pause':
      to.drain.pause('network', true);
      return;
    case 'resume':
      to.drain.pause('network', false);
      to.drain.end('network');
      return;
    case 'drain':
      void to.drain.begin('network', order.graceMs ?? to.drainMs, order.retryAfterMs);
      return;
    case 'shutdown':
      void to.drain.begin('network', order.graceMs ?? to.drainMs).then(to.shutdown);
      return;
    default:
      assertNever(order.action);
  }
};

/** welcome.state is the network's order and replaces the one held (docs/protocol.md §3). */
export const obeyWelcome = (state: NodeState, drain: Drain, drainMs: number): void => {
  drain.pause('network', state === 'paused');
  if (state === 'draining') void drain.begin('network', drainMs);
  else drain.end('network');
};

/** Takes up what the operator orders through the pod's annotations. */
export const obeyAnnotations = (
  orders: PodAnnotations['orders'],
  drain: Drain,
  settings: Pick<Settings, 'drain'>,
): void => {
  drain.pause('owner', orders.paused);
  if (orders.drain) void drain.begin('operator', settings.drain.timeoutSeconds * 1000);
  else drain.end('operator');
  if (orders.handover) void drain.begin('handover', settings.drain.handoverSeconds * 1000);
  else drain.end('handover');
};
