import { createServer, type IncomingHttpHeaders } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** An HTTP proxy on loopback that knows CONNECT alone, leads every host to 127.0.0.1, and keeps what it was asked. */
export class ConnectProxy {
  readonly tunnels: { readonly to: string | undefined; readonly headers: IncomingHttpHeaders }[] = [];
  /** What it answers instead of a tunnel, as in `407 Proxy Authentication Required`; undefined: it tunnels. */
  refusal: string | undefined;
  readonly #server;
  readonly #secure: boolean;
  readonly #open = new Set<Socket>();

  /** @param tls with it the way to the proxy is TLS too */
  constructor(tls?: { cert: string; key: string }) {
    this.#secure = tls !== undefined;
    this.#server = tls ? createTlsServer(tls) : createServer();
    this.#server.on('connect', (req, socket, head) => {
      this.tunnels.push({ to: req.url, headers: req.headers });
      if (this.refusal !== undefined) return socket.end(`HTTP/1.1 ${this.refusal}\r\n\r\n`);
      const onward = connect(Number((req.url ?? '').split(':').at(-1)), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
        onward.write(head);
        onward.pipe(socket).pipe(onward);
      });
      for (const end of [onward, socket as Socket]) {
        this.#open.add(end);
        end.on('error', () => {}).on('close', () => this.#open.delete(end));
      }
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }
  /** Its URL, with user and password where given as `user:password`. */
  url(credentials?: string, host = '127.0.0.1'): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http${this.#secure ? 's' : ''}://${credentials === undefined ? '' : `${credentials}@`}${host}:${port}`;
  }
  /** Cuts every tunnel. */
  cut(): void {
    for (const end of this.#open) end.destroy();
  }
  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
