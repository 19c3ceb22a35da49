import {
  type Case,
  expectEqual,
  expectThat,
  FORMS,
  isInteger,
  type Json,
  Key,
  list,
  object,
  pause,
} from '../kit/index.ts';
import type { MinimalNetwork } from '../network/index.ts';

const text = (value: unknown): boolean => typeof value === 'string';
const fields = (of: Json, wanted: Record<string, (value: unknown) => boolean>, what: string): void => {
  for (const [name, holds] of Object.entries(wanted))
    expectThat(holds(of[name]), `${what}.${name} is ${JSON.stringify(of[name])}`);
};

/** §2, §3, §4 and §7, seen from the network: what an agent says of itself. */
export const agentSessionCases: Case<MinimalNetwork>[] = [
  {
    section: '2',
    title: 'the agent registers with a signed call and answers bad_clock with the serverNonce, once more',
    run: async (network) => {
      await network.session(60_000);
      const registers = network.calls.filter(({ path }) => path === '/v1/register');
      expectEqual(registers[1]?.nonce, network.clockNonce, 'nonce of the second register');
      const { node, body } = registers[1] ?? {};
      fields(body ?? {}, { node: (v) => v === node, owner: (v) => Object.keys(object(v)).length === 1 }, 'register');
      fields(object(body?.metadata), { agent: text, runtime: text }, 'register.metadata');
      return `node ${node}`;
    },
  },
  {
    section: '7',
    title: 'it asks for the next root, the configuration and the snapshot that it names',
    run: ({ calls, publisher }) => {
      const asked = (path: string): void =>
        expectThat(
          calls.some((c) => c.path === path),
          `never asked for ${path}`,
        );
      asked('/v1/roots/2');
      asked(`/v1/config/${publisher.digest}`);
      return 'roots/2 and the snapshot';
    },
  },
  {
    section: '3',
    title: 'hello comes within 5 s with its fields, the audience and a session made of both nonces',
    run: async (network) => {
      const { peer, hello, helloMs } = await network.session();
      expectThat(network.protocols.split(/, ?/).includes('resultity.v1'), `subprotocols ${network.protocols}`);
      fields(
        hello,
        {
          node: (v) => FORMS.address.test(String(v)),
          clientNonce: (v) => FORMS.bytes32.test(String(v)),
          audience: (v) => v === network.authority,
          bootId: text,
          incarnation: isInteger,
          config: (v) => v === null || isInteger(object(v).version),
          models: Array.isArray,
          jobs: (v) => Array.isArray(v) && v.length <= 1_024,
        },
        'hello',
      );
      fields(object(hello.versions), { agent: text, protocol: (v) => list(v).includes('1') }, 'hello.versions');
      fields(object(hello.capacity), { slots: isInteger, queue: isInteger }, 'hello.capacity');
      expectEqual(peer.problems, [], 'frames that break a rule');
      expectEqual(network.problems, [], 'calls that break a rule');
      expectThat(helloMs < 5_000, `after ${helloMs} ms`);
      return `after ${Math.round(helloMs)} ms, audience ${hello.audience}`;
    },
  },
  {
    section: '4',
    title: 'the first heartbeat follows welcome at once, has its fields, is ≤ 8 KiB, and comes every heartbeatMs',
    run: async (network) => {
      const { peer, welcomedAt } = await network.session();
      const first = await peer.next('heartbeat');
      expectThat(first.at - welcomedAt < 1_000, `the first came after ${first.at - welcomedAt} ms`);
      expectThat(Buffer.byteLength(first.payload) <= 8_192, `${Buffer.byteLength(first.payload)} bytes`);
      const { body } = first;
      fields(
        body,
        {
          bootId: text,
          uptimeMs: isInteger,
          models: Array.isArray,
          used: isInteger,
          clockOffsetMs: Number.isSafeInteger,
          subclouds: Array.isArray,
          errors: Array.isArray,
          images: (v) => v === null || text(object(v).agent),
        },
        'heartbeat',
      );
      fields(object(body.capacity), { slots: isInteger, queue: isInteger }, 'heartbeat.capacity');
      fields(object(body.runtime), { running: isInteger, waiting: isInteger, phase: text }, 'heartbeat.runtime');
      fields(
        object(object(body.hardware).disk),
        { totalMiB: isInteger, freeMiB: isInteger },
        'heartbeat.hardware.disk',
      );
      // one more may come between two when something changes, a model's state above all: hence half of them, not each
      const at = [first.at];
      while (at.length < 7) at.push((await peer.next('heartbeat')).at);
      const intervals = at.slice(1).map((t, i) => Math.round(t - (at[i] ?? t)));
      const seen = `intervals of ${intervals.join(', ')} ms, asked for 1000`;
      expectThat(Math.max(...intervals) < 2_000, seen);
      expectThat(intervals.filter((ms) => ms > 500).length >= 3, seen);
      return `${Buffer.byteLength(first.payload)} bytes, ${seen}`;
    },
  },
  {
    section: '4',
    title: 'it comes to show the model active and loaded at the snapshot’s digest, and the configuration applied',
    run: async (network) => {
      const { peer } = await network.session();
      const { modelDigest, digest } = network.publisher;
      const beat = await peer.next('heartbeat', 80_000, (body) =>
        list(body.models).some((m) => object(m).loaded === true && object(m).state === 'active'),
      );
      const model = list(beat.body.models)
        .map(object)
        .find(({ loaded }) => loaded === true);
      expectEqual([model?.digest, model?.model], [modelDigest, network.publisher.model], 'the model');
      await peer.next('heartbeat', 10_000, (body) => object(body.config).digest === digest);
      const acks = peer.frames.filter(({ header }) => header.t === 'config.ack').map(({ body }) => body.state);
      return `tier ${object(beat.body.isolation).tier}, config.ack ${acks.join(', ') || 'none'}`;
    },
  },
  {
    section: '3',
    title: 'an unknown type is answered once with error unknown_type, x- types and errors never',
    run: async (network) => {
      const { peer } = await network.session();
      for (const type of ['zzz.unknown', 'zzz.unknown', 'x-mine']) peer.send(type, {});
      peer.send('error', { code: 'something' });
      const { body } = await peer.next('error');
      expectEqual(body.code, 'unknown_type', 'code');
      expectThat(!(await peer.maybe('error', 500)), 'answered twice');
      expectEqual(peer.problems, [], 'frames that break a rule');
      return 'one answer';
    },
  },
  {
    section: '3',
    title: 'control ping brings a heartbeat at once; an order older than 60 s is dropped',
    run: async (network) => {
      const { peer } = await network.session();
      const from = performance.now();
      for (let n = 0; n < 3; n++) peer.send('control', { action: 'ping', reason: 'conformance' });
      await pause(300);
      const beats = peer.frames.filter(({ header, at }) => header.t === 'heartbeat' && at > from).length;
      expectThat(beats >= 1, 'no heartbeat within 300 ms');
      peer.send('control', { action: 'pause', reason: 'too old' }, { ts: Date.now() - 120_000 });
      await accepts(network);
      return `${beats} heartbeats within 300 ms; the old pause had no effect`;
    },
  },
];

