import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Agent, request } from 'undici';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { firstModel, publish } from '../../hack/demo/publish.ts';
import { QUESTION } from '../../hack/demo/snapshot.ts';
import { type ConfigAnswer, createSigner, domainOf, generatePrivateKey, signStruct } from '../../src/protocol/index.ts';
import { e2e, eventually, RUNTIME } from './setup.ts';

/**
 * A network that lies: it stands before the real one, in the same pod and with the same certificate, flips one byte of
 * each snapshot it passes on, and answers GET /v1/config with what it is given instead.
 */
const LIAR = (answer: string): string => `
const https = require('https'), fs = require('fs'), d = '/etc/resultity/';
const answer = ${JSON.stringify(answer)};
https.createServer({ cert: fs.readFileSync(d + 'tls.crt'), key: fs.readFileSync(d + 'tls.key') }, (q, a) => {
  if (answer && q.url === '/v1/config') return a.writeHead(200, { 'content-type': 'application/json' }).end(answer);
  const flip = !answer && q.url.startsWith('/v1/config/');
  const r = https.request({ port: 8443, host: '127.0.0.1', rejectUnauthorized: false, method: q.method, path: q.url, headers: q.headers }, (s) => {
    const parts = [];
    s.on('data', (p) => parts.push(p)).on('end', () => {
      const body = Buffer.concat(parts);
      if (flip && s.statusCode === 200) body[body.length >> 1] ^= 1;
      a.writeHead(s.statusCode, s.headers).end(body);
    });
  });
  r.on('error', () => a.writeHead(503).end());
  q.pipe(r);
}).on('upgrade', (q, near) => {
  const far = require('tls').connect({ port: 8443, host: '127.0.0.1', rejectUnauthorized: false }, () => {
    const head = q.rawHeaders.map((h, i) => (i % 2 ? ': ' + h + '\\r\\n' : h)).join('');
    far.write('GET ' + q.url + ' HTTP/1.1\\r\\n' + head + '\\r\\n');
    near.pipe(far).pipe(near);
  });
  for (const s of [near, far]) s.on('error', () => { near.destroy(); far.destroy(); });
}).listen(9555, () => console.log('lying'));
`;

describe('a configuration that lies', () => {
  let lying = false;

  /** Puts the liar before the service. The service restarts, so that no connection that was open to it goes on. */
  const lie = async (answer = ''): Promise<void> => {
    const { target } = e2e();
    lying = true;
    await route(9555);
    await restartNetwork();
    const [program = '', ...args] = target.kubectlArgv;
    const exec = ['-n', SYSTEM_NAMESPACE, 'exec', 'resultity-network-0', '--', 'node', '-e', LIAR(answer)];
    const child = spawn(program, [...args, ...exec], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', () => reject(new Error('the lying network did not start')));
    });
  };
  const route = (port: number | string): Promise<string> =>
    e2e().target.kubectl([
      ...['-n', SYSTEM_NAMESPACE, 'patch', 'service', 'resultity-network', '--type=json', '-p'],
      JSON.stringify([{ op: 'replace', path: '/spec/ports/0/targetPort', value: port }]),
    ]);
  const restartNetwork = async (): Promise<void> => {
    const { target } = e2e();
    await target.kubectl(['-n', SYSTEM_NAMESPACE, 'delete', 'pod', 'resultity-network-0', '--timeout=60s']);
    await eventually('the network service is back', async () => {
      const pod = JSON.parse(
        await target.kubectl(['-n', SYSTEM_NAMESPACE, 'get', 'pod', 'resultity-network-0', '-o', 'json']),
      );
      return pod.status.conditions?.some(
        (c: { type: string; status: string }) => c.type === 'Ready' && c.status === 'True',
      );
    });
  };
  /** Takes the liar away; it goes with the restarted pod. */
  const truth = async (): Promise<void> => {
    await route('https');
    await restartNetwork();
    lying = false;
  };
  afterEach(async () => {
    if (lying) await truth();
    await stillServes();
    const ready = async (): Promise<boolean> => (await e2e().condition('rnode', 'demo-0', 'Ready')).status === 'True';
    await eventually('Ready again after the network’s restarts', ready, 90_000);
  });

  const digests = async (): Promise<{ operator: string; agent: string }> => {
    const { get } = e2e();
    return {
      operator: (await get('rnet', 'demo')).status.digest,
      agent: (await get('rnode', 'demo-0')).status.agent.config.applied,
    };
  };
  const refusedByBoth = async (code: string): Promise<void> => {
    const { condition, get } = e2e();
    const operator = await eventually(
      `the operator refuses with ${code}`,
      async () => {
        const c = await condition('rnet', 'demo', 'ConfigVerified');
        return c.status === 'False' && c.message.includes(code) && c;
      },
      90_000,
      async () => JSON.stringify((await get('rnet', 'demo')).status),
    );
    expect(operator.reason).to.equal('SignatureInvalid');
    await eventually(
      `the agent refuses with ${code}`,
      async () => (await get('rnode', 'demo-0')).status.agent.lastError?.code === code,
      90_000,
      async () => JSON.stringify((await get('rnode', 'demo-0')).status.agent),
    );
  };
  const stillServes = async (): Promise<void> => {
    const { installed } = e2e();
    const asked = (): Promise<string> =>
      installed.withApi(async (api) => (await api.ask({ model: installed.model, ...QUESTION }, false)).text);
    expect(await eventually('an answer', asked, 90_000)).to.contain(installed.expect);
  };
  const acceptedByBoth = (other: string): Promise<unknown> =>
    eventually(
      'both take the true configuration',
      async () => {
        const now = await digests();
        return now.operator !== other && now.agent === now.operator;
      },
      120_000,
      async () => JSON.stringify(await digests()),
    );

  it('with one byte of the snapshot changed: operator and agent refuse it and keep the old one, then take the true one', async () => {
    const { installed } = e2e();
    const before = await digests();
    await lie();
    await publish(installed, [firstModel(RUNTIME)]);
    await refusedByBoth('digest_mismatch');
    expect(await digests()).to.deep.equal(before);
    await stillServes();
    await truth();
    await acceptedByBoth(before.operator);
  });

  it('signed with a foreign key: operator and agent refuse it and keep the old one', async () => {
    const { installed } = e2e();
    const before = await digests();
    const agent = new Agent({ connect: { ca: readFileSync(join(installed.dir, 'tls/ca.crt'), 'utf8') } });
    try {
      const config = await installed.reach(async (port) => {
        const answer = await request(`https://127.0.0.1:${port}/v1/config`, { dispatcher: agent });
        return (await answer.body.json()) as ConfigAnswer;
      });
      const domain = domainOf('demo', 31337);
      const snapshot = { ...config.snapshot, version: config.snapshot.version + 1 };
      const struct = { ...snapshot, rollbackOf: `0x${'0'.repeat(64)}` as const };
      const snapshotSignatures = [1, 2].map(() => {
        const signer = createSigner(generatePrivateKey());
        return { signer: signer.address, sig: signStruct(signer, domain, 'ConfigSnapshot', struct) };
      });
      await lie(JSON.stringify({ ...config, snapshot, snapshotSignatures }));
      await refusedByBoth('threshold_not_met');
      expect(await digests()).to.deep.equal(before);
      await stillServes();
    } finally {
      await agent.close();
    }
  });
});
