import { expect } from 'chai';
import { MockAgent } from 'undici';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { createLogger } from '../lib/log.ts';
import { Secret } from '../lib/secret.ts';
import { checksumAddress, type RegisterAnswer } from '../protocol/index.ts';
import { Connection } from './connection.ts';
import { NetworkError, NetworkHttp } from './http.ts';
import { type Registration, registerUntilAdmitted } from './registration.ts';
import type { ServerClock } from './server-clock.ts';
import type { Session, SessionEnd } from './session.ts';

const NODE = '0x64f39eb885617a9f2ee24b0fe083562fffdebef9';
const OWNER = '0x15b3a8633bd9a7c39a6be3d13684749ce89020f3';
const answer = (state: string): RegisterAnswer =>
  ({ state, ownerProved: false, root: { version: 1 }, config: null }) as RegisterAnswer;

/** Registration against a list of answers; the last one is repeated. */
const rigOf = (
  answers: (RegisterAnswer | NetworkError)[],
  wallet = checksumAddress(OWNER),
  http?: Pick<NetworkHttp, 'post'>,
) => {
  const clock = new FakeClock();
  const bodies: string[] = [];
  const states: string[] = [];
  const logs: string[] = [];
  const registration: Registration = {
    http: http ?? {
      post: async (_path, body) => {
        const next = answers[Math.min(bodies.length, answers.length - 1)];
        bodies.push(body);
        if (next instanceof NetworkError) throw next;
        return next;
      },
    },
    clock,
    logger: createLogger('test', 'trace', { write: (line: string) => void logs.push(line) }),
    node: NODE,
    owner: { wallet },
    bind: { owner: OWNER, nonce: `0x${'1'.repeat(64)}`, expiresAt: 9, sig: `0x${'2'.repeat(130)}` },
    enrolment: new Secret('enrolment-token'),
    metadata: () => ({ agent: '1', runtime: '2', hardware: {}, labels: {} }),
    retryMs: () => 1_000,
    onState: (state, reason) => void states.push(reason ? `${state} ${reason}` : state),
  };
  const stop = new AbortController();
  const done = registerUntilAdmitted(registration, stop.signal).then(
    () => 'admitted',
    () => 'stopped',
  );
  return { clock, bodies, states, logs, stop, done };
};

describe('registration', () => {
  it('relays owner, Bind and enrolment token, and logs none of them', async () => {
    const rig = rigOf([answer('registered')]);
    expect(await rig.done).to.equal('admitted');
    const body = JSON.parse(rig.bodies[0] ?? '');
    expect(body).to.deep.include({ node: NODE, owner: { wallet: OWNER }, enrolment: 'enrolment-token' });
    expect(body.bind).to.include({ owner: OWNER, expiresAt: 9 });
    expect(rig.logs.join('')).not.to.contain('enrolment-token').and.not.to.contain('2222');
  });
  it('names a wallet that is mistyped, and does not ask the network about it', async () => {
    const rig = rigOf([answer('registered')], '0x15B3a8633BD9A7C39a6be3D13684749ce89020f3');
    await rig.clock.advance(1_000);
    expect(rig.bodies).to.deep.equal([]);
    expect(rig.states).to.deep.equal(['unregistered bad_address']);
    expect(rig.logs.join('')).to.contain('wrong checksum');
    rig.stop.abort();
    await rig.done;
  });
  it('repeats every 10 × retryMs while it is pending', async () => {
    const rig = rigOf([answer('pending'), answer('pending'), answer('registered')]);
    await rig.clock.advance(9_999);
    expect(rig.bodies).to.have.length(1);
    await rig.clock.advance(10_001);
    expect(await rig.done).to.equal('admitted');
    expect(rig.states).to.deep.equal(['pending NotAdmitted', 'pending NotAdmitted', 'registered']);
  });
  for (const code of ['revoked', 'not_admitted', 'owner_mismatch', 'version', 'bad_signature', 'bad_request'])
    it(`comes again every ten minutes after ${code}`, async () => {
      const rig = rigOf([new NetworkError(code, code, { status: 403 }), answer('registered')]);
      await rig.clock.advance(599_999);
      expect(rig.bodies).to.have.length(1);
      await rig.clock.advance(1);
      expect(await rig.done).to.equal('admitted');
      expect(rig.states[0]).to.equal(`${code === 'revoked' ? 'revoked' : 'unregistered'} ${code}`);
    });
  it('takes a call answered 426 for a version that only people can mend, and comes again in ten minutes', async () => {
    const network = new MockAgent();
    network.disableNetConnect();
    const pool = network.get('https://io.example');
    const error = { code: 'version', message: 'protocol 2 from here on', retryable: false };
    const path = '/v1/register';
    pool.intercept({ path, method: 'POST' }).reply(426, { error });
    pool.intercept({ path, method: 'POST' }).reply(200, answer('registered'));
    const http = new NetworkHttp({
      endpoint: 'https://io.example',
      dispatcher: network,
      domain: new SignerKit().domain,
      signer: testSigner('node'),
      clock: { now: () => 0 } as ServerClock,
    });
    const rig = rigOf([], checksumAddress(OWNER), http);
    await until('the refusal', () => rig.clock.waiting > 0);
    expect(rig.states).to.deep.equal(['unregistered version']);
    expect(rig.logs.join('')).to.contain('protocol 2 from here on');
    await rig.clock.advance(599_999);
    expect(network.pendingInterceptors()).to.have.length(1);
    await rig.clock.advance(1);
    expect(await rig.done).to.equal('admitted');
    await network.close();
  });
  it('backs off up to 30 s where the network is away, waits as long as it is told, and stops when asked', async () => {
    const away = rigOf([new NetworkError('unreachable', 'away')]);
    await away.clock.advance(600_000);
    expect(away.bodies.length).to.be.above(20);
    away.stop.abort();
    expect(await away.done).to.equal('stopped');
    expect(away.clock.waiting).to.equal(0);
    const told = rigOf([new NetworkError('rate', 'rate', { status: 429, retryAfterMs: 60_000 }), answer('active')]);
    await told.clock.advance(59_999);
    expect(told.bodies).to.have.length(1);
    await told.clock.advance(1);
    expect(await told.done).to.equal('admitted');
  });
});

