import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { Session } from 'node:inspector/promises';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { getHeapSnapshot } from 'node:v8';
import type { Clock } from '../lib/clock.ts';
import type { Served } from './manager.ts';

const LOOPBACK = '127.0.0.1';
const MAX_SECONDS = 60;

/**
 * `GET /debug/cpu?seconds=10` gives a .cpuprofile, `GET /debug/heap` a .heapsnapshot: open either in a browser's developer
 * tools. On loopback only, for a heap holds every secret that the process has read; in a pod it is reached by
 * `kubectl port-forward`. One at a time (429 otherwise). A heap snapshot stops everything else while it is taken.
 */
export const serveProfiles = async (clock: Clock, port: number): Promise<Served & { readonly port: number }> => {
  const stop = new AbortController();
  let busy = false;
  const take = async (url: URL, response: ServerResponse): Promise<void> => {
    const file = (name: string): void => {
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-disposition': `attachment; filename="${name}"`,
      });
    };
    if (url.pathname === '/debug/heap') {
      file('operator.heapsnapshot');
      await pipeline(getHeapSnapshot(), response);
      return;
    }
    const seconds = Number(url.searchParams.get('seconds') ?? 10);
    if (!(seconds > 0 && seconds <= MAX_SECONDS)) {
      response.writeHead(400).end(`seconds: give a number over 0 and up to ${MAX_SECONDS}\n`);
      return;
    }
    const profile = await cpuProfile(() => clock.sleep(seconds * 1000, stop.signal));
    file('operator.cpuprofile');
    response.end(JSON.stringify(profile));
  };
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (request.method !== 'GET' || !['/debug/cpu', '/debug/heap'].includes(url.pathname)) {
      response.writeHead(404).end('GET /debug/cpu?seconds=10 or /debug/heap\n');
    } else if (busy) response.writeHead(429).end('a profile is being taken\n');
    else {
      busy = true;
      take(url, response)
        .catch(() => response.destroy())
        .finally(() => {
          busy = false;
        });
    }
  });
  server.listen(port, LOOPBACK);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      stop.abort(new Error('the server closes'));
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
};

const cpuProfile = async (during: () => Promise<void>): Promise<object> => {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await during();
    return (await session.post('Profiler.stop')).profile;
  } finally {
    session.disconnect();
  }
};
