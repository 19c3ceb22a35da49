import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Agent } from 'undici';
import { FileSource } from '../../test/support/file-source.ts';
import type { ModelEntry } from '../config/index.ts';
import { systemClock } from '../lib/clock.ts';
import type { CodedError } from '../lib/errors.ts';
import { createLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { openShared, unlimited, verifyFolder } from '../models/index.ts';
import { modelDigest } from '../protocol/index.ts';
import { agentMetrics } from './job-metrics.ts';
import { type InstallOptions, installModel } from './model-install.ts';
import { quarantineReason } from './quarantine-reason.ts';

const weights = randomBytes(200_000);
const config = Buffer.from('{"architectures":["Llama"]}');
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const files = [
  { path: 'sub/config.json', size: config.length, sha256: sha(config) },
  { path: 'model.safetensors', size: weights.length, sha256: sha(weights) },
];
const digest = modelDigest(files);
const never = new AbortController().signal;

describe('the installation of a model', () => {
  let root: string;
  let folder: string;
  let source: FileSource;
  let dispatcher: Agent;
  let model: ModelEntry;
  let boots = 0;

  /** Each call is another start of the agent: nothing is remembered as hashed. */
  const install = (more: Partial<InstallOptions> = {}, signal = never): Promise<string> =>
    installModel(
      model,
      {
        shared: openShared(root, { owner: 'me', boot: `${++boots}`, clock: systemClock, renewMs: 1_000, ttlMs: 5_000 }),
        dispatcher,
        policy: { trustedSources: ['127.0.0.1'], allowInsecureHosts: [], mirrors: [] },
        credentials: async () => new Map(),
        pace: unlimited,
        clock: systemClock,
        logger: createLogger('test', 'silent'),
        metrics: agentMetrics(new Metrics()),
        verified: new Map(),
        standing: () => 'no',
        onStep: () => {},
        ...more,
      },
      signal,
    );
  const put = (at: string, bytes: Buffer = weights): void => {
    mkdirSync(join(at, 'sub'), { recursive: true });
    writeFileSync(join(at, 'model.safetensors'), bytes);
    writeFileSync(join(at, 'sub/config.json'), config);
  };
  const writable = (at: string): void => {
    for (const name of readdirSync(at, { recursive: true }))
      if (statSync(join(at, String(name))).isDirectory()) chmodSync(join(at, String(name)), 0o755);
  };

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'install-'));
    folder = join(root, digest.replace(':', '-'));
    source = await new FileSource().listen();
    source.files.set('model.safetensors', weights).set('sub/config.json', config);
    dispatcher = new Agent();
    model = { ref: 'm:v1', digest, files, sources: [source.url], requires: { diskMiB: 0 } } as unknown as ModelEntry;
  });
  afterEach(async () => {
    source.close();
    await dispatcher.destroy();
    if (existsSync(folder)) writable(root);
    rmSync(root, { recursive: true, force: true });
  });

  it('takes what lies there and is right without asking anybody', async () => {
    put(folder);
    await install();
    expect(source.asked).to.deep.equal([]);
  });

  const part = (n: number): string => join(root, `.${digest.replace(':', '-')}.part.${n}`);
  const lock = (n: number): string => join(root, `.${digest.replace(':', '-')}.lock.${n}`);
  const zeros = Buffer.alloc(weights.length);
  // what can lie on a disk whose power went at each write of an installation, and what a torn disk can add
  const cuts: [string, () => void][] = [
    ['an empty lease', () => writeFileSync(lock(1), '')],
    ['a torn lease', () => writeFileSync(lock(3), '{"owner":"m')],
    ['a staging folder without files', () => mkdirSync(part(1))],
    ['a staged file of zeros, as long as a whole one', () => put(part(1), zeros)],
    ['a staged file that is longer', () => put(part(1), Buffer.concat([weights, zeros]))],
    ['a staged file that is a folder', () => mkdirSync(join(part(1), 'model.safetensors'), { recursive: true })],
    [
      'a staging folder that is read-only already',
      () => {
        put(part(1));
        chmodSync(join(part(1), 'sub'), 0o555);
        chmodSync(part(1), 0o555);
      },
    ],
    [
      'two staging folders',
      () => {
        put(part(1), zeros);
        put(part(2));
      },
    ],
    [
      'a folder in its place, its data lost',
      () => {
        put(folder);
        truncateSync(join(folder, 'model.safetensors'), 0);
      },
    ],
    ['a folder in its place, its data zeros', () => put(folder, zeros)],
    [
      'a folder in its place without its inner one',
      () => {
        put(folder);
        rmSync(join(folder, 'sub'), { recursive: true });
      },
    ],
    [
      'a folder in its place with one file more',
      () => {
        put(folder);
        writeFileSync(join(folder, 'sub/evil.py'), '');
      },
    ],
    ['a link in its place', () => symlinkSync('/etc', folder)],
    [
      'a file that became a link',
      () => {
        put(folder);
        rmSync(join(folder, 'model.safetensors'));
        symlinkSync(join(root, 'elsewhere'), join(folder, 'model.safetensors'));
        writeFileSync(join(root, 'elsewhere'), weights);
      },
    ],
    ['a removal that was cut short', () => put(join(root, '.trash-x'))],
  ];
  for (const [what, leave] of cuts)
    it(`is whole and right after a start that finds ${what}`, async () => {
      leave();
      // a lease that nobody can read counts as held: an agent that is really gone is waited for
      const path = await install(what.includes('lease') ? { clock: systemClock } : {}, AbortSignal.timeout(15_000));
      expect(path).to.equal(folder);
      expect(await verifyFolder(folder, files)).to.include({ ok: true });
      expect(statSync(join(folder, 'model.safetensors')).mode & 0o777).to.equal(0o444);
      expect([statSync(folder), statSync(join(folder, 'sub'))].map((s) => s.mode & 0o777)).to.deep.equal([
        0o555, 0o555,
      ]);
      expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).to.equal(true);
      const rest = readdirSync(root).filter((name) => /part|trash/.test(name));
      expect(rest).to.deep.equal([]);
    }).timeout(60_000);

  it('hashes a folder again when its seal is another one, and only then', async () => {
    const verified = new Map();
    await install({ verified });
    const asked = source.asked.length;
    const shared = openShared(root, { owner: 'me', boot: 'again', clock: systemClock, renewMs: 1_000, ttlMs: 5_000 });
    await install({ verified, shared });
    expect([...shared.uses.own], 'nobody may remove it from here on').to.deep.equal([digest]);
    const steps: string[] = [];
    const onStep = (step: string): void => void steps.push(step);
    await install({ verified, onStep });
    expect(steps).to.deep.equal([]);
    chmodSync(join(folder, 'model.safetensors'), 0o400);
    await install({ verified, onStep });
    expect(new Set(steps)).to.deep.equal(new Set(['verifying']));
    expect(source.asked).to.have.length(asked);
  });

  it('asks for no byte when requires.diskMiB does not fit, whatever the files add up to', async () => {
    model = { ...model, requires: { ...model.requires, diskMiB: 2 ** 40 } };
    const error = await install().then(
      () => null,
      (e: { code: string; message: string }) => e,
    );
    expect(error?.code).to.equal('insufficient_disk');
    expect(error?.message).to.match(
      /^\d+ MiB missing on .*install-.*: 1099511627776 MiB to download, 256 MiB kept free/,
    );
    expect(source.asked).to.deep.equal([]);
  });

  it('says who must be able to write when the volume cannot be written', async () => {
    const shared = openShared(root, { owner: 'me', boot: 'b', clock: systemClock, renewMs: 1_000, ttlMs: 5_000 });
    shared.store.sweep = () =>
      Promise.reject(Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' }));
    const error = await install({ shared }).catch((e: unknown) => e as CodedError);
    expect(error).to.include({ code: 'state_unwritable' });
    expect(quarantineReason(error)).to.equal('VolumeUnwritable');
    expect((error as CodedError).message).to.contain('make it writable for user 10001, group 10001');
  });

  it('tells bytes, rate and time on the way', async () => {
    const seen: { bytes: number; total: number }[] = [];
    await install({ onStep: (_step, _percent, progress) => progress && seen.push(progress) });
    const total = weights.length + config.length;
    expect(seen.at(-1)).to.include({ bytes: total, total });
    expect(seen.every((p, i) => i === 0 || p.bytes >= (seen[i - 1]?.bytes ?? 0))).to.equal(true);
  });
});
