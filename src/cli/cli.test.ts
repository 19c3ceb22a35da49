import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { type JobResultStruct, resultHash, sha256Hex, signStruct } from '../protocol/index.ts';
import { buildProgram, type Io, runCommand } from './index.ts';

describe('the resultity command', () => {
  let dir: string;
  let kit: SignerKit;
  let server: Server | undefined;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-cli-'));
    kit = new SignerKit();
    kit.publish();
    await writeFile(join(dir, 'root.json'), kit.pinnedRoot);
  });
  afterEach(async () => {
    server?.closeAllConnections();
    await new Promise<void>((done) => (server ? server.close(() => done()) : done()));
    server = undefined;
    await rm(dir, { recursive: true, force: true });
  });

  const run = async (...args: string[]): Promise<{ code: number; out: string; err: string; last: string }> => {
    const out: string[] = [];
    const err: string[] = [];
    const io: Io = {
      out: (l) => out.push(l),
      err: (l) => err.push(l),
      stdin: async () => stdin,
      color: false,
      now: () => kit.now,
    };
    const code = await runCommand(buildProgram(io, '0.0.0'), args, io);
    return { code, out: out.join('\n'), err: err.join('\n'), last: err.at(-1) ?? '' };
  };
  let stdin = '';

  /** Writes the network's answers as a folder. */
  const folder = async (): Promise<string> => {
    const from = join(dir, 'network');
    await mkdir(join(from, 'v1/config'), { recursive: true });
    await mkdir(join(from, 'v1/roots'), { recursive: true });
    if (kit.answer) await writeFile(join(from, 'v1/config.json'), kit.answer);
    for (const [digest, bytes] of kit.snapshots)
      await writeFile(join(from, 'v1/config', digest.replace(':', '-')), bytes);
    for (const [n, answer] of kit.roots) await writeFile(join(from, `v1/roots/${n}.json`), answer);
    return from;
  };
  const serve = async (extra: (path: string, key: string) => string | undefined = () => undefined): Promise<string> => {
    server = createServer((req, res) => {
      const path = req.url ?? '';
      const body =
        path === '/v1/config'
          ? kit.answer
          : path.startsWith('/v1/roots/')
            ? kit.roots.get(Number(path.slice(10)))
            : path.startsWith('/v1/config/')
              ? kit.snapshots.get(path.slice(11) as `sha256:${string}`)
              : extra(path, req.headers.authorization ?? '');
      res.writeHead(body === undefined ? 404 : 200).end(body);
    });
    await new Promise<void>((done) => server?.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const verify = (from: string, ...more: string[]) =>
    run('config', 'verify', '--root', join(dir, 'root.json'), '--state', join(dir, 'state'), '--from', from, ...more);

  it('verifies a folder of answers and leaves floor and bytes in the state folder', async () => {
    const { code, out } = await verify(await folder());
    expect(code).to.equal(0);
    expect(out).to.match(/^accepted testnet epoch 1 version 1 sha256:[0-9a-f]{64} \(root v1\)$/);
    expect(JSON.parse(await readFile(join(dir, 'state/floor.json'), 'utf8'))).to.include({ version: 1 });
  });

  it('makes a state folder that is named relative to the working folder', async () => {
    const from = await folder();
    const before = process.cwd();
    process.chdir(dir);
    try {
      for (const state of ['k', './x/y/z', 'k'])
        expect(await run('config', 'verify', '--root', 'root.json', '--state', state, '--from', from)).to.include({
          code: 0,
        });
    } finally {
      process.chdir(before);
    }
  });

  it('verifies a network over HTTP', async () => {
    kit.rotate('second');
    kit.publish();
    const from = await serve();
    expect(await verify(`${from}/`)).to.include({ code: 0 });
    expect((await verify(from)).out).to.contain('root v2, unchanged');
  });

  it('names the refusal on the last line of stderr and exits 1', async () => {
    const from = await folder();
    expect(await verify(from, '--now', '2026-11-22T10:00:00Z')).to.include({ code: 1 });
    expect((await verify(from, '--now', '2026-11-22T10:00:00Z')).last).to.match(/^refused config_stale: \S/);
    expect((await verify(join(dir, 'nowhere'))).last).to.match(/^refused unreachable: /);
    expect((await verify('http://127.0.0.1:1')).last).to.match(/^refused unreachable: /);
    await writeFile(join(dir, 'root.json'), '{}');
    expect((await verify(from)).last).to.match(/^refused bad_root: /);
  });

  it('exits 2 on wrong usage', async () => {
    const from = await folder();
    expect((await run('config', 'verify')).code).to.equal(2);
    expect((await verify(from, '--now', 'yesterday')).code).to.equal(2);
    expect((await verify('ftp://x')).code).to.equal(2);
    expect((await verify(from, 'extra')).code).to.equal(2);
    expect((await run('config', 'verify', '--root', '/nowhere', '--state', dir, '--from', from)).code).to.equal(2);
    expect((await run('config', 'reset', '--state', dir, '--floor', '1')).code).to.equal(2);
    expect((await run('conjure')).code).to.equal(2);
    expect((await run('--help')).code).to.equal(0);
  });

  it('reopens a state folder by hand', async () => {
    const from = await folder();
    await verify(from);
    await rm(join(dir, 'state/floor.json'));
    expect((await verify(from)).last).to.match(/^refused floor_missing: /);
    expect(await run('config', 'reset', '--state', join(dir, 'state'), '--floor', '1,0')).to.include({ code: 0 });
    expect((await verify(from)).code).to.equal(0);
    expect((await run('config', 'reset', '--state', join(dir, 'empty'), '--floor', '1,0')).last).to.match(
      /^refused bad_root: .*--root/,
    );
  });

  const receipts = (output = 'Paris.', changed: Partial<JobResultStruct> = {}): string => {
    const node = testSigner('node');
    const signer = kit.keys.ticket[0]!;
    const result: JobResultStruct = {
      jobId: 'job-1',
      attempt: 1,
      node: node.address,
      model: 'tiny:v1',
      modelDigest: sha256Hex('m'),
      configDigest: sha256Hex('c'),
      requestHash: sha256Hex('r'),
      outputHash: sha256Hex(output),
      promptTokens: 412,
      completionTokens: 96,
      finishReason: 'stop',
      finishedAt: kit.now,
    };
    const receipt = {
      jobId: 'job-1',
      attempt: 1,
      node: node.address,
      resultHash: resultHash(kit.domain, result),
      verdict: 'accepted',
      rootVersion: kit.rootVersion,
      receivedAt: kit.now,
    } as const;
    const pair = {
      result: { ...result, ...changed },
      resultSig: signStruct(node, kit.domain, 'JobResult', result),
      receipt,
      sig: signStruct(signer, kit.domain, 'JobReceipt', receipt),
      signer: signer.address,
    };
    return JSON.stringify({ jobId: 'job-1', receipts: [pair] });
  };

  it('verifies a receipt offline, from a file and from stdin', async () => {
    await writeFile(join(dir, 'receipts.json'), receipts());
    await writeFile(join(dir, 'output.txt'), 'Paris.');
    const args = ['--root', join(dir, 'root.json'), '--output', join(dir, 'output.txt')];
    const { code, out } = await run('receipt', 'verify', join(dir, 'receipts.json'), ...args);
    expect(code).to.equal(0);
    expect(out.split('\n')[0]).to.equal('job job-1  attempt 1  model tiny:v1');
    expect(out).to.match(/result +signed by 0x\w{4}…\w{4} +valid/);
    expect(out).to.match(
      /receipt +accepted 2026-11-21T10:00:00Z, signed by 0x\w{4}…\w{4} \(ticket key of root v1\) +valid/,
    );
    expect(out).to.match(/output +sha256 [0-9a-f]{4}…, 412 \+ 96 tokens +matches/);
    stdin = receipts();
    expect((await run('receipt', 'verify', '-', ...args)).code).to.equal(0);
  });

  it('says which check of a receipt failed and exits 1', async () => {
    await writeFile(join(dir, 'output.txt'), 'Rome.');
    await writeFile(join(dir, 'receipts.json'), receipts('Paris.', { completionTokens: 1 }));
    const { code, out } = await run(
      ...['receipt', 'verify', join(dir, 'receipts.json'), '--root', join(dir, 'root.json')],
      ...['--output', join(dir, 'output.txt')],
    );
    expect(code).to.equal(1);
    expect(out).to.match(/result .*INVALID: is not signed by/);
    expect(out).to.match(/receipt .*INVALID: receipt names another result/);
    expect(out).to.match(/output .*INVALID: differs/);
  });

  it('needs the root that the receipt names, and takes it from a state folder or from files that follow', async () => {
    await verify(await folder());
    kit.rotate('second');
    kit.publish();
    await writeFile(join(dir, 'root2.json'), kit.roots.get(2)!);
    await writeFile(join(dir, 'receipts.json'), receipts());
    const file = join(dir, 'receipts.json');
    const before = await run('receipt', 'verify', file, '--root', join(dir, 'root.json'));
    expect(before.code).to.equal(1);
    expect(before.out).to.contain('names root v2, which is not at hand');
    expect(
      (await run('receipt', 'verify', file, '--root', join(dir, 'root2.json'), join(dir, 'root.json'))).code,
    ).to.equal(0);
    await verify(await folder());
    expect((await run('receipt', 'verify', file, '--state', join(dir, 'state'))).code).to.equal(0);
    expect((await run('receipt', 'verify', file)).code).to.equal(2);
  });

  it('fetches the receipts and newer roots of a job id', async () => {
    const from = await serve((path, key) =>
      path === '/v1/receipts/job-1' && key === 'Bearer k1' ? receipts() : undefined,
    );
    kit.rotate('second');
    await writeFile(join(dir, 'key'), 'k1\n');
    const online = ['--root', join(dir, 'root.json'), '--endpoint', from, '--api-key-file', join(dir, 'key')];
    expect((await run('receipt', 'verify', 'job-1', ...online)).code).to.equal(0);
    expect(await run('receipt', 'verify', 'job-2', ...online)).to.include({ code: 1 });
    expect((await run('receipt', 'verify', 'job-2', ...online)).last).to.contain('check the id and the key');
  });
});
