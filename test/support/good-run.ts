import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/lib/clock.ts';
import { AgentRig } from './agent-rig.ts';
import { MiniNetwork } from './mini-network.ts';
import { Recorder } from './recorder.ts';
import { API_KEY, ServiceRig } from './service-rig.ts';
import { until } from './until.ts';

/** Of the agent's identity. */
export const NODE_KEY = `0x${'42'.repeat(32)}`;
export const INCARNATION = 1_700_000_000_000;
const HEADERS = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' };

export interface GoodRun {
  readonly rig: ServiceRig;
  readonly recorder: Recorder;
  /** Moves the service's wall clock from here on. */
  later(ms: number): void;
  close(): Promise<void>;
}

/**
 * A run in which all goes well, between the real agent and the real service, with everything recorded: registration, chats
 * whole and streamed, one whose caller leaves, orders, a new configuration, a cut during which a heartbeat and a result go
 * over HTTP, the execution record, goodbye. The agent is gone when it returns; the service runs on.
 */
export const goodRun = async (): Promise<GoodRun> => {
  const folder = await mkdtemp(join(tmpdir(), 'resultity-good-run-'));
  await mkdir(join(folder, 'tiny'));
  const mini = new MiniNetwork();
  await writeFile(join(folder, 'tiny/model.safetensors'), mini.modelBytes);
  const recorder = await new Recorder().listen();
  let shift = 0;
  const clock = { ...systemClock, now: () => Date.now() + shift };
  const rig = await ServiceRig.start({ models: folder, authorities: [recorder.authority], clock });
  recorder.target = rig.url;
  const config = {
    models: [mini.model({ sources: [`${rig.url}/models/tiny/`] })],
    ttl: { heartbeatMs: 300, missedHeartbeats: 10, pollMs: 30_000, retryMs: 200, cacheMs: 86_400_000 },
    trustedSources: [rig.authority],
  };
  await rig.publish(config);
  const pod = new AgentRig({
    endpoint: `http://${recorder.authority}`,
    network: rig.kit.network,
    pinnedRoot: rig.kit.pinnedRoot,
    privateKey: NODE_KEY,
    settings: { drain: { timeoutSeconds: 5, handoverSeconds: 1 } },
  });
  const agent = await pod.startAgent();
  pod.startLauncher();
  const active = (): Promise<void> =>
    until(
      'active',
      () => rig.service.registry.row(agent.node) !== undefined && rig.service.registry.offers(agent.node),
      30_000,
    );
  const ask = (more: object, signal?: AbortSignal): Promise<Response> =>
    fetch(`${rig.url}/v1/chat/completions`, {
      method: 'POST',
      headers: HEADERS,
      body: JSON.stringify({
        model: 'tiny:v1',
        messages: [{ role: 'user', content: 'What is the capital of France?' }],
        ...more,
      }),
      ...(signal ? { signal } : {}),
    });
  const order = (body: object): Promise<Response> =>
    fetch(`${rig.url}/v1/admin/nodes/${agent.node}/control`, {
      method: 'POST',
      headers: HEADERS,
      body: JSON.stringify(body),
    });
  const recorded = (t: string, more: (payload: string) => boolean = () => true): Promise<void> =>
    until(`${t} recorded`, () => recorder.frames.some((f) => f.t === t && more(f.payload)), 20_000);

  await active();
  await (await ask({})).text();
  await (await ask({ stream: true })).text();
  const leaving = new AbortController();
  const left = await ask({ stream: true, max_tokens: 400 }, leaving.signal);
  await left.body?.getReader().read();
  leaving.abort();
  await recorded('job.cancel');
  await recorded('job.lost');
  await order({ action: 'ping' });
  await order({ action: 'pause' });
  await order({ action: 'resume' });
  await recorded('control', (p) => p.includes('resume'));
  await rig.publish(config);
  await recorded('config.notice');
  await recorded('config.ack', (p) => p.includes('"version":2') && p.includes('applied'));
  await active();
  // cut in mid-answer, and no socket for a while: the result and a heartbeat take the other way
  recorder.sockets = false;
  const deltas = (): number => recorder.frames.filter((f) => f.t === 'job.delta').length;
  const before = deltas();
  const answer = ask({ stream: true, max_tokens: 24 });
  await until('the last job is under way', () => deltas() > before, 20_000);
  recorder.cut();
  for (const path of ['/v1/heartbeat', '/v1/results'])
    await until(`${path} recorded`, () => recorder.calls.some((c) => c.path === path && c.status === 200), 20_000);
  await (await answer).text();
  recorder.sockets = true;
  await active();
  await until('the execution record went up', () => recorder.calls.some((c) => c.path === '/v1/logs'), 20_000);
  await agent.stop();
  await until('goodbye recorded', () => recorder.frames.some((f) => f.way === 'up' && f.t === 'bye'), 20_000);
  pod.agent = null;
  await pod.close();
  return {
    rig,
    recorder,
    later: (ms) => {
      shift = ms;
    },
    close: async () => {
      await rig.stop();
      await recorder.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};
