import {
  type Case,
  expectEqual,
  expectThat,
  FORMS,
  isInteger,
  list,
  object,
  parseJson,
  random32,
  readRoot,
  spoiled,
} from '../kit/index.ts';
import { expectError, type NetworkContext } from './network-context.ts';

const HOUR = 3_600_000;
const respell = (header: string, change: (auth: Record<string, unknown>) => unknown): string =>
  JSON.stringify(change(JSON.parse(header)));

/** §2 and §7 over HTTP. The first cases set up what later ones use. */
export const networkHttpCases: Case<NetworkContext>[] = [
  {
    section: '2',
    title: 'GET /v1/ping answers serverTime and protocol ["1"]',
    run: async ({ agent }) => {
      const { status, body } = await agent.client.get('/v1/ping');
      expectEqual(status, 200, 'status');
      expectThat(isInteger(body.serverTime), 'serverTime is an integer');
      expectThat(list(body.protocol).includes('1'), 'protocol names "1"');
      return `${Date.now() - Number(body.serverTime)} ms from our clock`;
    },
  },
  {
    section: '7',
    title: 'roots are served step by step, each signed by the one before and by itself, 404 past the last',
    run: async ({ agent, target }) => {
      const last = await agent.walkRoots();
      const pinned = readRoot(target.root).version;
      const again = await agent.client.get(`/v1/roots/${pinned}`);
      expectEqual(again.status, 200, 'status of the pinned root');
      expectEqual(readRoot(again.text).documentHash, readRoot(target.root).documentHash, 'hash of the pinned root');
      expectError(await agent.client.get(`/v1/roots/${last + 1}`), 404, 'not_found');
      return `pinned ${pinned}, newest ${last}`;
    },
  },
  {
    section: '7',
    title: 'the configuration is signed, fresh, canonical, and its bytes are those that it names',
    run: (context) => context.fetchConfig(),
  },
  {
    section: '2',
    title: 'an unknown snapshot and an unknown path are 404 not_found in the form of errors',
    run: async ({ agent }) => {
      expectError(await agent.client.get(`/v1/config/sha256:${'0'.repeat(64)}`), 404, 'not_found');
      return expectError(await agent.client.get('/v1/nothing-here'), 404, 'not_found');
    },
  },
  {
    section: '2',
    title: 'a signed call before registration is 403 not_registered',
    run: async ({ stranger }) =>
      expectError(await stranger.call('POST', '/v1/heartbeat', stranger.heartbeat(null)), 403, 'not_registered'),
  },
  {
    section: '2',
    title: 'register answers state, ownerProved, root and configuration, and is idempotent',
    run: async ({ agent, second }) => {
      const [one, two] = [await agent.register(), await agent.register()];
      await second.register();
      for (const { status, body, text } of [one, two]) {
        expectThat(status === 200, `status ${status}: ${text.slice(0, 200)}`);
        expectThat(typeof body.state === 'string', 'state is a text');
        expectEqual(body.ownerProved, false, 'ownerProved without proof');
        expectEqual(object(body.root).version, agent.root.version, 'root.version');
        expectThat(body.config === null || 'snapshot' in object(body.config), 'config is that of GET /v1/config');
      }
      expectEqual(one.body.state, two.body.state, 'state of the second call');
      return `state ${one.body.state}`;
    },
  },
  {
    section: '2',
    title: 'a missing or malformed header is 401 bad_signature',
    run: async ({ agent }) => {
      const ways: Record<string, (good: string) => string | undefined> = {
        missing: () => undefined,
        'no JSON': () => 'x',
        'a list': () => '[]',
        'v 2': (good) => respell(good, (a) => ({ ...a, v: 2 })),
        'no nonce': (good) => respell(good, ({ nonce: _, ...a }) => a),
        'ts as text': (good) => respell(good, (a) => ({ ...a, ts: String(a.ts) })),
        'node in upper case': (good) =>
          respell(good, (a) => ({ ...a, node: `0x${String(a.node).slice(2).toUpperCase()}` })),
        'a key twice': (good) => `${good.slice(0, -1)},"v":1}`,
      };
      for (const [name, header] of Object.entries(ways))
        try {
          expectError(await agent.register({}, { header }), 401, 'bad_signature');
        } catch (error) {
          throw new Error(`${name}: ${(error as Error).message}`);
        }
      return `${Object.keys(ways).length} forms refused`;
    },
  },
  {
    section: '1',
    title: 'every malleated or otherwise respelled signature is 401 bad_signature',
    run: async ({ agent }) => {
      const names = Object.keys(spoiled(`0x${'11'.repeat(64)}1b`));
      for (const name of names) {
        const header = (good: string): string => respell(good, (a) => ({ ...a, sig: spoiled(String(a.sig))[name] }));
        try {
          expectError(await agent.register({}, { header }), 401, 'bad_signature');
        } catch (error) {
          throw new Error(`${name}: ${(error as Error).message}`);
        }
      }
      return `${names.length} forms refused: ${names.join(', ')}`;
    },
  },
  {
    section: '2',
    title: 'a signature over another method, authority, path, body, key, network or chain is 401 bad_signature',
    run: async ({ agent, second }) => {
      const { network, chainId } = agent.domain;
      const ways = {
        method: { signed: { method: 'PUT' } },
        authority: { signed: { authority: 'another.example.com' } },
        path: { signed: { path: '/v1/register?x=1' } },
        body: { signed: { body: '{}' } },
        network: { domain: { network: `${network}x`, chainId } },
        chain: { domain: { network, chainId: chainId + 1 } },
        key: { header: (good: string) => respell(good, (a) => ({ ...a, node: second.node })) },
      };
      for (const [name, wrong] of Object.entries(ways))
        try {
          expectError(await agent.register({}, wrong), 401, 'bad_signature');
        } catch (error) {
          throw new Error(`another ${name}: ${(error as Error).message}`);
        }
      return `${Object.keys(ways).length} refused`;
    },
  },
  {
    section: '2',
    title: 'bad_clock answers a serverNonce that makes one call of this node pass, once',
    run: async ({ agent, second }) => {
      const ts = Date.now() - HOUR;
      const refused = await agent.register({}, { ts });
      expectError(refused, 401, 'bad_clock');
      const { serverTime, serverNonce } = object(refused.body.error);
      expectThat(isInteger(serverTime), 'error.serverTime is an integer');
      expectThat(FORMS.bytes32.test(String(serverNonce)), 'error.serverNonce has the form of a nonce');
      const nonce = String(serverNonce);
      expectError(await second.register({}, { ts, nonce }), 401, 'bad_clock');
      const taken = await agent.register({}, { ts, nonce });
      expectEqual(taken.status, 200, 'status of the call with serverNonce');
      expectError(await agent.register({}, { ts, nonce }), 401, 'replayed');
      expectError(await agent.register({}, { ts: Date.now() + HOUR }), 401, 'bad_clock');
      return 'taken once; refused for another node; refused again as replayed';
    },
  },
  {
    section: '2',
    title: 'checks run in order: signature before clock, clock before registration, registration before body',
    run: async ({ agent, stranger }) => {
      const ts = Date.now() - HOUR;
      expectError(await agent.register({}, { ts, signed: { body: 'x' } }), 401, 'bad_signature');
      expectError(await stranger.call('POST', '/v1/heartbeat', '{}', { ts }), 401, 'bad_clock');
      return expectError(await stranger.call('POST', '/v1/heartbeat', 'no json'), 403, 'not_registered');
    },
  },
  {
    section: '2',
    title: 'a nonce seen before is 401 replayed',
    run: async ({ agent }) => {
      const nonce = random32();
      expectEqual((await agent.register({}, { nonce })).status, 200, 'status of the first');
      return expectError(await agent.register({}, { nonce }), 401, 'replayed');
    },
  },
  {
    section: '1',
    title: 'a body with duplicate keys, depth 33, a lone surrogate, or of another node is 400; above 64 KiB 413',
    run: async ({ agent, second }) => {
      const good = JSON.stringify(agent.registration());
      const deep = `${'['.repeat(32)}${']'.repeat(32)}`;
      const bodies = [
        `${good.slice(0, -1)},"node":"${agent.node}"}`,
        `${good.slice(0, -1)},"x":${deep}}`,
        `${good.slice(0, -1)},"x":"\\ud800"}`,
        JSON.stringify(agent.registration({ node: second.node })),
        '[]',
        '',
      ];
      for (const [n, body] of bodies.entries())
        try {
          expectError(await agent.call('POST', '/v1/register', body), 400, 'bad_request');
        } catch (error) {
          throw new Error(`body ${n + 1}: ${(error as Error).message}`);
        }
      const fits = `${good.slice(0, -1)},"x":${deep.slice(1, -1)}}`;
      expectEqual((await agent.call('POST', '/v1/register', fits)).status, 200, 'status of depth 32, unknown field');
      const big = JSON.stringify(agent.registration({ x: 'x'.repeat(65_536) }));
      return expectError(await agent.call('POST', '/v1/register', big), 413, 'too_large');
    },
  },
  {
    section: '2',
    title: 'a heartbeat over HTTP answers serverTime, config and jobs',
    run: async ({ agent }) => {
      const { status, body, text } = await agent.call('POST', '/v1/heartbeat', agent.heartbeat(null, { jobs: [] }));
      expectThat(status === 200, `status ${status}: ${text.slice(0, 200)}`);
      expectThat(isInteger(body.serverTime) && Array.isArray(body.jobs), `serverTime and jobs: ${text}`);
      expectEqual(object(body.config).digest, object(agent.config).digest, 'config.digest');
      return text.slice(0, 160);
    },
  },
  {
    section: '2',
    title: 'the public status of a node has its fields; unknown ids are left out of lists and 404 alone',
    run: async ({ agent, stranger }) => {
      const { status, body } = await agent.client.get(`/v1/status/nodes/${agent.node}`);
      expectEqual(status, 200, 'status');
      for (const field of ['node', 'state', 'reasons', 'floor', 'lastHeartbeatAgeMs', 'incarnation'])
        expectThat(field in body, `${field} is missing`);
      const asked = JSON.stringify({ nodes: [agent.node, stranger.node] });
      const many = await agent.client.send('POST', '/v1/status/nodes', asked);
      expectEqual(many.status, 200, 'status of the list');
      const nodes = list(object(parseJson(many.text)).nodes).map((entry) => object(entry).node);
      expectEqual(nodes, [agent.node], 'nodes of the list');
      expectError(await agent.client.get(`/v1/status/nodes/${stranger.node}`), 404, 'not_found');
      return `state ${body.state}`;
    },
  },
  {
    section: '2',
    title: 'a result on /v1/results with a wrong inner signature is 401, one of another form 400',
    run: async ({ agent, second }) => {
      const body = { jobId: 'none', attempt: 1, model: 'x:1', modelDigest: `sha256:${'0'.repeat(64)}` };
      const offer = { payload: '{}', body: { ...body, configDigest: `sha256:${'0'.repeat(64)}`, kind: 'completions' } };
      const good = agent.result(offer);
      const forged = { ...good, sig: second.key.sign(agent.domain, 'JobResult', object(good.result)) };
      expectError(await agent.call('POST', '/v1/results', forged), 401, null);
      expectError(await agent.call('POST', '/v1/results', { result: {} }), 400, 'bad_request');
      const { status, body: receipt, text } = await agent.call('POST', '/v1/results', good);
      expectThat(status === 200, `a result of an unknown job: ${status} ${text.slice(0, 200)}`);
      agent.checkReceipt(receipt, good, 'rejected');
      return 'forged 401, malformed 400, unknown job receipted as rejected';
    },
  },
];
