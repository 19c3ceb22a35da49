import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from './metrics.ts';

/** What a program shows of itself. Each answer is computed when asked. */
export interface Observed {
  readonly metrics: Metrics;
  /** undefined = alive; a text = why not. */
  readonly alive?: () => string | undefined;
  /** undefined = ready; a text = why not. */
  readonly ready?: () => string | undefined;
  /** JSON for people and the kubectl plug-in. */
  readonly status?: () => unknown;
  /** Further read-only paths: 200 when the check passes, 503 with the text otherwise or when it rejects. */
  readonly checks?: Readonly<Record<string, () => Promise<string | undefined>>>;
}

/**
 * Serves GET /metrics, /healthz, /readyz, /statusz and nothing else. Plain HTTP on the pod's own port: it shows no secret
 * and takes no order, as the runtime container can reach it too.
 */
export const serveObserved = async (
  observed: Observed,
  port: number,
  host = '0.0.0.0',
): Promise<{ port: number; close(): Promise<void> }> => {
  const check = (verdict: string | undefined): [number, string] =>
    verdict === undefined ? [200, 'ok\n'] : [503, `${verdict}\n`];
  const server: Server = createServer((request, response) => {
    const send = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(405, 'method not allowed\n');
    const path = request.url?.split('?')[0] ?? '/';
    const extra = observed.checks?.[path];
    if (extra) {
      extra().then(
        (verdict) => send(...check(verdict)),
        () => send(...check('the check failed')),
      );
      return;
    }
    switch (path) {
      case '/metrics':
        observed.metrics.text().then(
          (text) => send(200, text, 'text/plain; version=0.0.4; charset=utf-8'),
          () => send(500, 'metrics failed\n'),
        );
        return;
      case '/healthz':
        return send(...check(observed.alive?.()));
      case '/readyz':
        return send(...check(observed.ready?.()));
      case '/statusz':
        return send(200, `${JSON.stringify(observed.status?.() ?? {}, null, 2)}\n`, 'application/json');
      default:
        return send(404, 'not found\n');
    }
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
