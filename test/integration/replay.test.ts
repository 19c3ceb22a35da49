import { expect } from 'chai';
import { Secret } from '../../src/lib/secret.ts';
import { systemRandom } from '../../src/network/index.ts';
import {
  createSigner,
  type Domain,
  FrameReader,
  parseFrame,
  type SessionKeys,
  type Signer,
  sessionId,
} from '../../src/protocol/index.ts';
import { FakeNode } from '../support/fake-node.ts';
import { type GoodRun, goodRun, INCARNATION, NODE_KEY } from '../support/good-run.ts';
import { malleated } from '../support/malleated.ts';
import type { RecordedCall, RecordedFrame } from '../support/recorder.ts';
import { AgentEnd, NodeEnd } from '../support/replay-ends.ts';
import { ServiceRig } from '../support/service-rig.ts';
import { SignerKit, testSigner } from '../support/signer-kit.ts';

const HOUR = 3_600_000;
const REFUSALS = [4400, 4401, 4010];

/** What replays came to, by the type of what was replayed. */
class Tally {
  readonly tried = new Map<string, number>();
  readonly accepted: string[] = [];
  count(kind: string, accepted: boolean, how = ''): void {
    this.tried.set(kind, (this.tried.get(kind) ?? 0) + 1);
    if (accepted) this.accepted.push(`${kind} ${how}`.trim());
  }
  /** Every kind was tried, all in all so often, and nothing was accepted. */
  expectNone(kinds: readonly string[], times: number): void {
    expect(this.accepted).to.deep.equal([]);
    expect([...this.tried.keys()].sort()).to.deep.equal([...new Set(kinds)].sort());
    expect([...this.tried.values()].reduce((a, b) => a + b, 0)).to.equal(times);
  }
}

