import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Logger } from '../lib/log.ts';
import { CLOSE, FrameError, SUBPROTOCOL } from '../protocol/index.ts';
import { addressOf } from './http.ts';
import type { Hub } from './hub.ts';
import type { Session } from './session.ts';
import type { Limits } from './settings.ts';

const PATH = '/v1/nodes/connect';

/**
 * Turns upgrades into sessions: connection limits before anything else, then the subprotocol (docs/protocol.md §3, §6).
 * Frames are handled as they arrive, so nothing queues on our side and TCP holds back a peer that sends too fast.
 */
export const acceptSockets = (server: Server, hub: Hub, limits: Limits, log: Logger): void => {
  const perAddress = new Map<string, number>();
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: limits.frameBytes,
    handleProtocols: () => SUBPROTOCOL,
  });

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if ((request.url ?? '').split('?')[0] !== PATH) return answer(socket, 404, 'Not Found');
    const address = addressOf(request);
    const open = perAddress.get(address) ?? 0;
    if (hub.closing || hub.size >= limits.sockets) return answer(socket, 503, 'Service Unavailable');
    if (open >= limits.socketsPerAddress) return answer(socket, 429, 'Too Many Requests');
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((p) => p.trim());
    if (!offered.includes(SUBPROTOCOL)) return answer(socket, 426, 'Upgrade Required');
    sockets.handleUpgrade(request, socket, head, (ws) => {
      perAddress.set(address, (perAddress.get(address) ?? 0) + 1);
      ws.once('close', () => {
        const left = (perAddress.get(address) ?? 1) - 1;
        if (left > 0) perAddress.set(address, left);
        else perAddress.delete(address);
      });
      attach(ws, hub, log);
    });
  });
};

const attach = (ws: WebSocket, hub: Hub, log: Logger): void => {
  const session: Session = hub.open({
    send: (text) => ws.send(text),
    ping: () => ws.ping(),
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
    buffered: () => ws.bufferedAmount,
    pause: () => ws.pause(),
    resume: () => ws.resume(),
  });
  ws.on('message', (data, isBinary) => {
    if (isBinary) return session.refuse(new FrameError(CLOSE.badFrame, 'a frame is a text message'));
    try {
      session.received(data.toString());
    } catch (error) {
      log.error({ error, node: session.hello?.node }, 'a frame could not be handled');
      session.close(CLOSE.internal, 'internal error');
    }
  });
  ws.on('ping', () => session.heard());
  ws.on('pong', () => session.heard());
  // `close` follows every error; ws itself closes 1009 above the limit and 1007 for malformed UTF-8
  ws.on('error', (error) => log.info({ error, node: session.hello?.node }, 'socket error'));
  ws.on('close', (code) => {
    log.debug({ node: session.hello?.node, code }, 'socket closed');
    hub.forget(session);
  });
};

const answer = (socket: Duplex, status: number, text: string): void => {
  const upgrade = status === 426 ? 'Upgrade: websocket\r\nSec-WebSocket-Protocol: resultity.v1\r\n' : '';
  socket.end(`HTTP/1.1 ${status} ${text}\r\n${upgrade}Connection: close\r\nContent-Length: 0\r\n\r\n`);
};