describe('the loop of connections', () => {
  /** Sessions that end one after the other as given; says when it registered and connected. */
  const run = (ends: Partial<SessionEnd>[], onEnd: () => 'at-once' | undefined = () => undefined) => {
    const clock = new FakeClock();
    const told: string[] = [];
    const stop = new AbortController();
    const connection = new Connection({
      clock,
      logger: createLogger('test', 'silent'),
      register: async () => void told.push(`register ${clock.monotonic()}`),
      beforeHello: () => Promise.reject(new Error('the configuration cannot be fetched')),
      openSession: () => {
        told.push(`connect ${clock.monotonic()}`);
        const end = ends.shift();
        const done = end
          ? Promise.resolve({ code: 4000, own: false, reason: '', welcomed: true, ...end })
          : new Promise(() => {});
        return { done, open: true } as unknown as Session;
      },
      onEnd,
      random: () => 0.5,
    });
    return { clock, told, stop, connection, ended: connection.run(stop.signal) };
  };

  it('registers at the start and before each retry after 4401 and 4403, ten minutes later', async () => {
    for (const code of [4401, 4403]) {
      const rig = run([{ code }]);
      await rig.clock.advance(600_000);
      expect(rig.told).to.deep.equal(['register 0', 'connect 0', 'register 600000', 'connect 600000']);
      rig.stop.abort();
    }
  });
  it('comes back at once without registering when a result may have been the cause', async () => {
    const rig = run([{ code: 4400 }], () => 'at-once');
    await settle(20);
    await rig.clock.advance(0);
    expect(rig.told).to.deep.equal(['register 0', 'connect 0', 'connect 0']);
    rig.stop.abort();
  });
  it('ends for good when a higher incarnation has the identity', async () => {
    const rig = run([{ code: 4409, welcomed: false }]);
    expect(await rig.ended).to.equal('superseded');
  });
  it('waits at least as long as a bye or a drain says, and no longer when it is woken', async () => {
    const rig = run([{ code: 4001, retryAfterMs: 20_000 }, { code: 4000 }]);
    await rig.clock.advance(19_999);
    expect(rig.told).to.deep.equal(['register 0', 'connect 0']);
    rig.connection.backAfter(90_000);
    await rig.clock.advance(1);
    expect(rig.told.at(-1)).to.equal('connect 20000');
    await rig.clock.advance(50_000);
    expect(rig.told).to.have.length(3);
    rig.connection.retryNow();
    await settle(20);
    expect(rig.told.at(-1)).to.equal('connect 70000');
    rig.stop.abort();
    expect(await Promise.race([rig.ended, settle(20)])).to.not.equal('superseded');
  });
});