describe('every frame and call of a good run, replayed', function () {
  this.timeout(120_000);
  const signer = createSigner(new Secret(NODE_KEY));
  let run: GoodRun;
  let frames: readonly RecordedFrame[];
  let calls: readonly RecordedCall[];
  let state: () => string;
  let before0: string;
  let agent: AgentEnd;
  const opened: { stop(): Promise<void> }[] = [];

  before(async () => {
    run = await goodRun();
    const { rig, recorder } = run;
    // the run is over: what comes now is not part of it
    frames = [...recorder.frames];
    calls = [...recorder.calls];
    state = () => JSON.stringify([rig.ledger(), rig.service.registry.row(signer.address)]);
    before0 = state();
    agent = await AgentEnd.listen({ domain: rig.kit.domain, network: rig.ticketSigner });
  });
  after(async () => {
    for (const one of opened) await one.stop();
    await agent?.close();
    await run?.close();
  });
  afterEach(() => {
    run.later(0);
    expect(state(), 'ledger and registry').to.equal(before0);
  });

  const types = (of: readonly RecordedFrame[] = frames): string[] => of.map((f) => f.t);
  const paths = (): string[] => calls.map((c) => c.path);
  const join = (o: { url?: string; domain?: Domain; audience?: string; node?: Signer } = {}): Promise<NodeEnd> =>
    NodeEnd.join(o.url ?? run.rig.url, {
      domain: o.domain ?? run.rig.kit.domain,
      signer: o.node ?? signer,
      audience: o.audience ?? run.recorder.authority,
      incarnation: INCARNATION,
    });
  /** Into a good session at a service: as it comes, and with the number that the session expects next. */
  const intoSessions = async (tally: Tally, o: Parameters<typeof join>[0] = {}): Promise<void> => {
    for (const frame of frames)
      for (const align of [false, true]) {
        const end = await join(o);
        if (align) end.align(frame.seq);
        end.raw(frame.text);
        const code = await end.refusal();
        tally.count(frame.t, !REFUSALS.includes(code ?? 0), `${align ? 'aligned' : 'as it was'}: ${code}`);
      }
  };
  /** Into a good session of an agent. */
  const intoAgents = async (tally: Tally, at: AgentEnd, node: Signer, laterMs = 0): Promise<void> => {
    for (const frame of frames)
      for (const align of [false, true]) {
        const { messages, end } = await at.session({ node, laterMs }, (network) => {
          if (align) network.align(frame.seq);
          network.send(frame.text);
        });
        const refused = end.own && REFUSALS.includes(end.code) && messages.length === 0;
        tally.count(frame.t, !refused, `${align ? 'aligned' : 'as it was'}: ${end.code}`);
      }
  };
  const call = async (url: string, { path, body, header }: RecordedCall): Promise<{ status: number; code: string }> => {
    const headers = { 'resultity-auth': header, 'content-type': 'application/json' };
    const answer = await fetch(url + path, { method: 'POST', headers, body });
    const { error } = (await answer.json()) as { error?: { code: string } };
    return { status: answer.status, code: error?.code ?? '' };
  };
  const intoCalls = async (
    tally: Tally,
    url: string,
    wanted: string,
    first?: (c: RecordedCall) => void,
  ): Promise<void> => {
    for (const one of calls) {
      first?.(one);
      const { status, code } = await call(url, one);
      tally.count(one.path, status !== 401, String(status));
      expect(code, one.path).to.equal(wanted);
    }
  };
  /** A service that draws the very nonce of the recorded session, so that nothing but the host or the network differs. */
  const sameNonce = async (over: Parameters<typeof ServiceRig.start>[0]): Promise<ServiceRig> => {
    const { serverNonce } = JSON.parse(frames.find((f) => f.t === 'challenge')?.payload ?? '{}');
    const nonce = Buffer.from(serverNonce.slice(2), 'hex');
    const random = { ...systemRandom, bytes: (n: number) => (n === 32 ? nonce : systemRandom.bytes(n)) };
    const rig = await ServiceRig.start({ ...over, random });
    opened.push(rig);
    return rig;
  };
  const register = async (url: string, domain: Domain, authority: string): Promise<void> => {
    const node = new FakeNode({ url, domain, signer, network: signer.address });
    node.audience = authority;
    expect((await node.register()).status).to.equal(200);
  };
  /** The whole upward side of the first recorded session, word for word. @returns whether it was welcomed, and the close code */
  const verbatim = async (url: string): Promise<{ welcomed: boolean; code: number | undefined }> => {
    const end = await NodeEnd.open(url);
    for (const frame of frames) if (frame.session === 1 && frame.way === 'up') end.raw(frame.text);
    const code = await end.refusal(1_000);
    return { welcomed: end.heard.includes('welcome'), code };
  };

  it('recorded all that a good run consists of', () => {
    const down = ['challenge', 'welcome', 'job.offer', 'job.receipt', 'job.cancel', 'control', 'config.notice'];
    const up = ['hello', 'heartbeat', 'job.accept', 'job.delta', 'job.result', 'job.lost', 'config.ack', 'bye'];
    expect(types()).to.include.members([...down, ...up]);
    expect(paths()).to.include.members(['/v1/register', '/v1/heartbeat', '/v1/results', '/v1/logs']);
    expect(calls.every((c) => c.status === 200)).to.equal(true);
  });

  it('calls again at the same service: replayed; after a restart, or an hour later: bad_clock', async () => {
    const tally = new Tally();
    // as if no time had passed: on a slow machine the first of them are over a minute old by now
    await intoCalls(tally, run.rig.url, 'replayed', ({ header }) => run.later(JSON.parse(header).ts - Date.now()));
    run.later(HOUR);
    await intoCalls(tally, run.rig.url, 'bad_clock');
    run.later(0);
    await run.rig.restart();
    await intoCalls(tally, run.rig.url, 'bad_clock');
    tally.expectNone(paths(), 3 * calls.length);
  });

  it('into another session of the same node: none is accepted, by either end', async () => {
    const [service, node] = [new Tally(), new Tally()];
    await intoSessions(service);
    await intoAgents(node, agent, signer);
    service.expectNone(types(), 2 * frames.length);
    node.expectNone(types(), 2 * frames.length);
  });

  it('as the first of a new socket: none is accepted, by either end', async () => {
    const [service, node] = [new Tally(), new Tally()];
    for (const frame of frames) {
      const end = await NodeEnd.open(run.rig.url);
      end.raw(frame.text);
      // bye before hello is only a way to hang up
      const code = await end.refusal();
      service.count(frame.t, end.heard.includes('welcome') || ![...REFUSALS, 4000].includes(code ?? 0), String(code));
      if (frame.t === 'challenge') continue;
      const saw = await agent.session({ node: signer, greet: false }, (network) => network.send(frame.text));
      node.count(frame.t, saw.welcomed || saw.messages.length > 0 || !REFUSALS.includes(saw.end.code));
    }
    service.expectNone(types(), frames.length);
    node.expectNone(
      types().filter((t) => t !== 'challenge'),
      types().filter((t) => t !== 'challenge').length,
    );
  });

  it('whole sessions word for word, to a service and to an agent: neither comes to welcome', async () => {
    expect(await verbatim(run.rig.url)).to.deep.equal({ welcomed: false, code: 4401 });
    for (const session of new Set(frames.map((f) => f.session))) {
      const down = frames.filter((f) => f.session === session && f.way === 'down');
      const saw = await agent.session({ node: signer, greet: false }, (network) => {
        network.send(down[0]?.text ?? '');
        void network.hello.then(() => {
          for (const frame of down.slice(1)) network.send(frame.text);
        });
      });
      expect([saw.welcomed, saw.messages.length, saw.end.code]).to.deep.equal([false, 0, 4401]);
    }
  });

  it('twice in the very session in which it was good: the second one closes it', async () => {
    const [service, node] = [new Tally(), new Tally()];
    const first = (way: 'up' | 'down', t: string): string =>
      frames.find((f) => f.way === way && f.t === t)?.payload ?? '';
    const goodOf = (way: 'up' | 'down', not: string[]): string[] => [
      ...new Set(types(frames.filter((f) => f.way === way && !not.includes(f.t)))),
    ];
    // after bye there is no session; a second hello is among those of other sessions
    const up = goodOf('up', ['hello', 'bye']);
    for (const t of up) {
      const end = await join();
      const text = end.sign(t, first('up', t));
      end.raw(text);
      end.raw(text);
      service.count(t, (await end.refusal()) !== 4010);
    }
    const down = goodOf('down', ['challenge', 'welcome']);
    for (const t of down) {
      const { messages, end } = await agent.session({ node: signer }, (network) => {
        const text = network.sign(t, first('down', t));
        network.send(text);
        network.send(text);
      });
      node.count(t, messages.length !== 1 || end.code !== 4010);
    }
    service.expectNone(up, up.length);
    node.expectNone(down, down.length);
  });

  it('frames an hour later: none is accepted, by either end', async () => {
    const [service, node] = [new Tally(), new Tally()];
    run.later(HOUR);
    await intoSessions(service);
    await intoAgents(node, agent, signer, HOUR);
    service.expectNone(types(), 2 * frames.length);
    node.expectNone(types(), 2 * frames.length);
  });

  it('to another host of the same network: none is accepted', async () => {
    const other = await sameNonce({ authorities: ['other.example'] });
    const { domain } = other.kit;
    await register(other.url, domain, 'other.example');
    const [service, http] = [new Tally(), new Tally()];
    expect(await verbatim(other.url)).to.deep.equal({ welcomed: false, code: 4401 });
    await intoSessions(service, { url: other.url, domain, audience: 'other.example' });
    await intoCalls(http, other.url, 'bad_signature');
    service.expectNone(types(), 2 * frames.length);
    http.expectNone(paths(), calls.length);
    expect(other.ledger()).to.deep.equal([]);
    // the host is what refused it: under the recorded name, with the recorded nonce, the hello would have held
    const same = await sameNonce({ authorities: [run.recorder.authority] });
    await register(same.url, same.kit.domain, run.recorder.authority);
    expect((await verbatim(same.url)).welcomed).to.equal(true);
  });

  it('to another network of the same host name: none is accepted, by either end', async () => {
    const kit = new SignerKit({ network: 'othernet', environment: 'mainnet', chainId: 1 });
    const online = kit.keys.ticket[0] as Signer;
    const authority = run.recorder.authority;
    const other = await sameNonce({ root: kit.pinnedRoot, signer: online, authorities: [authority] });
    await register(other.url, kit.domain, authority);
    const [service, node, http] = [new Tally(), new Tally(), new Tally()];
    expect(await verbatim(other.url)).to.deep.equal({ welcomed: false, code: 4401 });
    await intoSessions(service, { url: other.url, domain: kit.domain });
    await intoCalls(http, other.url, 'bad_signature');
    // even with the same online key
    const otherAgent = await AgentEnd.listen({ domain: kit.domain, network: run.rig.ticketSigner });
    opened.push({ stop: () => otherAgent.close() });
    await intoAgents(node, otherAgent, signer);
    service.expectNone(types(), 2 * frames.length);
    node.expectNone(types(), 2 * frames.length);
    http.expectNone(paths(), calls.length);
    expect(other.ledger()).to.deep.equal([]);
  });

  it('into a session of another node: none is accepted, by either end', async () => {
    const [service, node] = [new Tally(), new Tally()];
    const stranger = testSigner('stranger');
    const fake = new FakeNode({
      url: run.rig.url,
      domain: run.rig.kit.domain,
      signer: stranger,
      network: stranger.address,
    });
    fake.audience = run.recorder.authority;
    expect((await fake.register()).status).to.equal(200);
    await intoSessions(service, { node: stranger });
    await intoAgents(node, agent, stranger);
    service.expectNone(types(), 2 * frames.length);
    node.expectNone(types(), 2 * frames.length);
  });

  it('in its own place, with its signature malleated: refused, and the original holds after it', () => {
    const tally = new Tally();
    const { kit, ticketSigner } = run.rig;
    let forms = 0;
    for (const session of new Set(frames.map((f) => f.session))) {
      const of = frames.filter((f) => f.session === session);
      const payload = (t: string): Record<string, string> => JSON.parse(of.find((f) => f.t === t)?.payload ?? '{}');
      const nonces = [payload('challenge').serverNonce, payload('hello').clientNonce] as [`0x${string}`, `0x${string}`];
      const keys: SessionKeys = { sid: sessionId(...nonces, signer.address), node: signer.address };
      const readers = { up: new FrameReader('node', kit.domain, keys), down: new FrameReader('net', kit.domain) };
      for (const frame of of) {
        const by = frame.way === 'up' ? signer.address : ticketSigner.address;
        const parsed = parseFrame(frame.text, 1 << 24);
        const other = Object.values(malleated(String(parsed.sig)));
        forms = other.length;
        for (const sig of other) {
          let held = true;
          try {
            readers[frame.way].verify({ ...parsed, sig }, by);
          } catch {
            held = false;
          }
          tally.count(frame.t, held);
        }
        readers[frame.way].verify(parsed, by);
        if (frame.t === 'challenge') readers.down.rekey(keys);
      }
    }
    tally.expectNone(types(), forms * frames.length);
  });
});
