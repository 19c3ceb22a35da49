import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { WebSocket, WebSocketServer } from 'ws';
import { FaultProxy, KINDS, plan, pointsOf, seeded, type Toxic } from '../chaos/index.ts';
import { until } from '../support/until.ts';

describe('the fault proxy', () => {
  let upstream: Server;
  let proxy: FaultProxy;
  let port: number;
  let heard = '';
  let upstreamEnds: string[] = [];
  const clients: Socket[] = [];

  beforeEach(async () => {
    heard = '';
    upstreamEnds = [];
    // echoes, and keeps what it heard
    upstream = createServer((socket) => {
      socket.on('data', (part) => {
        heard += part.toString();
        socket.write(part);
      });
      socket.on('error', (error: NodeJS.ErrnoException) => upstreamEnds.push(error.code ?? 'error'));
      socket.on('close', () => upstreamEnds.push('close'));
    });
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
    proxy = new FaultProxy((upstream.address() as AddressInfo).port, seeded(1, 'test'));
    port = await proxy.listen();
  });
  afterEach(async () => {
    for (const socket of clients.splice(0)) socket.destroy();
    await proxy.close();
    await new Promise((resolve) => upstream.close(resolve));
  });

  const client = async (toxics: readonly Toxic[] = []) => {
    proxy.toxics = toxics;
    const socket = connect(port, '127.0.0.1');
    clients.push(socket);
    const seen = { text: '', parts: 0, ends: [] as string[] };
    socket.on('data', (part) => {
      seen.text += part.toString();
      seen.parts++;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => seen.ends.push(error.code ?? 'error'));
    socket.on('close', () => seen.ends.push('close'));
    await new Promise((resolve) => socket.once('connect', resolve));
    return { socket, seen };
  };

  it('passes bytes both ways, and the end after them', async () => {
    const { socket, seen } = await client();
    socket.end('hello');
    await until('closed', () => seen.ends.includes('close'));
    expect(seen.text).to.equal('hello');
    expect(seen.ends).to.deep.equal(['close']);
  });
  it('passes everything under latency, slowness and slices, in smaller parts and in order', async () => {
    const { socket, seen } = await client([
      { kind: 'latency', ms: 5 },
      { kind: 'slice', bytes: 2, gapMs: 5, direction: 'down' },
      { kind: 'slow', bytesPerSecond: 10_000, direction: 'up' },
    ]);
    socket.write('0123456789');
    await until('all echoed', () => seen.text.length === 10);
    expect(seen.text).to.equal('0123456789');
    expect(seen.parts).to.be.above(1);
  });
  it('resets both ends', async () => {
    const { socket, seen } = await client();
    socket.write('x');
    await until('echoed', () => seen.text === 'x');
    proxy.reset();
    await until('both ends know', () => seen.ends.length === 2 && upstreamEnds.length === 2);
    expect(seen.ends).to.deep.equal(['ECONNRESET', 'close']);
    expect(upstreamEnds).to.deep.equal(['ECONNRESET', 'close']);
  });
  it('drops silently in one direction or both, and leaves the connection open', async () => {
    const { socket, seen } = await client([{ kind: 'blackhole', direction: 'down' }]);
    socket.write('up only');
    await until('heard', () => heard === 'up only');
    proxy.toxics = [{ kind: 'blackhole' }];
    socket.write('nowhere');
    proxy.toxics = [{ kind: 'blackhole' }];
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([heard, seen.text, seen.ends.length]).to.deep.equal(['up only', '', 0]);
  });
  it('cuts one end and leaves the other open and silent until it is told to end that too', async () => {
    const { socket, seen } = await client();
    socket.write('x');
    await until('echoed', () => seen.text === 'x');
    const { end } = proxy.halfOpen('upstream');
    await until('the upstream knows', () => upstreamEnds.includes('close'));
    socket.write('y');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([seen.ends.length, seen.text]).to.deep.equal([0, 'x']);
    end();
    await until('the client knows', () => seen.ends.includes('ECONNRESET'));
  });
  it('resets a connection after so many bytes', async () => {
    const { socket, seen } = await client([{ kind: 'limit', bytes: 8, direction: 'up' }]);
    socket.write('1234');
    await until('echoed', () => seen.text === '1234');
    socket.write('567890');
    await until('reset', () => seen.ends.includes('ECONNRESET'));
    expect(heard).to.equal('1234');
  });
  it('resets callers while the upstream is down', async () => {
    await new Promise((resolve) => upstream.close(resolve));
    const { seen } = await client();
    await until('reset', () => seen.ends.includes('close'));
  });
  it('doubles and reorders whole WebSocket messages', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await new Promise((resolve) => server.once('listening', resolve));
    const got: string[] = [];
    server.on('connection', (ws) => ws.on('message', (data) => got.push(String(data))));
    const between = new FaultProxy((server.address() as AddressInfo).port, seeded(1, 'frames'));
    const ws = new WebSocket(`ws://127.0.0.1:${await between.listen()}`);
    await new Promise((resolve) => ws.once('open', resolve));
    const long = 'c'.repeat(70_000);
    between.toxics = [{ kind: 'duplicate', chance: 1 }];
    ws.send('a');
    await until('doubled', () => got.length === 2);
    between.toxics = [{ kind: 'reorder', chance: 1 }];
    ws.send('b');
    ws.send(long);
    await until('both came', () => got.length === 4);
    expect(got.map((m) => m.slice(0, 1)).join('')).to.equal('aacb');
    expect(got[2]).to.equal(long);
    ws.terminate();
    await between.close();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('a schedule of disconnects', () => {
  it('is the same for a seed, another for another, and holds every kind and every point of failure', () => {
    expect(plan(7, 200)).to.deep.equal(plan(7, 200));
    expect(plan(7, 200)).to.not.deep.equal(plan(8, 200));
    expect(new Set(plan(7, 200).map((p) => p.kind))).to.deep.equal(new Set(KINDS));
    const points = new Set(plan(7, 200).flatMap((p) => p.point ?? []));
    expect(points).to.deep.equal(new Set([...pointsOf('agent'), ...pointsOf('network')]));
  });
  it('counts disconnects without the freezes, and can be of some kinds alone', () => {
    expect(plan(7, 200).filter((p) => p.kind !== 'freeze')).to.have.length(200);
    expect(new Set(plan(7, 50, { kinds: ['reset', 'slow'] }).map((p) => p.kind))).to.deep.equal(
      new Set(['reset', 'slow']),
    );
  });
  it('leaves node and service to a silence of 40 s in turn, and neither in a short run', () => {
    const patient = plan(7, 400).filter((p) => p.patient);
    expect(patient.map((p) => p.cut).slice(0, 4)).to.deep.equal(['upstream', 'client', 'upstream', 'client']);
    const short = plan(7, 400, { patient: false });
    expect(short.filter((p) => p.patient || p.downMs > 5_000)).to.deep.equal([]);
  });
});
