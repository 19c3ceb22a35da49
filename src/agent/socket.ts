import type { createConnection } from 'node:net';
import { type ClientOptions, WebSocket } from 'ws';
import { errorText } from '../lib/errors.ts';
import { SUBPROTOCOL } from '../protocol/index.ts';
import { openTunnel } from './proxy-tunnel.ts';

/** A socket as the session sees it; the real one is ws, tests have one in memory. */
export interface SocketPort {
  send(text: string): void;
  ping(): void;
  close(code: number, reason: string): void;
  terminate(): void;
  /** Bytes accepted by `send` and not yet given to the kernel. */
  buffered(): number;
  /** Stop and go on reading. */
  pause(): void;
  resume(): void;
}

/** What a socket tells; each is called in order, `closed` once and last. */
export interface SocketEvents {
  opened(): void;
  message(text: string): void;
  /** Any bytes at all: ping, pong, part of a message. */
  alive(): void;
  /** `upgradeStatus` when the upgrade was answered with another status than 101; `why` when this end knows, bounded. */
  closed(code: number, upgradeStatus?: number, why?: string): void;
}

export type OpenSocket = (events: SocketEvents, maxBytes: number) => SocketPort;

export interface WebSocketOptions {
  /** The network's CA bundle. */
  readonly ca?: string | undefined;
  /** URL of an HTTP proxy. */
  readonly proxy?: string | undefined;
}

/** The real socket: wss with the network's CA bundle, one text message a frame, no compression. */
export const openWebSocket =
  (endpoint: string, { ca, proxy }: WebSocketOptions): OpenSocket =>
  (events, maxBytes) => {
    const url = `${endpoint.replace(/^http/, 'ws')}/v1/nodes/connect`;
    const ws = new WebSocket(url, SUBPROTOCOL, {
      perMessageDeflate: false,
      maxPayload: maxBytes,
      handshakeTimeout: 10_000,
      followRedirects: false,
      ...(ca === undefined ? {} : { ca }),
      ...(proxy === undefined ? {} : through(proxy, url, ca)),
    });
    let upgradeStatus: number | undefined;
    let why: string | undefined;
    let code = 1006;
    ws.on('open', () => events.opened());
    ws.on('message', (data, binary) => {
      events.alive();
      if (binary) return ws.close(4400, 'binary message');
      events.message((data as Buffer).toString('utf8'));
    });
    ws.on('ping', () => events.alive());
    ws.on('pong', () => events.alive());
    ws.on('unexpected-response', (request, response) => {
      upgradeStatus = response.statusCode;
      response.resume();
      request.destroy();
      events.closed(code, upgradeStatus);
    });
    ws.on('error', (error: Error & { code?: string }) => {
      if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') code = 1009;
      why = errorText(error).slice(0, 200);
    });
    ws.on('close', (received) => {
      if (upgradeStatus === undefined) events.closed(received || code, undefined, why);
    });
    return {
      send: (text) => ws.send(text, { binary: false }, () => {}),
      ping: () => {
        if (ws.readyState === WebSocket.OPEN) ws.ping();
      },
      close: (closeCode, reason) => ws.close(closeCode, reason.slice(0, 120)),
      terminate: () => ws.terminate(),
      buffered: () => ws.bufferedAmount,
      pause: () => ws.pause(),
      resume: () => ws.resume(),
    };
  };

/** Node takes a socket that is made later by the callback, which its types do not tell. */
const through = (proxy: string, url: string, ca: string | undefined): ClientOptions => {
  const { hostname, port, protocol } = new URL(url);
  const secure = protocol === 'wss:';
  const host = hostname.replace(/^\[|\]$/g, '');
  const target = { host, port: Number(port || (secure ? 443 : 80)), ...(secure ? { tls: { ca } } : {}) };
  const connect = (_: unknown, done: (error: unknown, socket?: unknown) => void): void => {
    openTunnel(proxy, target, ca).then((socket) => done(null, socket), done);
  };
  return { createConnection: connect as unknown as typeof createConnection };
};
