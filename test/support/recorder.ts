import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { SUBPROTOCOL } from '../../src/protocol/index.ts';

/** One frame as it went over the wire; `session` counts sockets from 1. */
export interface RecordedFrame {
  readonly way: 'up' | 'down';
  readonly session: number;
  readonly t: string;
  readonly seq: number;
  readonly payload: string;
  readonly text: string;
}
/** One HTTP call that was signed, with how it was answered. */
export interface RecordedCall {
  readonly path: string;
  readonly body: string;
  readonly header: string;
  readonly status: number;
}

/** Stands between a node and a service on loopback and writes down every frame and every signed call. */
export class Recorder {
  readonly frames: RecordedFrame[] = [];
  readonly calls: RecordedCall[] = [];
  /** `http://host:port` of the service. */
  target = '';
  /** When false, upgrades are answered 503, as while the service is full. */
  sockets = true;
  #server: Server | null = null;
  #port = 0;
  #open: { readonly near: WebSocket; readonly far: WebSocket }[] = [];
  #sessions = 0;

  get authority(): string {
    return `127.0.0.1:${this.#port}`;
  }
  async listen(): Promise<this> {
    const server = createServer((request, response) => void this.#call(request, response));
    const wss = new WebSocketServer({ noServer: true, handleProtocols: () => SUBPROTOCOL });
    server.on('upgrade', (request, socket, head) => {
      if (!this.sockets) return socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
      return wss.handleUpgrade(request, socket, head, (ws) => this.#join(ws));
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    return this;
  }
  /** Cuts every socket without a word. */
  cut(): void {
    for (const { near, far } of this.#open.splice(0)) {
      near.terminate();
      far.terminate();
    }
  }
  async close(): Promise<void> {
    this.cut();
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  #join(near: WebSocket): void {
    const session = ++this.#sessions;
    const far = new WebSocket(`${this.target.replace(/^http/, 'ws')}/v1/nodes/connect`, SUBPROTOCOL);
    this.#open.push({ near, far });
    const early: string[] = [];
    const note = (way: 'up' | 'down', text: string): void => {
      const { t, seq } = JSON.parse(text.slice(0, text.indexOf('\n')));
      this.frames.push({ way, session, t, seq, payload: text.slice(text.indexOf('\n') + 1), text });
    };
    near.on('message', (data) => {
      note('up', data.toString());
      if (far.readyState === WebSocket.OPEN) far.send(data.toString());
      else early.push(data.toString());
    });
    far.on('open', () => {
      for (const text of early) far.send(text);
    });
    far.on('message', (data) => {
      note('down', data.toString());
      near.send(data.toString());
    });
    const end = (to: WebSocket) => (code: number) => (code >= 4000 ? to.close(code) : to.terminate());
    near.on('close', end(far)).on('error', () => {});
    far.on('close', end(near)).on('error', () => {});
  }

  async #call(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const { method, url: path, headers } = request;
    const far = httpRequest(`${this.target}${path}`, { method, headers }, (answer) => {
      const header = headers['resultity-auth'];
      if (typeof header === 'string')
        this.calls.push({ path: path ?? '', body: body.toString(), header, status: answer.statusCode ?? 0 });
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    far.on('error', () => response.destroy());
    far.end(body);
  }
}
