import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { ServiceRig } from '../../test/support/service-rig.ts';
import { until } from '../../test/support/until.ts';
import { SUBPROTOCOL } from '../protocol/index.ts';
import { makeCertificates } from './commands/certificates.ts';
import type { Limits } from './settings.ts';

describe('connection limits', () => {
  let rig: ServiceRig | undefined;
  const open: (Socket | WebSocket)[] = [];
  afterEach(async () => {
    for (const o of open.splice(0)) o instanceof WebSocket ? o.terminate() : o.destroy();
    await rig?.stop();
    rig = undefined;
  });
  const start = async (limits: Partial<Limits>, tls?: { cert: string; key: string }): Promise<ServiceRig> => {
    rig = await ServiceRig.start(tls ? { tls } : {}, limits);
    return rig;
  };
  /** Resolves with the status that refused the upgrade, or 101 and the first frame. */
  const upgrade = (at: ServiceRig): Promise<{ status: number; first?: string }> =>
    new Promise((resolve) => {
      const ws = new WebSocket(`ws://${at.authority}/v1/nodes/connect`, SUBPROTOCOL);
      open.push(ws);
      ws.on('error', () => {});
      ws.on('unexpected-response', (_request, answer) => resolve({ status: answer.statusCode ?? 0 }));
      ws.on('message', (data) => resolve({ status: 101, first: data.toString() }));
    });
  /** Resolves with what came until the other side closed; undefined while it stays open for `ms`. */
  const closedWith = (socket: Socket): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      open.push(socket);
      socket.on('data', (part) => {
        text += part.toString();
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });

  it('refuses a node’s socket above the limit of its address before it makes a challenge, and takes one when another left', async () => {
    const at = await start({ socketsPerAddress: 2 });
    expect((await upgrade(at)).first).to.contain('challenge');
    expect((await upgrade(at)).status).to.equal(101);
    expect(await upgrade(at)).to.deep.equal({ status: 429 });
    expect(at.service.hub.size).to.equal(2);
    (open[0] as WebSocket).terminate();
    await until('it is gone', () => at.service.hub.size === 1);
    expect((await upgrade(at)).status).to.equal(101);
  });

  it('refuses a node’s socket above the limit of the process', async () => {
    const at = await start({ sockets: 1 });
    expect((await upgrade(at)).status).to.equal(101);
    expect(await upgrade(at)).to.deep.equal({ status: 503 });
  });

  it('closes a connection above the limit of its address without a byte, and counts closed ones no more', async () => {
    const at = await start({ connectionsPerAddress: 2 });
    const held = [1, 2].map(() => connectTcp(at.service.port, '127.0.0.1'));
    open.push(...held);
    await Promise.all(held.map((s) => new Promise((done) => s.once('connect', done))));
    const third = connectTcp(at.service.port, '127.0.0.1');
    third.on('connect', () => third.write('GET /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n'));
    expect(await closedWith(third)).to.equal('');
    for (const s of held) s.destroy();
    await until(
      'there is room again',
      async () => (await fetch(`${at.url}/v1/ping`).catch(() => undefined))?.ok === true,
    );
  });

  /** Two connections over TLS where one may be: the second is closed before its handshake. Returns the first. */
  const secondRefused = async (limits: Parameters<typeof start>[0]): Promise<Socket> => {
    const { cert, key } = await makeCertificates('demo', ['127.0.0.1'], Date.now(), 1);
    const at = await start(limits, { cert, key });
    const secure = (): Socket => connectTls({ port: at.service.port, host: '127.0.0.1', rejectUnauthorized: false });
    const first = secure();
    open.push(first);
    await new Promise((done) => first.once('secureConnect', done));
    const second = secure();
    let shaken = false;
    second.on('secureConnect', () => {
      shaken = true;
    });
    await closedWith(second);
    expect(shaken).to.equal(false);
    return first;
  };

  it('closes one above the limit of the process, over TLS before the handshake', async () => {
    await secondRefused({ connections: 1 });
  });

  it('closes one above the limit of its address over TLS before the handshake, and goes on serving', async () => {
    const first = await secondRefused({ connectionsPerAddress: 1 });
    first.write('GET /v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(await closedWith(first)).to.contain('serverTime');
  });
});
