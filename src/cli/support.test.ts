import { spawnSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { CliRig } from '../../test/support/cli-rig.ts';
import { network, resultityNode } from '../../test/support/why-not-cases.ts';
import { sha256Hex } from '../protocol/index.ts';
import { differences } from './config-diff.ts';
import { KIND } from './kinds.ts';
import { redact, redactText } from './redact.ts';

describe('the support bundle', () => {
  let rig: CliRig;
  beforeEach(async () => {
    rig = await CliRig.start();
  });
  afterEach(() => rig.stop());

  it('holds resources and logs, and none of the marked secrets, wherever they stood', async () => {
    const node = resultityNode(
      {
        owner: { email: 'MARK-owner@example.com' },
        runtime: { readOnlyRootFilesystem: false, env: [{ name: 'VLLM_LOGGING_LEVEL', value: 'MARK-env' }] },
      },
      { podName: 'gpu-a', nodeId: `0x${'ab'.repeat(20)}` },
    );
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{"token":"MARK-applied"}' };
    await rig.seed(KIND.node, { ...node, metadata: { ...node.metadata, annotations } });
    const net = network();
    await rig.seed(KIND.network, {
      ...net,
      spec: { ...net.spec, tls: { proxy: 'http://user:MARK-proxy@proxy:3128' } },
    });
    await rig.client.create(KIND.secret, { metadata: { name: 'key', namespace: 'nodes' }, data: { k: 'MARK-secret' } });
    await rig.seed(KIND.pod, {
      metadata: { name: 'gpu-a', namespace: 'nodes', labels: { 'app.kubernetes.io/part-of': 'resultity' } },
      spec: {
        containers: [
          {
            env: [
              {
                name: 'RESULTITY_AGENT',
                value: JSON.stringify({
                  owner: { email: 'MARK-e@x.org' },
                  network: { endpoint: 'https://io.example.com' },
                }),
              },
              { name: 'HF_TOKEN', value: 'MARK-hf' },
            ],
          } as object,
        ],
      },
    });
    await rig.seed(KIND.event, { metadata: { name: 'e', namespace: 'nodes' }, note: 'token=MARK-event in a note' });
    rig.api.text = ({ path, query }) => {
      if (path.endsWith('/proxy/statusz'))
        return JSON.stringify({ phase: 'Active', lastError: { message: 'Bearer MARK-bearer.x' } });
      if (!path.endsWith('/log')) return undefined;
      return query.get('container') === 'agent'
        ? `t key 0x${'4c'.repeat(32)}\nt digest sha256:${'d'.repeat(64)}\nt {"password":"MARK-log","to":"MARK@mail.example"}\n`
        : 't https://user:MARK-url@host/x\nt eyJNQVJLaGVhZGVy.TUFSS2JvZHk0.c2ln\n';
    };
    const dir = join(rig.dir, 'bundle');
    const { code, out } = await rig.run('support-bundle', '--to', dir);
    expect(code).to.equal(0);
    expect(out).to.contain('look through it before you send it');
    const files = await readdir(dir);
    const all = (await Promise.all(files.map((f) => readFile(join(dir, f), 'utf8')))).join('\n');
    expect(files).to.include.members([
      'resultitynodes.yaml',
      'pods.yaml',
      'events.yaml',
      'gpu-a-agent.log',
      'gpu-a-runtime.log',
      'gpu-a-statusz.json',
    ]);
    expect(all.match(/.*(MARK|4c4c|TUFSS).*/g)).to.equal(null);
    expect(all)
      .to.contain(`sha256:${'d'.repeat(64)}`)
      .and.contain('https://io.example.com')
      .and.contain(`0x${'ab'.repeat(20)}`);
    expect(rig.api.requests.filter((r) => r.method === 'GET' && r.path.includes('secrets'))).to.deep.equal([]);
    expect(await readFile(join(dir, 'left-out.txt'), 'utf8')).to.equal('nothing\n');
    expect((await rig.run('support-bundle', '--to', dir)).code).to.equal(2);
  });

  it('lists what could not be had and keeps the rest', async () => {
    await rig.seed(KIND.node, resultityNode());
    rig.api.fault({ when: (r) => r.path.endsWith('/events'), answer: { status: 403, reason: 'Forbidden' } });
    const dir = join(rig.dir, 'bundle');
    expect((await rig.run('support-bundle', '--to', dir)).out).to.contain('1 parts are missing');
    expect(await readFile(join(dir, 'left-out.txt'), 'utf8')).to.contain(
      'events.yaml: you may not list events.events.k8s.io',
    );
    expect(await readdir(dir)).to.include('resultitynodes.yaml');
  });

  it('keeps names of secrets and takes their values', () => {
    expect(redact({ enrolmentSecretRef: { name: 'x' }, secretName: 'y', password: 'z' })).to.deep.equal({
      enrolmentSecretRef: { name: 'x' },
      secretName: 'y',
      password: '[secret]',
    });
    expect(redactText('-----BEGIN EC PRIVATE KEY-----\nMARK\n-----END EC PRIVATE KEY-----')).to.equal('[private key]');
  });
});

describe('config diff and history', () => {
  let rig: CliRig;
  beforeEach(async () => {
    rig = await CliRig.start();
  });
  afterEach(() => rig.stop());

  const older = {
    version: 40,
    models: [{ name: 'a', version: 'v1', state: 'active' }],
    agent: { image: 'x@sha256:1' },
  };
  const newer = {
    version: 41,
    models: [
      { name: 'a', version: 'v1', state: 'inactive' },
      { name: 'b', version: 'v1' },
    ],
    agent: { image: 'x@sha256:1' },
  };

  it('names what was added, taken away and changed, models by name', () => {
    expect(differences(older, newer)).to.deep.equal([
      '~ models[a:v1].state: "active" → "inactive"',
      '+ models[b:v1]: name "b", version "v1"',
      '~ version: 40 → 41',
    ]);
    expect(differences(newer, older)).to.include('- models[b:v1]: name "b", version "v1"');
    expect(differences({ hosts: ['a'] }, { hosts: ['a', 'b'] })).to.deep.equal(['+ hosts[b]: "b"']);
  });

  it('compares what a node applies with what the operator keeps, by digest', async () => {
    const [a, b] = [older, newer].map((d) => Buffer.from(JSON.stringify(d)));
    const [from, to] = [sha256Hex(a!), sha256Hex(b!)];
    const binaryData = Object.fromEntries(
      [[from, a!] as const, [to, b!] as const].map(([d, bytes]) => [
        `snapshot-${d.replace(':', '-')}.gz`,
        gzipSync(bytes).toString('base64'),
      ]),
    );
    await rig.seed(KIND.configMap, {
      metadata: { name: 'testnet-config', namespace: 'nodes' },
      binaryData,
      data: { 'root-1.json': '', 'root-2.json': '' },
    });
    await rig.seed(KIND.network, {
      ...network(),
      status: { digest: to, version: 41, epoch: 1, configMapName: 'testnet-config' },
    });
    await rig.seed(
      KIND.node,
      resultityNode({}, { agent: { config: { applied: from }, floor: { epoch: 1, version: 40 } } }),
    );
    const { code, out } = await rig.run('config', 'diff', 'gpu-a');
    expect(code).to.equal(0);
    expect(out.split('\n').slice(0, 3)).to.deep.equal([
      `--- ${from.slice(7, 19)} version 40`,
      `+++ ${to.slice(7, 19)} version 41`,
      '~ models[a:v1].state: "active" → "inactive"',
    ]);
    const told = (await rig.run('config', 'history')).out;
    expect(told).to.contain('roots v1 → v2').and.contain('in force: epoch 1 version 41');
    expect(told).to.match(new RegExp(`gpu-a +${from.slice(7, 19)} +- +1,40`));
    expect((await rig.run('config', 'diff', 'gpu-a', '--from', to)).out).to.contain('no difference');
    expect((await rig.run('config', 'diff')).code).to.equal(2);
  });

  it('does not take bytes for a snapshot that have another digest', async () => {
    const to = sha256Hex('x');
    const binaryData = { [`snapshot-${to.replace(':', '-')}.gz`]: gzipSync('{}').toString('base64') };
    await rig.seed(KIND.configMap, { metadata: { name: 'testnet-config', namespace: 'nodes' }, binaryData });
    await rig.seed(KIND.network, { ...network(), status: { digest: to, configMapName: 'testnet-config' } });
    const { code, err } = await rig.run('config', 'diff', '--from', join(rig.dir, 'kubeconfig'));
    expect(code).to.equal(1);
    expect(err).to.contain('has another digest');
  });
});

describe('completion', () => {
  let rig: CliRig;
  beforeEach(async () => {
    rig = await CliRig.start();
  });
  afterEach(() => rig.stop());

  it('is made of the command tree and offers commands, options and subcommands in bash', async () => {
    const { out } = await rig.run('completion', 'bash');
    const offered = (...words: string[]): string[] => {
      const lines = `${out}\nCOMP_WORDS=(resultity ${words.map((w) => `'${w}'`).join(' ')}); COMP_CWORD=${words.length}; _resultity; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return spawnSync('bash', ['-c', lines], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } })
        .stdout.trim()
        .split('\n');
    };
    expect(offered('re')).to.deep.equal(['resume', 'restart', 'receipt']);
    expect(offered('config', 'h')).to.deep.equal(['history', 'hold']);
    expect(offered('restart', '--no')).to.deep.equal(['--no-wait', '--now']);
    expect(offered('--v')).to.deep.equal(['--version']);
  });

  it('speaks zsh and fish too, with every command and no hidden one', async () => {
    expect((await rig.run('completion', 'zsh')).out).to.match(/^#compdef kubectl-resultity resultity\n/);
    const fish = (await rig.run('completion', 'fish')).out;
    for (const name of ['status', 'why-not', 'drain', 'support-bundle']) expect(fish).to.contain(`-a ${name} -d `);
    expect(fish).to.not.contain('-a __nodes');
    expect((await rig.run('completion', 'tcsh')).code).to.equal(2);
  });

  it('answers kubectl, which asks with the words so far', async () => {
    await rig.seed(KIND.node, resultityNode());
    const asked = async (...words: string[]) => (await rig.run('__complete', ...words)).out.split('\n');
    expect(await asked('con')).to.deep.equal(['config', ':4']);
    expect(await asked('config', 'h')).to.deep.equal(['history', 'hold', ':4']);
    expect(await asked('drain', '--no')).to.deep.equal(['--no-wait', ':4']);
    expect(await asked('drain', 'g')).to.deep.equal(['gpu-a', ':4']);
    expect(await asked('drain', 'x')).to.deep.equal([':4']);
  });

  it('offers the names of nodes, and nothing where the cluster does not answer', async () => {
    await rig.seed(KIND.node, resultityNode());
    expect((await rig.run('__nodes')).out).to.equal('gpu-a');
    rig.api.fault({ when: () => true, answer: { status: 500 } });
    expect(await rig.run('__nodes')).to.include({ code: 0, out: '' });
  });
});
