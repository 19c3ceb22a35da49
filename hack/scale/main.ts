/**
 * `bash hack/run scale [-- --nodes 1000 --callers 64 --seconds 15 --profile DIR]`: how many agents one network service
 * holds and how many jobs it hands out, over loopback. The service runs in a process of its own; agents and callers share
 * this one, so on two cores what is measured is the service with one core to itself. Nothing fails when a machine is slow.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
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
    profile: { type: 'string' },
    service: { type: 'boolean', default: false },
  },
});

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
    `machine    ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, signatures by ${signatureBackend}`,
  );

  const domain = domainOf('testnet', 31337);
  const nodes = Array.from({ length: count }, (_, i) => new LightNode(started, domain, testSigner(`scale ${i}`)));
  const idle = await sample();
  let at = performance.now();
  await inTurns(nodes, 32, (n) => n.register());
  let ms = performance.now() - at;
  let s = await sample();
  print(
    `register   ${count} nodes in ${(ms / 1e3).toFixed(1)} s: ${((count * 1e3) / ms).toFixed(0)}/s, ${(s.cpuMs / count).toFixed(2)} ms of CPU each`,
  );

  at = performance.now();
  await inTurns(nodes, 32, (n) => n.connect());
  do {
    await pause(100);
    s = await sample();
  } while (s.active < count && performance.now() - at < 30_000);
  ms = performance.now() - at;
  print(
    `connect    ${s.sockets} sockets, ${s.active} active in ${(ms / 1e3).toFixed(1)} s: ${((count * 1e3) / ms).toFixed(0)}/s, ${(((s.rssMiB - idle.rssMiB) * 1_024) / count).toFixed(0)} KiB each, ${s.rssMiB.toFixed(0)} MiB in all`,
  );

  at = performance.now();
  for (const node of nodes) node.close();
  await pause(500);
  await sample();
  await inTurns(nodes, 32, (n) => n.connect());
  ms = performance.now() - at - 500;
  s = await sample();
  print(
    `reconnect  ${s.sockets} sockets in ${(ms / 1e3).toFixed(1)} s: ${((count * 1e3) / ms).toFixed(0)}/s, ${(s.cpuMs / count).toFixed(2)} ms of CPU each`,
  );

  // heartbeats as nodes send them, spread over their interval
  let beat = 0;
  const beats = setInterval(() => {
    for (let i = 0; i < Math.ceil(count / 150); i++) nodes[beat++ % count]?.beat();
  }, 100);
  await pause(1_000);
  await sample();
  at = performance.now();
  await pause(Math.min(10, seconds) * 1e3);
  s = await sample();
  print(
    `steady     ${((100 * s.cpuMs) / (performance.now() - at)).toFixed(1)} % of one core for heartbeats and sweeps, loop p99 ${s.loopP99Ms.toFixed(1)} ms`,
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
  const own = process.cpuUsage();
  at = performance.now();
  await Promise.all(Array.from({ length: callers }, caller));
  ms = performance.now() - at;
  const used = process.cpuUsage(own);
  s = await sample();
  clearInterval(beats);
  took.sort((a, b) => a - b);
  const p = (q: number): string => (took[Math.floor(took.length * q)] ?? 0).toFixed(1);
  print(
    `jobs       ${((took.length * 1e3) / ms).toFixed(0)}/s over ${(ms / 1e3).toFixed(1)} s with ${callers} callers, ${failed} failed, p50 ${p(0.5)} ms, p99 ${p(0.99)} ms`,
  );
  print(
    `service    ${((100 * s.cpuMs) / ms).toFixed(0)} % of one core, ${(s.cpuMs / Math.max(1, took.length)).toFixed(2)} ms a job, loop p99 ${s.loopP99Ms.toFixed(1)} ms, ${s.rssMiB.toFixed(0)} MiB; this process ${((used.user + used.system) / 10 / ms).toFixed(0)} %`,
  );
  for (const node of nodes) node.close();
  await agent.close();
  child.send('stop');
  await once(child, 'exit');
};

if (values.service) await runService((message) => void process.send?.(message));
else await measure();
