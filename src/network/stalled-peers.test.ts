import { connect } from 'node:net';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { FakeNode } from '../../test/support/fake-node.ts';
import { ServiceProcess } from '../../test/support/service-process.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { CLOSE, parsePayload, zJobOffer } from '../protocol/index.ts';
import { systemRandom } from './random.ts';
import { Session } from './session.ts';

/** I8 of docs/faults.md, by the memory of the service's own process. */
const GROWTH_MIB = 64;
const LINE = JSON.stringify({ id: 'c', choices: [{ index: 0, delta: { content: 'x'.repeat(1_000) } }] });

describe('memory of the service with a peer that does not read', function () {
  this.timeout(60_000);
  let site: ServiceProcess;
  before(async () => {
    site = await ServiceProcess.start();
  });
  after(() => site.close());

  /** How much the process grew at most while `work` ran. */
  const growth = async (work: () => Promise<void>): Promise<number> => {
    const before = site.rssMiB;
    let most = before;
    const watch = setInterval(() => {
      most = Math.max(most, site.rssMiB);
    }, 10);
    await work().finally(() => clearInterval(watch));
    return most - before;
  };
  const activeNode = async (name: string): Promise<FakeNode> => {
    const node = site.node(name);
    await node.register();
    await node.connect();
    const [model] = site.models;
    if (!model || !node.welcome?.config) throw new Error('nothing is published');
    node.send('heartbeat', node.heartbeat(model.ref, model.digest, node.welcome.config));
    return node;
  };

  /** A caller asks for a stream; resolves with its job. */
  const ask = async (node: FakeNode, reads: boolean) => {
    const caller = connect(site.port, '127.0.0.1');
    caller.on('error', () => {});
    if (reads) caller.resume();
    else caller.pause();
    const body = JSON.stringify({
      ...{ model: site.models[0]?.ref, stream: true },
      messages: [{ role: 'user', content: 'Tell me everything.' }],
    });
    caller.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${site.apiKey}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    const { jobId, attempt } = parsePayload(zJobOffer, { t: 'job.offer', payload: await node.next('job.offer') });
    node.accept({ jobId, attempt });
    const cancelled = (): boolean =>
      node.frames.some((f) => f.t === 'job.cancel' && JSON.parse(f.payload).jobId === jobId);
    const talk = async (lines: number): Promise<void> => {
      for (let from = 0; from < lines && !cancelled(); from += 50) {
        node.send('job.delta', { jobId, attempt, from, lines: Array(50).fill(LINE) });
        await until('the service took them', () => node.unsent === 0 || cancelled(), 30_000);
      }
    };
    return { caller, jobId, attempt, cancelled, talk };
  };

  it('a caller who reads nothing of a stream of 50 000 lines is given up: its job is cancelled, and costs less than 64 MiB', async () => {
    const node = await activeNode('talker');
    // what a stream costs whose caller reads is there before
    const reader = await ask(node, true);
    await reader.talk(20_000);
    reader.caller.destroy();
    await until('the job of the one who left is cancelled', reader.cancelled, 20_000);
    await node.next('job.cancel');
    const { caller, jobId, attempt, cancelled, talk } = await ask(node, false);
    const grown = await growth(async () => {
      await talk(50_000);
      await until('the job is cancelled', cancelled, 20_000);
    });
    expect(JSON.parse(await node.next('job.cancel'))).to.deep.equal({ jobId, attempt, reason: 'client_gone' });
    caller.destroy();
    node.close();
    expect(grown).to.be.below(GROWTH_MIB);
  });
});

describe('a session with a node that does not read', () => {
  const setUp = () => {
    const clock = new FakeClock();
    const wire = {
      ...{ held: 0, most: 0, closed: undefined as number | undefined, cut: false, reading: true },
      send: (text: string) => {
        wire.held += text.length;
        wire.most = Math.max(wire.most, wire.held);
      },
      close: (code: number) => {
        wire.closed = code;
      },
      terminate: () => {
        wire.cut = true;
      },
      pause: () => {
        wire.reading = false;
      },
      resume: () => {
        wire.reading = true;
      },
      ping: () => {},
      buffered: () => wire.held,
    };
    const host = {
      ...{ domain: new SignerKit().domain, signer: testSigner('network'), clock, random: systemRandom },
      ...{ frameBytes: 1_048_576, audiences: [], handlers: new Map(), rootVersion: () => 1 },
      ...{ mayConnect: () => {}, welcome: () => ({}) as never, gone: () => {}, refused: () => {} },
    };
    return { clock, wire, session: new Session(host, wire) };
  };

  it('is closed 4008 when 8 MiB wait for it, however many frames are to be sent, and cut a second later', async () => {
    const { clock, wire, session } = setUp();
    const receipt = { receipt: 'x'.repeat(1_000) };
    for (let i = 0; i < 50_000; i++) session.send('job.receipt', receipt);
    expect(wire.closed).to.equal(CLOSE.slow);
    expect(wire.most).to.be.within(8 * 1_048_576, 8 * 1_048_576 + 2_000);
    await clock.advance(1_001);
    session.tick();
    expect(wire.cut).to.equal(true);
  });
  it('sends nothing before that is durable on which it rests, then all in order; closes when it cannot be kept', async () => {
    const { wire, session } = setUp();
    const sent: string[] = [];
    wire.send = (text) => void sent.push((JSON.parse(text.split('\n')[0] ?? '') as { t: string }).t);
    const kept = Promise.withResolvers<void>();
    session.holdBack(kept.promise);
    session.send('welcome', {});
    session.send('job.cancel', {});
    expect(sent).to.deep.equal([]);
    kept.resolve();
    await new Promise(setImmediate);
    expect(sent).to.deep.equal(['welcome', 'job.cancel']);
    session.holdBack(Promise.reject(new Error('EIO')));
    session.send('welcome', {});
    await new Promise(setImmediate);
    expect([sent.length, wire.closed]).to.deep.equal([2, CLOSE.internal]);
  });
  it('is read no further while 64 of its frames are being answered, or 4 MiB', async () => {
    const { wire, session } = setUp();
    const one = Promise.withResolvers<void>();
    const all = Promise.withResolvers<void>();
    for (let i = 0; i < 63; i++) session.hold(10, all.promise);
    expect(wire.reading).to.equal(true);
    session.hold(10, one.promise);
    expect(wire.reading).to.equal(false);
    one.resolve();
    await new Promise(setImmediate);
    expect(wire.reading).to.equal(true);
    session.hold(4 * 1_048_576, Promise.reject(new Error('disk')));
    expect(wire.reading).to.equal(false);
    await new Promise(setImmediate);
    expect(wire.reading).to.equal(true);
  });
});
