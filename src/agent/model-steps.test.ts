import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { openShared, unlimited } from '../models/index.ts';
import { modelDigest } from '../protocol/index.ts';
import { agentMetrics } from './job-metrics.ts';
import { ModelBook } from './model-book.ts';
import { modelPorts, readCredentials } from './model-ports.ts';
import { ModelSteps, type ServePlan } from './model-steps.ts';
import type { Settings } from './settings.ts';

const weights = Buffer.from('right weights');
const files = [
  { path: 'sub/model.safetensors', size: weights.length, sha256: createHash('sha256').update(weights).digest('hex') },
];
const digest = modelDigest(files);
const never = new AbortController().signal;

describe('files that change between hash and engine', () => {
  let root: string;
  let folder: string;
  let file: string;
  let steps: ModelSteps;
  let starts: number;
  let released: boolean[];
  /** What somebody does while the engine reads. */
  let meanwhile: () => void;
  const plan = {
    kind: 'serve',
    key: 'k',
    model: { ref: 'm:v1', digest, files, state: 'active', requires: { diskMiB: 0 }, sources: [] },
    document: { trustedSources: [] },
  } as unknown as ServePlan;
  const refused = (): Promise<string> =>
    steps.load(plan, false, never).then(
      () => 'loaded',
      (error: { code: string }) => error.code,
    );

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'steps-'));
    folder = join(root, digest.replace(':', '-'));
    file = join(folder, 'sub/model.safetensors');
    mkdirSync(join(folder, 'sub'), { recursive: true });
    writeFileSync(file, weights);
    meanwhile = () => {};
    starts = 0;
    released = [];
    const clock = new FakeClock();
    const loader = {
      load: async () => {
        meanwhile();
        return ++starts;
      },
      release: async (stop: boolean) => released.push(stop),
    };
    steps = new ModelSteps(
      {
        config: { accepted: null },
        watch: { look: async () => ({ facts: null }) } as never,
        loader: loader as never,
        engine: { run: () => expect.fail('no test here') },
        engineVersion: () => '0.32.0',
        install: {
          shared: openShared(root, { owner: 'me', boot: 'b', clock, renewMs: 5_000, ttlMs: 30_000 }),
          dispatcher: {} as never,
          credentials: async () => new Map(),
          pace: unlimited,
        },
        sourceRules: { allowInsecureHosts: [], mirrors: [] },
        idle: async () => {},
        clock,
        logger: createLogger('test', 'error', { write: () => {} }),
        metrics: agentMetrics(new Metrics()),
      },
      new ModelBook(clock, () => {}),
    );
    await steps.install(plan, false, never);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('are loaded when nothing changed', async () => {
    expect(await steps.load(plan, false, never)).to.equal(1);
  });

  const swaps: [string, () => void][] = [
    [
      'a byte is flipped and flipped back',
      () => {
        for (const byte of [0x21, weights[3] as number]) {
          const bytes = readFileSync(file);
          bytes[3] = byte;
          writeFileSync(file, bytes);
        }
      },
    ],
    [
      'the file is exchanged for a link and back',
      () => {
        renameSync(file, join(root, 'aside'));
        symlinkSync('/etc/hostname', file);
        rmSync(file);
        renameSync(join(root, 'aside'), file);
      },
    ],
    [
      'the whole folder is renamed over',
      () => {
        renameSync(folder, join(root, 'aside'));
        mkdirSync(join(folder, 'sub'), { recursive: true });
        writeFileSync(file, weights);
      },
    ],
    ['a file is made writable', () => chmodSync(file, 0o666)],
  ];
  for (const [what, swap] of swaps)
    it(`are never served when ${what} while the engine reads`, async () => {
      meanwhile = swap;
      expect(await refused()).to.equal('digest_mismatch');
      expect(readFileSync(file).equals(weights), 'and yet every byte is right now').to.equal(true);
    });

  it('are hashed again, and only another engine may have them', async () => {
    meanwhile = () => chmodSync(file, 0o600);
    expect(await refused()).to.equal('digest_mismatch');
    meanwhile = () => {};
    await steps.purge(null, never);
    expect(released).to.deep.equal([true]);
    steps.verified.clear();
    await steps.install(plan, false, never);
    starts = 0; // the launcher did not end the engine that read them
    expect(await refused()).to.equal('digest_mismatch');
    expect(await steps.load(plan, false, never)).to.equal(2);
  });
});

describe('the limit of downloads', () => {
  it('is that of the settings, and there is none without one', async () => {
    const clock = new FakeClock();
    const settings = { paths: { models: '/models', sources: '/none' }, pod: { uid: 'u' } } as unknown as Settings;
    const limited = modelPorts({ ...settings, downloadMiBPerSecond: 2 }, '0x1', {} as never, clock);
    let passed = false;
    const taken = limited.pace.take(2 ** 21).then(() => {
      passed = true;
    });
    await clock.advance(749);
    expect(passed).to.equal(false);
    await clock.advance(1);
    await taken;
    expect(await modelPorts(settings, '0x1', {} as never, clock).pace.take(2 ** 30)).to.equal(false);
  });
});

describe('credentials of model sources', () => {
  it('are read from a mounted Secret, one file per host, and show in no text', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'credentials-'));
    mkdirSync(join(dir, '..data'));
    writeFileSync(join(dir, 'Models.Example.com'), 'reader:secret\n');
    writeFileSync(join(dir, 'empty.example.com'), '\n');
    const found = await readCredentials(dir);
    expect([...found.keys()]).to.deep.equal(['models.example.com']);
    expect(found.get('models.example.com')?.reveal()).to.equal('reader:secret');
    expect(JSON.stringify([...found])).to.not.contain('reader');
    expect((await readCredentials(join(dir, 'nowhere'))).size).to.equal(0);
    rmSync(dir, { recursive: true });
  });
});
