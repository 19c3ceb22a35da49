import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { type Standin, startStandin } from '../../../test/standin/standin.ts';
import { SignerKit, testModel, testSigner } from '../../../test/support/signer-kit.ts';
import { folderSource, MemoryStateStore, type UpdateOutcome, updateConfig } from '../../config/index.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log.ts';
import { Metrics } from '../../lib/metrics.ts';
import { checksumAddress } from '../../protocol/index.ts';
import { ApiKeys } from '../api-keys.ts';
import { systemRandom } from '../random.ts';
import { startService } from '../service.ts';
import { DEFAULT_LIMITS } from '../settings.ts';
import { buildProgram } from './index.ts';
import { openKey } from './keystore.ts';

const quiet = (command: Command): void => {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  for (const sub of command.commands) quiet(sub);
};

describe('the publisher’s commands', () => {
  let dir: string;
  let net: string;
  let store: MemoryStateStore;
  const out: string[] = [];
  const run = async (...args: string[]): Promise<string> => {
    out.length = 0;
    const signal = new AbortController().signal;
    const io = { out: (line: string) => void out.push(line), err: () => {}, now: () => Date.now(), signal };
    const program = buildProgram(io, '1');
    quiet(program);
    await program.parseAsync(args, { from: 'user' });
    return out.join('\n');
  };
  const failed = async (...args: string[]): Promise<string> => {
    const done = await run(...args).then(
      () => '',
      (e: Error) => e.message,
    );
    expect(done, args.join(' ')).not.to.equal('');
    return done;
  };
  const at = (): string[] => ['--dir', net, '--password-file', join(dir, 'pw')];
  const rotate = (...args: string[]) => run('root', 'rotate', ...at(), '--weak-scrypt-for-tests', ...args);
  const key = (name: string): string => join(net, 'keys', name);
  const address = async (name: string): Promise<string> =>
    checksumAddress(
      `0x${JSON.parse(await readFile(key(name), 'utf8'))
        .address.toLowerCase()
        .replace(/^0x/, '')}`,
    );
  const draft = async (over: Record<string, unknown> = {}): Promise<string> => {
    const { version: _v, epoch: _e, network: _n, ...rest } = new SignerKit().document(over);
    await writeFile(
      join(dir, 'draft.yaml'),
      stringify({ ...rest, ...(over.version === undefined ? {} : { version: over.version }) }),
    );
    return join(dir, 'draft.yaml');
  };
  const publish = async (over: Record<string, unknown> = {}, ...more: string[]) =>
    run('publish', ...at(), '--snapshot', await draft(over), ...more);
  /** What a node that has followed this network so far makes of the folder. */
  const asNode = async (): Promise<UpdateOutcome> => {
    await run('ticket', ...at(), '--answers', join(dir, 'answers'));
    const pinnedRoot = await readFile(join(net, 'roots/1.json'), 'utf8');
    return updateConfig({ pinnedRoot, store, source: folderSource(join(dir, 'answers')), now: Date.now() });
  };
  const roots = async (): Promise<string[]> => (await readdir(join(net, 'roots'))).sort();

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-publishing-'));
    net = join(dir, 'net');
    store = new MemoryStateStore();
    await writeFile(join(dir, 'pw'), 'secret\n');
    await run(
      ...['init', '--network', 'demo', '--chain-id', '31337', '--endpoint', 'https://net.example'],
      ...[...at(), '--weak-scrypt-for-tests', '--root-keys', '3', '--root-threshold', '2', '--san', '127.0.0.1'],
    );
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('adds a key of a role: root 2 is signed by the root keys and a node follows', async () => {
    await publish();
    expect(await asNode()).to.include({ kind: 'accepted' });
    expect(await run('root', 'add-key', ...at(), '--role', 'config', '--new', '--weak-scrypt-for-tests')).to.contain(
      'new config key',
    );
    expect(await roots()).to.deep.equal(['1.json', '2.json']);
    const more = [...at(), '--sign-with', key('config-4.json')];
    expect(await run('publish', ...more, '--snapshot', await draft())).to.contain('1 of 2');
    expect(await run('publish', ...at(), '--sign-with', key('config-1.json'))).to.contain('2 of 2');
    const outcome = await asNode();
    if (outcome.kind !== 'accepted') throw new Error(outcome.message);
    expect([outcome.config.version, outcome.config.root.version]).to.deep.equal([2, 2]);
    expect(outcome.config.signers.map(checksumAddress)).to.have.members([
      await address('config-1.json'),
      await address('config-4.json'),
    ]);
  });

  it('finishes a root only at both thresholds and says who is missing', async () => {
    const old = await address('root-1.json');
    const first = await rotate('--replace', `root=${old},new`, '--sign-with', key('root-2.json'));
    expect(first).to.contain(`root v1 needs 1 more of ${old} ${await address('root-3.json')}`);
    expect(first).to.contain('root v2 needs 1 more of');
    expect(await roots()).to.deep.equal(['1.json', 'next.json']);
    // the new key counts for root 2 alone
    const second = await run('root', 'sign', ...at(), '--sign-with', key('root-4.json'));
    expect(second).to.contain('root v1 needs 1 more of').and.not.to.contain('root v2 needs');
    expect(await failed('root', 'sign', ...at(), '--sign-with', key('root-4.json'))).to.contain('is not finished');
    expect(await failed('root', 'sign', ...at(), '--sign-with', key('config-1.json'))).to.contain(
      'is a root key neither',
    );
    expect(await failed('root', 'rotate', ...at())).to.contain('waits for signatures');
    expect(await run('root', 'sign', ...at(), '--sign-with', key('root-1.json'))).to.contain('is finished');
    expect(await roots()).to.deep.equal(['1.json', '2.json']);
    await publish();
    expect(await asNode()).to.include({ kind: 'accepted' });
  });

  it('changes thresholds and expiry, and refuses what no role can meet', async () => {
    expect(await failed('root', 'rotate', ...at(), '--threshold', 'config=4')).to.contain('threshold above');
    expect(await failed('root', 'rotate', ...at(), '--remove', `config=${testSigner('x').address}`)).to.contain(
      'is no config key',
    );
    expect(await failed('root', 'add-key', ...at(), '--role', 'config')).to.contain('one of --address and --new');
    expect(await failed('root', 'rotate', ...at(), '--add', 'config=0xABC')).to.contain('40 hex digits');
    expect(await roots()).to.deep.equal(['1.json']);
    await publish();
    expect(await rotate('--threshold', 'config=3', '--days', '10', '--add', 'online=new')).to.contain('publish again');
    const { document } = JSON.parse(await readFile(join(net, 'roots/2.json'), 'utf8'));
    const root = JSON.parse(document);
    expect(root.expiresAt - root.issuedAt).to.equal(10 * 86_400_000);
    expect(root.roles.config.threshold).to.equal(3);
    expect(root.roles.online).to.have.property('threshold', 1);
    expect(await publish()).to.contain('3 of 3 signatures');
    expect(await asNode()).to.include({ kind: 'accepted' });
  });

  it('rotates every key of a role away: the old ones sign no more', async () => {
    const ticket = (await openKey(key('ticket.key'), () => Promise.reject(new Error('asked')))).address;
    const swaps: string[] = [];
    for (const n of [1, 2, 3]) swaps.push('--replace', `config=${await address(`config-${n}.json`)},new`);
    await rotate(...swaps, '--replace', `ticket=${ticket},new`);
    const old = ['--sign-with', key('config-1.json')];
    expect(await failed('publish', ...at(), '--snapshot', await draft(), ...old)).to.contain(
      'no config key of root v2',
    );
    await publish();
    expect(await asNode()).to.include({ kind: 'accepted' });
    expect(await failed('ticket', ...at(), '--sign-with', key('ticket.key'))).to.contain('no ticket key of root v2');
  });

  it('recovers from a version that was pushed too far by an epoch', async () => {
    await publish({ version: Number.MAX_SAFE_INTEGER });
    expect(await asNode()).to.include({ kind: 'accepted' });
    expect(await failed('publish', ...at(), '--snapshot', await draft())).to.match(/9007199254740992|integer|version/);
    expect(await rotate('--raise-epoch')).to.contain('versions begin at 1');
    await publish();
    const outcome = await asNode();
    if (outcome.kind !== 'accepted') throw new Error(outcome.message);
    expect([outcome.config.epoch, outcome.config.version]).to.deep.equal([2, 1]);
  });

  it('brings an old content back under a new version and names what it rolls back to', async () => {
    await publish({ maxStalenessSeconds: 1000 });
    await publish({ maxStalenessSeconds: 2000 });
    expect(await run('rollback', ...at(), '--to', '1')).to.contain('configuration v3');
    const outcome = await asNode();
    if (outcome.kind !== 'accepted') throw new Error(outcome.message);
    expect(outcome.config.document.maxStalenessSeconds).to.equal(1000);
    const history = await run('history', '--dir', net);
    const first = /v1 {2}epoch 1 {2}(sha256:[0-9a-f]{64})/.exec(history)?.[1];
    expect(outcome.config.snapshot).to.include({ version: 3, rollbackOf: first });
    expect(history).to.contain('rollback to v1 (epoch 1)');
    expect(history).to.contain(`signed by ${await address('config-1.json')} ${await address('config-2.json')}`);
    expect(history).to.match(/root v1 {2}epoch 1 .*\n {2}root: 2 of 0x/);
    expect(await failed('rollback', ...at(), '--to', '9')).to.contain('it holds (epoch,version): 1,1 1,2 1,3');
  });

  it('shows what differs between versions, drafts and files', async () => {
    await publish();
    await publish({
      models: [testModel('tiny', { state: 'inactive' }), testModel('other')],
      jobs: { maxOutputTokens: 256, maxQueue: 8, timeouts: { firstTokenMs: 60_000, gapMs: 30_000, totalMs: 600_000 } },
      trustedSources: ['models.example', 'mirror.example'],
      runtimes: [],
    });
    expect((await run('diff', '1', '2', '--dir', net)).split('\n')).to.have.members([
      '+ model other:v1 (active, 1 files, 1 MiB)',
      '~ model tiny:v1 state: active → inactive',
      '~ jobs.maxOutputTokens: 512 → 256',
      '~ jobs.timeouts.totalMs: 300000 → 600000',
      '+ trustedSources: mirror.example',
      '- runtime vllm 0.32.0 cpu',
    ]);
    expect(await run('diff', '1,1', await draft(), '--dir', net)).to.equal('no difference');
    expect(await run('diff', 'current', '2', '--dir', net)).to.equal('no difference');
    expect(await run('diff', '2', await draft(), '--dir', net)).to.contain('- model other:v1');
  });

  it('signs tickets by hand that a node takes for an hour at most', async () => {
    await publish();
    const answer = JSON.parse(await run('ticket', ...at(), '--minutes', '5'));
    expect(answer.ticket.expiresAt - answer.ticket.issuedAt).to.equal(300_000);
    expect(await failed('ticket', ...at(), '--minutes', '61')).to.contain('1 … 60');
    const outcome = await asNode();
    expect(outcome).to.include({ kind: 'accepted', changed: true });
  });

  describe('against a running service', () => {
    it('shows in a dry run what changes on which nodes, sends roots and rollbacks', async () => {
      const service = await startService({
        data: join(dir, 'data'),
        root: await readFile(join(net, 'roots/1.json'), 'utf8'),
        signer: await openKey(key('ticket.key'), () => Promise.reject(new Error('asked'))),
        tls: {
          cert: await readFile(join(net, 'tls/tls.crt'), 'utf8'),
          key: await readFile(join(net, 'tls/tls.key'), 'utf8'),
        },
        host: '127.0.0.1',
        port: 0,
        authorities: ['net.example'],
        models: dir,
        keys: new ApiKeys('{"keys":[]}'),
        admission: { policy: 'open', token: () => undefined, allowed: new Set() },
        limits: DEFAULT_LIMITS,
        clock: systemClock,
        random: systemRandom,
        metrics: new Metrics(),
        log: createLogger('test', 'silent'),
      });
      try {
        await publish();
        const node = testSigner('n').address;
        const over = {
          models: [testModel('tiny', { state: 'archived' }), testModel('other')],
          participation: { testnet: false, mainnet: true },
        };
        const to = ['--to', `https://127.0.0.1:${service.port}`, '--ca', join(net, 'tls/ca.crt')];
        const shown = await publish(over, '--dry-run', ...to, '--node', checksumAddress(node));
        expect(shown).to.contain('nodes: none has registered').and.to.contain(`${node}  unknown to the service`);
        expect(shown).to.contain('~ model tiny:v1 state: active → archived');
        expect(shown).to.match(/at once:\n {2}tiny:v1 gets no more jobs \(archived\)\n {2}no node is offered any job/);
        expect(shown).to.contain('other:v1 is downloaded (1 MiB), tested and active');
        expect(shown).to.contain('nothing was signed, written or sent');
        expect(await publish(over, '--dry-run')).to.contain('nodes: not asked');
        expect(await readdir(join(net, 'publication/history'))).to.deep.equal(['1-1.json']);
        expect(await failed('root', 'send', '--dir', net, ...to)).to.contain('no root after the pinned one');
        await rotate('--days', '5');
        expect(await run('root', 'send', '--dir', net, ...to)).to.contain('root v2 is at');
        expect(service.publications.root.version).to.equal(2);
        await run('root', 'send', '--dir', net, ...to);
        expect(await run('rollback', ...at(), '--to', '1', '--service', to[1]!, '--ca', to[3]!)).to.contain(
          'published at',
        );
        expect(service.publications.reference?.version).to.equal(2);
      } finally {
        await service.close();
      }
    });
  });

  describe('with an engine to try', () => {
    let engine: Standin;
    const socket = (): string => join(dir, 'engine.sock');
    const model = (expected: object) =>
      testModel('tiny', {
        test: {
          request: { messages: [{ role: 'user', content: 'What is the capital of France?' }] },
          expect: expected,
        },
      });
    beforeEach(async () => {
      engine = await startStandin({ socketPath: socket(), model: 'tiny:v1' });
    });
    afterEach(() => engine.close());

    it('prints answer and first-token time, then signs', async () => {
      const shown = await publish({ models: [model({ contains: 'Paris' })] }, '--try', socket());
      expect(shown).to.match(/try tiny:v1: pass, first token \d+ ms\n +Paris\./);
      expect(shown).to.contain('2 of 2 signatures');
    });

    it('tries an engine behind a URL too', async () => {
      const tcp = createServer((socket) => void socket.pipe(connect(join(dir, 'engine.sock'))).pipe(socket));
      await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done));
      const url = `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
      try {
        const shown = await publish({ models: [model({ contains: 'Paris' })] }, '--dry-run', '--try', url);
        expect(shown).to.contain('try tiny:v1: pass').and.to.contain('nothing was signed');
      } finally {
        tcp.close();
      }
    });

    it('signs nothing when an answer is wrong, late, or nobody serves a model', async () => {
      const attempt = async (models: unknown[]) =>
        failed('publish', ...at(), '--snapshot', await draft({ models }), '--try', socket());
      expect(await attempt([model({ contains: 'London' })])).to.contain('tiny:v1 failed; nothing was signed');
      expect(out.join()).to.contain('FAIL, the answer does not contain "London"');
      await attempt([model({ regex: '^Lond' })]);
      expect(out.join()).to.contain('FAIL, the answer does not match /^Lond/');
      await attempt([model({ contains: 'Paris', maxFirstTokenMs: 0 })]);
      expect(out.join()).to.contain('FAIL, above maxFirstTokenMs 0');
      await attempt([testModel('other')]);
      expect(out.join()).to.contain('no engine given serves it (served: tiny:v1)');
      engine.setMode('error-500');
      await attempt([model({ contains: 'Paris' })]);
      expect(out.join()).to.contain('FAIL, engine_error');
      expect(await failed('publish', ...at(), '--snapshot', await draft(), '--try', join(dir, 'none'))).to.contain(
        'does not answer',
      );
      expect(await readdir(net)).not.to.include('publication');
    });
  });
});
