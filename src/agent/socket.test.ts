import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { expect } from 'chai';
import { type WebSocket, WebSocketServer } from 'ws';
import { ConnectProxy } from '../../test/support/connect-proxy.ts';
import { until } from '../../test/support/until.ts';
import { type Certificates, makeCertificates } from '../network/commands/certificates.ts';
import { SUBPROTOCOL } from '../protocol/index.ts';
import { openWebSocket, type SocketPort, type WebSocketOptions } from './socket.ts';

/** What one socket told, in order. */
class Heard {
  readonly texts: string[] = [];
  end: { code: number; upgradeStatus: number | undefined; why: string | undefined } | undefined;
  up = false;
  readonly port: SocketPort;

  constructor(endpoint: string, options: WebSocketOptions) {
    this.port = openWebSocket(endpoint, options)(
      {
        opened: () => {
          this.up = true;
        },
        alive: () => {},
        message: (text) => void this.texts.push(text),
        closed: (code, upgradeStatus, why) => {
          this.end ??= { code, upgradeStatus, why };
        },
      },
      1 << 20,
    );
  }
}

describe('the socket of a node behind a proxy', () => {
  let made: Certificates;
  let plain: Server;
  let secure: Server;
  let proxy: ConnectProxy;
  let secureProxy: ConnectProxy;
  const peers = new Set<WebSocket>();
  const listen = (server: Server): Promise<void> => new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = (scheme: string, server: Server): string =>
    `${scheme}://localhost:${(server.address() as AddressInfo).port}`;

  before(async () => {
    made = await makeCertificates('test', ['localhost'], Date.now(), 1);
    plain = createServer();
    secure = createTlsServer(made);
    for (const server of [plain, secure]) {
      const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => SUBPROTOCOL });
      server.on('upgrade', (req, socket, head) =>
        sockets.handleUpgrade(req, socket, head, (ws) => {
          peers.add(ws);
          ws.on('error', () => {}).on('message', (text) => ws.send(`heard ${text}`));
        }),
      );
      await listen(server);
    }
    proxy = await new ConnectProxy().listen();
    secureProxy = await new ConnectProxy(made).listen();
  });
  afterEach(() => {
    proxy.tunnels.length = 0;
    proxy.refusal = undefined;
  });
  after(async () => {
    for (const ws of peers) ws.terminate();
    await Promise.all([proxy.close(), secureProxy.close()]);
    for (const server of [plain, secure]) server.close();
  });
  const talk = async (heard: Heard): Promise<void> => {
    await until(`it is open: ${JSON.stringify(heard.end)}`, () => heard.up || heard.end !== undefined);
    heard.port.send('hello');
    await until('the answer', () => heard.texts.length === 1 || heard.end !== undefined);
    expect(heard.texts).to.deep.equal(['heard hello']);
    heard.port.terminate();
    await until('it is closed', () => heard.end !== undefined);
  };

  it('goes through it, plain and over TLS, and the proxy learns where to and nothing else', async () => {
    await talk(new Heard(at('http', plain), { proxy: proxy.url() }));
    await talk(new Heard(at('https', secure), { proxy: proxy.url(), ca: made.ca }));
    expect(proxy.tunnels.map((t) => t.to)).to.deep.equal([plain, secure].map((s) => new URL(at('http', s)).host));
    expect(JSON.stringify(proxy.tunnels)).to.not.contain('authorization').and.not.to.contain(SUBPROTOCOL);
  });
  it('goes through one that is reached over TLS itself', async () => {
    await talk(new Heard(at('https', secure), { proxy: secureProxy.url(undefined, 'localhost'), ca: made.ca }));
    expect(secureProxy.tunnels).to.have.length(1);
  });
  it('gives user and password of the URL to the proxy', async () => {
    await talk(new Heard(at('https', secure), { proxy: proxy.url('node%40site:pass%3Aword'), ca: made.ca }));
    const [tunnel] = proxy.tunnels;
    expect(tunnel?.headers['proxy-authorization']).to.equal(
      `Basic ${Buffer.from('node@site:pass:word').toString('base64')}`,
    );
  });
  it('ends with a text that names the proxy and what it answered, and no password', async () => {
    proxy.refusal = '407 Proxy Authentication Required';
    const heard = new Heard(at('https', secure), { proxy: proxy.url('me:secret'), ca: made.ca });
    await until('it ends', () => heard.end !== undefined);
    const { host } = new URL(at('https', secure));
    expect(heard.end).to.deep.equal({
      code: 1006,
      upgradeStatus: undefined,
      why: `proxy ${proxy.url()}, CONNECT ${host}: it answered 407 Proxy Authentication Required`,
    });
  });
  it('ends with a text that names a proxy that is not there', async () => {
    const gone = await new ConnectProxy().listen();
    const url = gone.url();
    await gone.close();
    const heard = new Heard(at('http', plain), { proxy: url });
    await until('it ends', () => heard.end !== undefined);
    expect(heard.end?.why).to.contain(`proxy ${url}`).and.to.contain('ECONNREFUSED');
  });
  it('checks the certificate of the network through the proxy as without it', async () => {
    const heard = new Heard(at('https', secure), { proxy: proxy.url() });
    await until('it ends', () => heard.end !== undefined);
    expect(heard.up).to.equal(false);
    expect(heard.end?.why).to.contain('certificate');
  });
  it('ends when the tunnel is cut', async () => {
    const heard = new Heard(at('http', plain), { proxy: proxy.url() });
    await until('it is open', () => heard.up);
    proxy.cut();
    await until('it ends', () => heard.end !== undefined);
    expect(heard.end?.code).to.equal(1006);
  });
  it('leaves nothing open when it is given up before the proxy has answered', async () => {
    const heard = new Heard(at('http', plain), { proxy: proxy.url() });
    heard.port.terminate();
    await until('it ends', () => heard.end !== undefined);
    expect(heard.up).to.equal(false);
  });
});
