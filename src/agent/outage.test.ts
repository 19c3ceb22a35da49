import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';

const PROGRAM = join(import.meta.dirname, '../../test/chaos/agent-process.ts');
const requestOf = (tokens: number) => ({
  model: MINI_MODEL,
  messages: [{ role: 'user', content: `What is the capital of France? ${'Tell me all that you know. '.repeat(40)}` }],
  stream: true,
  max_tokens: tokens,
});

describe('the agent when things end or are away', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  let child: ChildProcess | undefined;
  let output = '';
  beforeEach(async () => {
    network = new MiniNetwork();
    network.heartbeatMs = 300;
    await network.listen();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(rig.logs.join('') + output);
    if (child && child.exitCode === null) child.kill('SIGKILL');
    await rig.close();
    await network.close();
  });
  const rigOf = (settings: Record<string, unknown> = {}, env: Record<string, string> = {}): AgentRig => {
    const { endpoint, kit } = network;
    rig = new AgentRig({ endpoint, network: 'testnet', pinnedRoot: kit.pinnedRoot, settings, env });
    return rig;
  };
  const active = (): Promise<void> =>
    until('Active', () => network.of('heartbeat').at(-1)?.body.models[0]?.loaded === true, 30_000);
  const callsTo = (path: string) => network.calls.filter((c) => c.path === path);

  it('sends heartbeats over HTTP while no socket opens, with its jobs in them, and over the socket again after', async () => {
    rigOf();
    await rig.startAgent();
    rig.startLauncher({ RESULTITY_SIM_TOKEN_MS: '30' });
    await active();
    network.offer({ jobId: 'long', request: requestOf(200) });
    await until('lines', () => network.linesOf('long').length > 1);
    const early = callsTo('/v1/heartbeat').length; // those before the first session
    network.sockets = false;
    network.drop();
    await until('three heartbeats by HTTP', () => callsTo('/v1/heartbeat').length >= early + 3);
    const bodies = callsTo('/v1/heartbeat')
      .slice(early)
      .map((c) => JSON.parse(c.body));
    expect(bodies[0].jobs[0]).to.include({ jobId: 'long', attempt: 1 });
    expect(bodies[0].models[0]).to.include({ model: MINI_MODEL, loaded: true });
    const before = network.of('heartbeat').length;
    network.sockets = true;
    await until('over the socket again', () => network.of('heartbeat').length > before + 1, 20_000);
    await until('the job is done', () => network.results.length === 1, 20_000);
    const text = await (await fetch(`http://127.0.0.1:${rig.agent?.port}/metrics`)).text();
    expect(text).to.match(/resultity_agent_heartbeat_total\{via="http"\} [1-9]/);
  });

  it('aborts without a frame what the network does not name in welcome', async () => {
    rigOf();
    await rig.startAgent();
    rig.startLauncher({ RESULTITY_SIM_TOKEN_MS: '30' });
    await active();
    network.offer({ jobId: 'unwanted', request: requestOf(200) });
    await until('lines', () => network.linesOf('unwanted').length > 1);
    network.wanted = [];
    network.drop();
    await until('aborted at the engine', () =>
      rig.calls().some((c) => c.request === 'unwanted.1' && c.end === 'aborted'),
    );
    expect(network.of('job.lost')).to.deep.equal([]);
  });

  it('serves with a clock that is ten minutes off: each call is repeated with the server’s nonce until welcome tells the time', async () => {
    network.skewMs = 600_000;
    rigOf();
    await rig.startAgent();
    rig.startLauncher();
    await active();
    const before = callsTo('/v1/register');
    expect(before).to.have.length(2); // refused for its time, then with the nonce
    expect(network.of('heartbeat').at(-1)?.body.clockOffsetMs).to.be.closeTo(600_000, 5_000);
    // from then on server time is used, and no call needs a second try
    const early = callsTo('/v1/heartbeat').length;
    network.sockets = false;
    network.drop();
    await until('heartbeats by HTTP', () => callsTo('/v1/heartbeat').length >= early + 2);
    const beats = callsTo('/v1/heartbeat').slice(early);
    expect(new Set(beats.map((c) => c.body)).size).to.equal(beats.length);
    expect(rig.logs.join('')).not.to.contain('"reason":"bad_clock"');
  });

  it('ends within its grace on SIGTERM under load: short jobs finish, long ones are given back, bye, exit 0', async () => {
    rigOf({ drain: { timeoutSeconds: 1, handoverSeconds: 1 } }, { RESULTITY_GRACE_SECONDS: '20' });
    output = '';
    child = spawn(process.execPath, [PROGRAM], {
      env: { ...process.env, ...rig.environment(), RESULTITY_CHAOS_PATHS: JSON.stringify(rig.paths) },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (part: Buffer) => {
        output += part.toString('utf8');
      });
    await until('the launcher is written', () => output.includes('identity loaded'), 20_000);
    rig.startLauncher({ RESULTITY_SIM_TOKEN_MS: '60' });
    await active();
    network.offer({ jobId: 'long', request: requestOf(200) });
    network.offer({ jobId: 'short', request: requestOf(2) });
    network.offer({ jobId: 'short-after', request: requestOf(2) });
    network.offer({ jobId: 'long-after', request: requestOf(200) });
    await until('all are accepted', () => network.of('job.accept').length === 4);
    await until('two run', () => network.linesOf('long').length > 0);
    const exited = new Promise<number | null>((resolve) => child?.once('exit', resolve));
    rig.launcher?.kill('SIGTERM');
    child.kill('SIGTERM');
    await until('it drains', () => output.includes('draining'));
    network.offer({ jobId: 'too-late', request: requestOf(2) });
    expect(await Promise.race([exited, new Promise((r) => setTimeout(r, 20_000, 'not within its grace'))])).to.equal(0);
    expect(network.results.map((r) => JSON.parse(r).result.jobId).sort()).to.deep.equal(['short', 'short-after']);
    expect(network.of('job.lost').map((h) => [h.body.jobId, h.body.reason])).to.have.deep.members([
      ['long', 'draining'],
      ['long-after', 'draining'],
    ]);
    expect(network.of('job.reject').map((h) => [h.body.jobId, h.body.code])).to.deep.equal([['too-late', 'draining']]);
    expect(network.of('bye')).to.have.length(1);
    await until('the engine ended too', () => rig.launcher?.exitCode === 0, 10_000);
  });
});
