import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';
import { heartbeatOf, statusOf } from './node-view.ts';

const PROMPT = 'xyzzy-prompt-marker';
const KEY = '5e'.repeat(32);
const ENROLMENT = 'xyzzy-enrolment-token';
const TOKEN = 'xyzzy-service-account-token';

describe('what the agent tells of what it knows (I9)', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  before(async () => {
    network = await new MiniNetwork().listen();
    rig = new AgentRig({
      endpoint: network.endpoint,
      network: 'testnet',
      pinnedRoot: network.kit.pinnedRoot,
      privateKey: `0x${KEY}`,
      // nobody listens there: writing status fails, which is logged
      env: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '9' },
    });
    writeFileSync(join(rig.paths.enrolment as string, 'token'), ENROLMENT);
    writeFileSync(join(rig.paths.serviceAccount as string, 'token'), TOKEN);
    writeFileSync(join(rig.paths.serviceAccount as string, 'ca.crt'), '');
    await rig.startAgent();
    rig.startLauncher();
  });
  after(async () => {
    await rig.close();
    await network.close();
  });

  it('holds no prompt, output, key or token in logs, status, metrics, record, errors, heartbeats or messages', async () => {
    await until('Active', () => network.of('heartbeat').at(-1)?.body.models[0]?.loaded === true, 30_000);
    const request = (more: object = {}) => ({
      model: MINI_MODEL,
      messages: [{ role: 'user', content: `${PROMPT} What is the capital of France?` }],
      ...more,
    });
    const engineMode = (mode: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const socketPath = join(rig.paths.engine as string, 'engine.sock');
        httpRequest({ socketPath, path: '/sim/mode', method: 'POST' }, (res) => res.resume().once('end', resolve))
          .once('error', reject)
          .end(mode);
      });
    // done, streamed and not
    network.offer({ jobId: 'plain', stream: false, request: request() });
    await until('a result', () => network.results.length === 1);
    network.offer({ jobId: 'streamed', request: request({ stream: true }) });
    await until('two results', () => network.results.length === 2);
    // cut, cancelled
    network.offer({
      jobId: 'cut',
      request: request({ messages: [{ role: 'user', content: `${PROMPT} `.repeat(40) }], stream: true }),
    });
    await until('lines', () => network.linesOf('cut').length > 1);
    network.drop();
    await until('a new session', () => network.sessions === 2);
    network.send('job.cancel', { jobId: 'cut', attempt: 1, reason: 'client_gone' });
    await until('it ends', () => network.of('job.lost').length === 1 || network.results.length === 3);
    // refused by the agent, and by the engine
    network.offer({ jobId: 'no-messages', stream: false, request: { model: MINI_MODEL, text: PROMPT } });
    await until('a reject', () => network.of('job.reject').length === 1);
    const lost = network.of('job.lost').length;
    network.offer({
      jobId: 'too-long',
      stream: false,
      request: request({ messages: [{ role: 'user', content: `${PROMPT} word `.repeat(1_200) }] }),
    });
    await until('the engine refuses', () => network.of('job.lost').length > lost, 15_000);
    // an engine that fails and says the question again: as a status, as a chunk, as garbage
    for (const mode of ['error-500', 'error-chunk', 'garbage-sse']) {
      await engineMode(mode);
      const before = network.of('job.lost').length;
      network.offer({
        jobId: mode,
        request: request({ stream: mode !== 'error-500' || undefined }),
        stream: mode !== 'error-500',
      });
      await until(`${mode} is lost`, () => network.of('job.lost').length > before, 15_000);
    }
    await engineMode('ok');
    // a cancel in mid-stream, and a frame that is not acceptable, with the prompt where a code should stand
    network.offer({ jobId: 'cancelled', request: request({ stream: true }) });
    await until('lines of it', () => network.linesOf('cancelled').length > 1);
    network.send('job.cancel', { jobId: 'cancelled', attempt: 1, reason: 'client_gone' });
    await until('it is cancelled', () => rig.calls().some((c) => c.request === 'cancelled.1' && c.end === 'aborted'));
    const { sessions } = network;
    network.send('job.offer', JSON.stringify({ jobId: 'malformed', kind: PROMPT, request: { prompt: PROMPT } }));
    await until('it is back', () => network.sessions > sessions, 15_000);
    // a configuration that is refused, and a test that fails, with its question in the snapshot
    network.publish({
      models: [
        network.model({
          test: {
            request: { messages: [{ role: 'user', content: `${PROMPT} capital of France?` }], max_tokens: 24 },
            expect: { contains: 'nothing that it says' },
          },
        }),
      ],
    });
    const { epoch, version, digest } = network.kit.current!.snapshot;
    network.send('config.notice', { epoch, version, digest });
    await until('the test fails', () => rig.agent!.view().errors.includes('TestInferenceFailed'), 15_000);

    await until('the model is reported', () =>
      network.of('heartbeat').at(-1)?.body.errors.includes('TestInferenceFailed'),
    );
    const base = `http://127.0.0.1:${rig.agent!.port}`;
    const recordDir = join(rig.paths.state as string, 'record');
    const places: Record<string, string> = {
      logs: rig.logs.join(''),
      statusz: await (await fetch(`${base}/statusz`)).text(),
      metrics: await (await fetch(`${base}/metrics`)).text(),
      status: JSON.stringify(statusOf(rig.agent!.view())),
      heartbeat: JSON.stringify(heartbeatOf(rig.agent!.view())),
      record: readdirSync(recordDir)
        .map((name) => readFileSync(join(recordDir, name), 'utf8'))
        .join(''),
      uploads: network.logs.join('\n'),
      // all but what carries outputs by design
      messages: JSON.stringify(network.heard.filter((h) => !['job.delta', 'job.result'].includes(h.t))),
      calls: JSON.stringify(network.calls.filter((c) => c.path !== '/v1/register' && c.path !== '/v1/results')),
      desired: readFileSync(join(rig.paths.control as string, 'desired.json'), 'utf8'),
      facts: readFileSync(join(rig.paths.engine as string, 'launcher.json'), 'utf8'),
    };
    expect(places.logs).to.contain('status.agent cannot be written').and.contain('job done');
    expect(places.record).to.contain('plain').and.contain('completionTokens');
    expect(places.messages).to.contain('engine_error');
    const answer: string = JSON.parse(JSON.parse(network.results[0] as string).output).choices[0].message.content;
    expect(answer).to.have.length.above(20);
    const register = network.calls.filter((c) => c.path === '/v1/register').map((c) => c.body);
    expect(register.join('')).to.contain(ENROLMENT);

    const secrets = { prompt: PROMPT, output: answer.slice(0, 20), key: KEY, enrolment: ENROLMENT, token: TOKEN };
    const found = Object.entries(places).flatMap(([place, text]) =>
      Object.entries(secrets).flatMap(([name, secret]) => (text.includes(secret) ? [`${name} in ${place}`] : [])),
    );
    expect(found).to.deep.equal([]);
    expect(register.join('')).not.to.contain(KEY).and.not.to.contain(TOKEN);
  });
});
