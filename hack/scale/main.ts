/**
 * `bash hack/run scale [-- --nodes 1000 --callers 64 --seconds 15 --no-reconnect --profile DIR]`: how many agents one network service
 * holds and how many jobs it hands out, over loopback. The service runs in a process of its own; agents and callers share
 * this one, so on two cores what is measured is the service with one core to itself. Nothing fails when a machine is slow.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { Agent, request } from 'undici';
import { domainOf, signatureBackend } from '../../src/protocol/index.ts';
import { API_KEY } from '../../test/support/service-rig.ts';
import { testSigner } from '../../test/support/signer-kit.ts';
import { LightNode } from './node.ts';
import { runService, type Sample, type Started } from './service.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1000' },
    callers: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '15' },
    reconnect: { type: 'boolean', default: true },
    profile: { type: 'string' },
    service: { type: 'boolean', default: false },
  },
  allowNegative: true,
});

interface Step extends Sample {
  readonly ms: number;
  /** CPU of this process: agents and callers. */
  readonly ownMs: number;
}

const inTurns = async <T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> => {
  let next = 0;
  const one = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: width }, one));
};
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const print = (text: string): void => void process.stdout.write(`${text}\n`);

const measure = async (): Promise<void> => {
  const [count, callers, seconds] = [values.nodes, values.callers, values.seconds].map(Number) as [
    number,
    number,
    number,
  ];
  const execArgv = values.profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', values.profile];
  const child = fork(import.meta.filename, ['--service'], { execArgv });
  const next = async (): Promise<unknown> => (await once(child, 'message'))[0];
  const started = (await next()) as Started;
  const sample = async (): Promise<Sample> => {
    child.send('sample');
    return (await next()) as Sample;
  };
  print(
    `machine    ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, signatures by ${signatureBackend}, load ${loadavg()[0]?.toFixed(1)}`,
  );

  const domain = domainOf('testnet', 31337);
  const nodes = Array.from({ length: count }, (_, i) => new LightNode(started, domain, testSigner(`scale ${i}`)));
  /** Runs one step; what it took of the clock and of both processes. */
  const step = async (work: () => Promise<void>): Promise<Step> => {
    await sample();
    const own = process.cpuUsage();
    const from = performance.now();
    await work();
    const ms = performance.now() - from;
    const used = process.cpuUsage(own);
    return { ...(await sample()), ms, ownMs: (used.user + used.system) / 1_000 };
  };
  const rate = (n: number, { ms }: Step): string =>
    `${n} in ${(ms / 1e3).toFixed(1)} s: ${((n * 1e3) / ms).toFixed(0)}/s`;
  const share = (s: Step): string =>
    `service ${((100 * s.cpuMs) / s.ms).toFixed(0)} % of one core, this process ${((100 * s.ownMs) / s.ms).toFixed(0)} %`;
  const each = (n: number, s: Step): string => `${(s.cpuMs / Math.max(1, n)).toFixed(2)} ms of CPU each`;

  const idle = await sample();
  let s = await step(() => inTurns(nodes, 64, (n) => n.register()));
  print(`register   ${rate(count, s)}, ${each(count, s)}; ${share(s)}`);

  const allActive = async (): Promise<void> => {
    const until = performance.now() + 30_000;
    while ((await sample()).active < count && performance.now() < until) await pause(250);
  };
  s = await step(() => inTurns(nodes, 64, (n) => n.connect()));
  print(`connect    ${rate(s.sockets, s)}, ${each(count, s)}; ${share(s)}`);
  await allActive();
  s = await step(async () => {});
  const perAgent = ((s.rssMiB - idle.rssMiB) * 1_024) / count;
  print(`memory     ${s.active} active, ${perAgent.toFixed(0)} KiB each, ${s.rssMiB.toFixed(0)} MiB in all`);

  if (values.reconnect) {
    for (const node of nodes) node.close();
    while ((await sample()).sockets > 0) await pause(100);
    s = await step(() => inTurns(nodes, 64, (n) => n.connect()));
    print(`reconnect  ${rate(s.sockets, s)}, ${each(count, s)}; ${share(s)}`);
    await allActive();
  }

  // heartbeats as nodes send them, spread over their interval
  let beat = 0;
  const beats = setInterval(() => {
    for (let i = 0; i < Math.ceil(count / 150); i++) nodes[beat++ % count]?.beat();
  }, 100);
  await pause(1_000);
  const first = beat;
  s = await step(() => pause(seconds * 1e3));
  print(
    `steady     ${s.active} active, ${(((beat - first) * 1e3) / s.ms).toFixed(0)} heartbeats/s, loop p50 ${s.loopP50Ms.toFixed(1)} ms, p99 ${s.loopP99Ms.toFixed(1)} ms, ${s.rssMiB.toFixed(0)} MiB; ${share(s)}`,
  );

  const agent = new Agent({ connections: callers, pipelining: 1 });
  const body = JSON.stringify({
    model: started.model.ref,
    messages: [{ role: 'user', content: 'What is the capital of France?' }],
  });
  const took: number[] = [];
  let failed = 0;
  const until = performance.now() + seconds * 1e3;
  const caller = async (): Promise<void> => {
    while (performance.now() < until) {
      const from = performance.now();
      const answer = await request(`${started.url}/v1/chat/completions`, {
        ...{ method: 'POST' as const, body, dispatcher: agent },
        headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      });
      await answer.body.text();
      if (answer.statusCode === 200) took.push(performance.now() - from);
      else failed++;
    }
  };
  s = await step(() => Promise.all(Array.from({ length: callers }, caller)).then(() => {}));
  clearInterval(beats);
  took.sort((a, b) => a - b);
  const p = (q: number): string => (took[Math.floor(took.length * q)] ?? 0).toFixed(1);
  print(
    `jobs       ${rate(took.length, s)} with ${callers} callers, ${failed} failed, p50 ${p(0.5)} ms, p99 ${p(0.99)} ms`,
  );
  print(
    `           ${each(took.length, s)} (${((100 * s.systemMs) / s.cpuMs).toFixed(0)} % in the kernel), loop p99 ${s.loopP99Ms.toFixed(1)} ms, ${s.rssMiB.toFixed(0)} MiB; ${share(s)}`,
  );
  for (const node of nodes) node.close();
  await agent.close();
  child.send('stop');
  await once(child, 'exit');
};

if (values.service) await runService((message) => void process.send?.(message));
else await measure();