/** Offers a short job and does it to its receipt; throws with the reject code when it is turned down. */
export const accepts = async (network: MinimalNetwork, over: Json = {}): Promise<Json> => {
  const { peer } = await network.session();
  const offer = network.offer(peer, over);
  const mine = ({ jobId }: Json): boolean => jobId === offer.body.jobId;
  const answer = await peer.next('job.accept|job.reject', 2_000, mine);
  expectThat(answer.header.t === 'job.accept', `rejected with ${answer.body.code}`);
  const { body } = await peer.next('job.result', 20_000, ({ result }) => mine(object(result)));
  network.checkResult(offer, body);
  peer.send('job.receipt', network.receipt(body));
  return body;
};
/** The code with which an offer is rejected. */
export const rejects = async (network: MinimalNetwork, over: Json): Promise<string> => {
  const { peer } = await network.session();
  const offer = network.offer(peer, over);
  const { body } = await peer.next('job.reject', 2_000, ({ jobId }) => jobId === offer.body.jobId);
  return String(body.code);
};

/** Orders, roots, configurations and broken networks. The last case ends the agent’s service, so it stands last. */
export const agentOrderCases: Case<MinimalNetwork>[] = [
  {
    section: '3',
    title: 'pause makes it reject with paused, over a reconnect too, until resume',
    run: async (network) => {
      const { peer } = await network.session();
      peer.send('control', { action: 'pause', reason: 'conformance' });
      expectEqual(await rejects(network, {}), 'paused', 'code');
      network.state = 'paused';
      await network.reconnect();
      expectEqual(await rejects(network, {}), 'paused', 'code in the next session');
      network.state = 'active';
      const { peer: next } = await network.session();
      next.send('control', { action: 'resume', reason: 'conformance' });
      await accepts(network);
      return 'paused, paused, accepted';
    },
  },
  {
    section: '3',
    title: 'drain ends with bye drained and 4000; it comes back and rejects with draining until resume',
    run: async (network) => {
      const { peer } = await network.session();
      network.state = 'draining';
      peer.send('control', { action: 'drain', reason: 'conformance', graceMs: 5_000, retryAfterMs: 500 });
      const bye = await peer.next('bye', 15_000);
      expectEqual(bye.body.reason, 'drained', 'reason');
      expectEqual((await peer.closeWithin(5_000)).code, 4000, 'code');
      const { peer: next } = await network.session();
      expectEqual(await rejects(network, {}), 'draining', 'code');
      network.state = 'active';
      next.send('control', { action: 'resume', reason: 'conformance' });
      await accepts(network);
      return 'bye drained, 4000, back, draining, accepted again';
    },
  },
  {
    section: '7',
    title: 'config.notice of a new version is fetched within 5 s and comes to be applied',
    run: async (network) => {
      const { peer } = await network.session();
      network.publisher.publish(network.endpoint);
      const { reference, digest } = network.publisher;
      peer.send('config.notice', reference);
      await peer.next('heartbeat', 20_000, ({ config }) => object(config).digest === digest);
      const acks = peer.frames.filter(({ header, body }) => header.t === 'config.ack' && body.digest === digest);
      const states = acks.map(({ body }) => body.state);
      await accepts(network);
      return `version ${network.publisher.version}, config.ack ${states.join(', ') || 'none'}`;
    },
  },
  {
    section: '3',
    title: 'a challenge that names a newer root makes it walk the roots and trust the new online key',
    run: async (network) => {
      network.publisher.rotate();
      const { peer } = await network.reconnect();
      expectThat(
        network.calls.some(({ path }) => path === '/v1/roots/2'),
        'it never asked for the new root',
      );
      await peer.next('heartbeat');
      await accepts(network);
      return `root ${network.publisher.root.version}`;
    },
  },
  {
    section: '6',
    title:
      'a gap of the network’s seq closes 4010, a wrong signature 4401, a type of the other side 4400; it comes back',
    run: async (network) => {
      const seen: string[] = [];
      const ways: [number, (peer: (typeof network.peers)[number]) => void][] = [
        [4010, (peer) => void peer.send('config.notice', network.publisher.reference, { seq: peer.sent + 2 })],
        [4401, (peer) => void peer.send('config.notice', network.publisher.reference, { key: Key.of('another') })],
        [4400, (peer) => void peer.send('job.accept', { jobId: 'x', attempt: 1 })],
      ];
      for (const [wanted, act] of ways) {
        const { peer } = await network.session(40_000);
        act(peer);
        const { code } = await peer.closeWithin(5_000);
        expectEqual(code, wanted, 'code');
        seen.push(String(code));
      }
      await network.session(40_000);
      return `${seen.join(', ')}, and back`;
    },
  },
  {
    section: '3',
    title: 'a challenge by a key that no root names gets no hello',
    run: async (network) => {
      network.forgeChallenge = true;
      const had = network.peers.length;
      try {
        const { peer } = await network.session();
        peer.send('bye', { reason: 'restart', retryAfterMs: 50 });
        await peer.close(4001);
        for (let n = 0; n < 1_500 && network.peers.length === had; n++) await pause(20);
        const forged = network.peers.at(-1);
        expectThat(network.peers.length > had && forged !== undefined, 'it did not come back');
        const hello = await forged.maybe('hello', 5_000);
        expectThat(!hello, 'it said hello to a forger');
        return `no hello, closed with ${forged.closeCode?.code ?? 'nothing yet'}`;
      } finally {
        network.forgeChallenge = false;
        await network.session(60_000);
      }
    },
  },
  {
    section: '3',
    title: 'superseded by 4409 it stays away for minutes',
    run: async (network) => {
      const { peer } = await network.session(40_000);
      const had = network.peers.length;
      await peer.close(4409, 'superseded');
      await pause(4_000);
      expectEqual(network.peers.length, had, 'sockets 4 s later');
      return 'no new socket within 4 s';
    },
  },
];
