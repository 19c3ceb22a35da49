import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Agent, request } from 'undici';
import { parse, stringify } from 'yaml';
import { SignerKit } from '../../../test/support/signer-kit.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log.ts';
import { Metrics } from '../../lib/metrics.ts';
import { ApiKeys } from '../api-keys.ts';
import { systemRandom } from '../random.ts';
import { type Service, startService } from '../service.ts';
import { DEFAULT_LIMITS } from '../settings.ts';
import { buildProgram } from './index.ts';
import { openKey } from './keystore.ts';

describe('resultity-network', () => {
  let dir: string;
  let net: string;
  let service: Service;
  const out: string[] = [];
  const run = async (...args: string[]): Promise<string> => {
    out.length = 0;
    const io = {
      out: (line: string) => void out.push(line),
      err: () => {},
      now: () => Date.now(),
      signal: new AbortController().signal,
    };
    await buildProgram(io, '1').exitOverride().parseAsync(args, { from: 'user' });
    return out.join('\n');
  };
  const failed = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => '',
      (e: Error) => e.message,
    );
  const read = (path: string): Promise<string> => readFile(join(net, path), 'utf8');
  const init = () =>
    run(
      ...['init', '--dir', net, '--network', 'demo', '--chain-id', '31337', '--endpoint', 'https://net.example:8443'],
      ...['--san', 'localhost,127.0.0.1', '--password-file', join(dir, 'pw'), '--weak-scrypt-for-tests'],
    );

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-commands-'));
    net = join(dir, 'net');
    await writeFile(join(dir, 'pw'), 'secret\n');
    await init();
    service = await startService({
      data: join(dir, 'data'),
      root: await read('roots/1.json'),
      signer: await openKey(join(net, 'keys/ticket.key'), () => Promise.reject(new Error('asked for a password'))),
      tls: { cert: await read('tls/tls.crt'), key: await read('tls/tls.key') },
      host: '127.0.0.1',
      port: 0,
      authorities: ['net.example:8443'],
      models: dir,
      keys: new ApiKeys(await read('api-keys.json')),
      admission: { policy: 'open', token: () => undefined, allowed: new Set() },
      limits: DEFAULT_LIMITS,
      clock: systemClock,
      random: systemRandom,
      metrics: new Metrics(),
      log: createLogger('test', 'silent'),
    });
  });
  after(async () => {
    await service.close();
    await rm(dir, { recursive: true, force: true });
  });
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const agent = new Agent({ connect: { ca: await read('tls/ca.crt') } });
    const answer = await request(`https://localhost:${service.port}${path}`, { dispatcher: agent, headers });
    const text = await answer.body.text();
    await agent.close();
    return { status: answer.statusCode, text, headers: answer.headers };
  };

  it('makes a network whose secrets are for their owner only, and overwrites none', async () => {
    for (const path of ['keys/ticket.key', 'keys/root-1.json', 'keys/config-3.json', 'tls/ca.key', 'api-key'])
      expect((await stat(join(net, path))).mode & 0o777, path).to.equal(0o600);
    expect(await failed(init())).to.contain('never overwritten');
  });
  it('drafts a first configuration that is refused by the name of what is left empty, and is taken once that is filled in', async () => {
    const publish = (file: string) =>
      run('publish', '--dir', net, '--snapshot', file, '--password-file', join(dir, 'pw'), '--dry-run');
    expect(await failed(publish(join(net, 'snapshot.yaml')))).to.contain('agent.image');
    const filled = (await read('snapshot.yaml')).replace(
      /image: {5,}#/,
      `image: registry/resultity@sha256:${'a'.repeat(64)} #`,
    );
    await writeFile(join(dir, 'filled.yaml'), filled);
    expect(await publish(join(dir, 'filled.yaml'))).to.contain('configuration v1 (epoch 1)');
    // what is commented out is a configuration too, but for the digests
    const shown = filled
      .replace('models: []\n', 'models:\n')
      .replace('runtimes: []\n', 'runtimes:\n')
      .replaceAll('sha256: …', `sha256: ${'b'.repeat(64)}`)
      .replace('vllm@sha256:…', `vllm@sha256:${'b'.repeat(64)}`)
      .replaceAll(/^# {2}/gm, '  ');
    await writeFile(join(dir, 'shown.yaml'), shown);
    expect(await failed(publish(join(dir, 'shown.yaml'))))
      .to.contain('my-model:v1')
      .and.to.contain('digest');
  });
  it('makes manifests that hold the pinned root and what the service needs, and no offline key', async () => {
    const configMap = parse(await read('kubernetes/root-configmap.yaml'));
    expect(configMap.metadata.name).to.equal('demo-root');
    expect(configMap.data).to.deep.equal({
      'root.json': await read('roots/1.json'),
      'ca.crt': await read('tls/ca.crt'),
    });
    const secret = parse(await read('kubernetes/network-secret.yaml'));
    expect(Object.keys(secret.stringData)).to.deep.equal(['root.json', 'ticket-key', 'tls.crt', 'tls.key', 'api-keys']);
    expect(JSON.stringify(secret)).not.to.contain((await read('api-key')).trim());
  });
  it('describes a model by the digest of its tree and refuses links', async () => {
    const folder = join(dir, 'tiny');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'config.json'), '{}');
    const model = JSON.parse(await run('model', 'describe', folder, '--name', 'tiny', '--version', 'v1'));
    expect(model).to.deep.include({ name: 'tiny', version: 'v1' });
    expect(model.digest).to.match(/^sha256:[0-9a-f]{64}$/);
    await symlink('config.json', join(folder, 'link.json'));
    expect(await failed(run('model', 'describe', folder, '--name', 'tiny', '--version', 'v1'))).to.contain('link');
    await rm(join(folder, 'link.json'));
  });
  it('signs one after another, uploads over TLS, and counts versions up', async () => {
    const { version: _v, epoch: _e, network: _n, schema: _s, ...draft } = new SignerKit().document();
    await writeFile(join(dir, 'draft.yaml'), stringify(draft));
    const base = ['publish', '--dir', net, '--password-file', join(dir, 'pw')];
    const to = ['--to', `https://localhost:${service.port}`, '--ca', join(net, 'tls/ca.crt')];
    const draftArgs = ['--snapshot', join(dir, 'draft.yaml')];
    expect(await run(...base, ...draftArgs, '--sign-with', join(net, 'keys/config-2.json'))).to.contain('1 of 2');
    expect(service.publications.reference).to.equal(null);
    expect(await run(...base, ...to, '--sign-with', join(net, 'keys/config-1.json'))).to.contain('published at');
    expect(service.publications.reference?.version).to.equal(1);
    expect(await run(...base, ...draftArgs, ...to, '--dry-run')).to.contain('v2');
    expect(service.publications.reference?.version).to.equal(1);
    await run(...base, ...draftArgs, ...to);
    expect(service.publications.reference?.version).to.equal(2);
    expect(JSON.parse((await get('/v1/config')).text).snapshot.version).to.equal(2);
  });
  it('refuses a draft in which a model is wrong', async () => {
    const draft = new SignerKit().document() as { models: { digest: string }[] };
    draft.models[0]!.digest = `sha256:${'0'.repeat(64)}`;
    await writeFile(join(dir, 'bad.json'), JSON.stringify({ ...draft, network: 'demo', version: 9 }));
    const args = ['publish', '--dir', net, '--snapshot', join(dir, 'bad.json'), '--password-file', join(dir, 'pw')];
    expect(await failed(run(...args))).to.contain('tiny:v1');
  });
  it('serves model files by range and nothing outside their folder', async () => {
    const part = await get('/models/tiny/config.json', { range: 'bytes=1-' });
    expect([part.status, part.text, part.headers['content-range']]).to.deep.equal([206, '}', 'bytes 1-1/2']);
    expect((await get('/models/tiny/config.json', { range: 'bytes=9-' })).status).to.equal(416);
    expect((await get('/models/tiny/config.json', { range: 'bytes=1-', 'if-range': '"old"' })).text).to.equal('{}');
    await symlink('/etc/hostname', join(dir, 'tiny', 'out.json'));
    for (const path of ['/models/..%2Fpw', '/models/tiny/../../etc/hostname', '/models/tiny/out.json', '/models/tiny'])
      expect((await get(path)).status, path).to.equal(404);
  });
});
