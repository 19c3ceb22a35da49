import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { LeapClock } from '../../test/support/leap-clock.ts';
import { MINI_MODEL, MiniNetwork } from '../../test/support/mini-network.ts';
import { until } from '../../test/support/until.ts';
import type { ModelEntry } from '../config/index.ts';
import type { CodedError } from '../lib/errors.ts';
import { createLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { type ModelManifest, openShared, type Shared, sealOf } from '../models/index.ts';
import { modelDigest, type Sha256 } from '../protocol/index.ts';
import { agentMetrics } from './job-metrics.ts';
import { ModelBook } from './model-book.ts';
import { dueOf, ModelReview } from './model-review.ts';

const DAY_MS = 86_400_000;
const bytesOf = (name: string): Buffer => Buffer.from(`the weights of ${name}`);
const filesOf = (name: string): ModelManifest['files'] => [
  {
    path: 'model.safetensors',
    size: bytesOf(name).length,
    sha256: createHash('sha256').update(bytesOf(name)).digest('hex'),
  },
];
const folderOf = (root: string, digest: Sha256): string => join(root, digest.replace(':', '-'));
const putModel = (root: string, name: string): string => {
  const folder = folderOf(root, modelDigest(filesOf(name)));
  mkdirSync(folder);
  const path = join(folder, 'model.safetensors');
  writeFileSync(path, bytesOf(name));
  chmodSync(path, 0o444);
  chmodSync(folder, 0o555);
  return path;
};
/** One bit, the size and the name as they were. */
const flip = (path: string): void => {
  const bytes = readFileSync(path);
  bytes[5]! ^= 1;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
  chmodSync(path, 0o444);
};

describe('the review of a running agent', function () {
  this.timeout(60_000);
  const clock = new LeapClock();
  let network: MiniNetwork;
  let rig: AgentRig;
  const leap = (ms: number): void => {
    clock.leap(ms);
    network.skewMs += ms;
  };
  const model = (ref: string) => rig.agent?.view().models.find((m) => m.ref === ref);
  const told = (): string[] =>
    network.of('heartbeat').map((h) => h.body.models.find((m: { model: string }) => m.model === MINI_MODEL)?.state);

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
    const ttl = { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 15_000, retryMs: 20_000, cacheMs: 60_000 };
    const other = network.model({ name: 'other', files: filesOf('other'), digest: modelDigest(filesOf('other')) });
    network.publish({ models: [network.model(), other], ttl });
    const { endpoint, kit } = network;
    rig = new AgentRig({ endpoint, network: 'testnet', pinnedRoot: kit.pinnedRoot, clock });
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(rig.logs.join(''));
    for (const digest of [network.modelDigest, modelDigest(filesOf('other'))])
      try {
        chmodSync(folderOf(rig.paths.models as string, digest), 0o755);
      } catch {
        // not installed
      }
    await rig.close();
    await network.close();
  });

  it('finds a flipped byte, puts that model aside, fetches it again and serves it, alone', async () => {
    const root = rig.paths.models as string;
    const other = putModel(root, 'other');
    writeFileSync(join(rig.paths.sources as string, '127.0.0.1'), 'a-token-that-nobody-may-log\n');
    await rig.startAgent();
    rig.startLauncher();
    await until('Active', () => network.connected && rig.agent?.view().loaded === MINI_MODEL, 30_000);
    leap(15_000);
    await until('the other one is known', () => model('other:v1')?.status.state === 'inactive');
    const before = statSync(other);
    const engine = rig.agent?.view().engine.facts?.startedAt;
    const file = join(folderOf(root, network.modelDigest), 'model.safetensors');
    const right = readFileSync(file);
    flip(file);
    leap(15_000);
    await until('Failed', () => model(MINI_MODEL)?.status.state === 'failed', 20_000);
    expect(model(MINI_MODEL)?.status).to.include({ reason: 'DigestMismatch', failures: 1 });
    expect(rig.agent?.view().loaded).to.equal(null);
    await until('connected', () => network.connected);
    network.offer({ jobId: 'between' });
    await until('a reject', () => network.of('job.reject').length === 1);
    expect(network.of('job.reject')[0]?.body.code).to.equal('model_not_active');
    leap(20_000);
    await until('Active again', () => rig.agent?.view().loaded === MINI_MODEL, 30_000);
    expect(readFileSync(file).equals(right)).to.equal(true);
    expect(statSync(file).mode & 0o777).to.equal(0o444);
    expect(rig.agent?.view().engine.facts?.startedAt, 'an engine that may have read it is not used again').to.not.equal(
      engine,
    );
    await until('told', () => told().at(-1) === 'active');
    const states = told().filter((state, i, all) => state !== undefined && state !== all[i - 1]);
    expect(states.slice(states.indexOf('active'))).to.deep.equal(['active', 'failed', 'pending', 'active']);
    expect([statSync(other).ino, statSync(other).ctimeMs]).to.deep.equal([before.ino, before.ctimeMs]);
    expect(model('other:v1')?.status).to.include({ state: 'inactive', reason: 'NotAssigned' });
    await until('connected', () => network.connected);
    network.offer({ jobId: 'after', stream: false });
    await until('its result', () => network.results.length === 1, 15_000);
    const answer = await fetch(`http://127.0.0.1:${rig.agent?.port}/statusz`);
    const statusz = (await answer.json()) as { tests: object[]; downloads: object[] };
    expect(statusz.tests).to.have.length(1);
    expect(statusz.tests[0]).to.include({ model: MINI_MODEL, engine: '0.32.0' });
    expect(statusz.downloads).to.deep.equal([]);
    // the source had its credential, and nobody else saw it
    const files = network.calls.filter((c) => c.path.startsWith('/files/'));
    expect(new Set(files.map((c) => c.authorization))).to.deep.equal(new Set(['Bearer a-token-that-nobody-may-log']));
    expect(network.calls.filter((c) => !c.path.startsWith('/files/') && c.authorization !== undefined)).to.deep.equal(
      [],
    );
    expect(rig.logs.join('') + network.logs.join('')).not.to.contain('a-token-that-nobody-may-log');
  });
});

describe('a review of the models on the disk', () => {
  let root: string;
  let clock: FakeClock;
  let wanted: string | undefined;
  let spoiled: CodedError[];
  let models: ModelEntry[];
  let book: ModelBook;
  let verified: Map<Sha256, string>;
  let review: ModelReview;
  let shared: Shared;
  const never = new AbortController().signal;
  const entry = (name: string, state: ModelEntry['state'] = 'active'): ModelEntry =>
    ({ ref: `${name}:v1`, digest: modelDigest(filesOf(name)), state, files: filesOf(name) }) as unknown as ModelEntry;
  const state = (name: string): string => {
    const { status } = book.view(entry(name)) ?? {};
    return status ? `${status.state}${'reason' in status ? ` ${status.reason}` : ''}` : 'unknown';
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'review-'));
    clock = new FakeClock();
    wanted = undefined;
    spoiled = [];
    models = [];
    verified = new Map();
    book = new ModelBook(clock, () => {});
    const ttl = { cacheMs: 60_000, pollMs: 60_000 };
    shared = openShared(root, { owner: 'me', boot: 'b', clock, renewMs: 5_000, ttlMs: 30_000 });
    review = new ModelReview({
      shared,
      book,
      verified,
      config: {
        get accepted() {
          return { document: { models, ttl } } as never;
        },
        applied: null,
        retryMs: 1_000,
      },
      wanted: () => models.find((m) => m.ref === wanted),
      told: () => false,
      onSpoiled: (error) => spoiled.push(error),
      clock,
      logger: createLogger('test', 'error', { write: () => {} }),
      metrics: agentMetrics(new Metrics()),
      record: () => {},
    });
  });
  afterEach(() => {
    for (const name of ['a', 'b'])
      try {
        chmodSync(folderOf(root, modelDigest(filesOf(name))), 0o755);
      } catch {
        // gone
      }
    rmSync(root, { recursive: true, force: true });
  });

  it('hashes at first sight, when the seal changed, and once a day; the wanted model first by the manager', () => {
    const of = { hashed: 's', seal: 's', dueAt: 100, now: 50, wanted: true };
    expect(dueOf(of)).to.equal(undefined);
    expect(dueOf({ ...of, seal: 't' })).to.equal('changed');
    expect(dueOf({ ...of, now: 100 })).to.equal('daily');
    expect(dueOf({ ...of, hashed: undefined })).to.equal(undefined);
    expect(dueOf({ ...of, hashed: undefined, wanted: false })).to.equal('first');
  });

  it('finds within a day what no seal shows, removes it at once, and tells the manager of the wanted one alone', async () => {
    models = [entry('a'), entry('b')];
    wanted = 'a:v1';
    for (const name of ['a', 'b']) flip(putModel(root, name));
    // a bit that the disk itself turned: the file system knows of no change
    for (const m of models) verified.set(m.digest, await sealOf(folderOf(root, m.digest), m.files));
    await review.round(never);
    expect(spoiled).to.deep.equal([]);
    expect(state('b')).to.equal('inactive NotAssigned');
    await clock.advance(1.2 * DAY_MS);
    await review.round(never);
    expect(spoiled.map((e) => e.code)).to.deep.equal(['digest_mismatch']);
    expect([...verified.keys()]).to.deep.equal([]);
    expect(state('b')).to.equal('failed DigestMismatch');
    expect(state('a')).to.equal('unknown');
    await clock.advance(2_000);
    await review.round(never);
    expect(state('b'), 'its files are gone; it can be fetched again').to.equal('archived');
  });

  it('leaves a wrong folder alone that somebody works on, and one that was replaced while it was hashed', async () => {
    models = [entry('a')];
    const path = putModel(root, 'a');
    flip(path);
    const holder = { owner: 'you', boot: 'c', clock, renewMs: 5_000, ttlMs: 30_000 };
    const lease = await openShared(root, holder).leases.acquire(shared.store.lockOf(entry('a').digest), {});
    await review.round(never);
    expect(statSync(path).size, 'it is somebody else’s to mend').to.equal(bytesOf('a').length);
    await lease.release();
    const acquire = shared.leases.acquire.bind(shared.leases);
    shared.leases.acquire = ((name: string, options: { wait: false }) => {
      flip(path); // right again
      return acquire(name, options);
    }) as typeof acquire;
    await review.round(never);
    expect(readFileSync(path).equals(bytesOf('a'))).to.equal(true);
    shared.leases.acquire = acquire;
    await review.round(never);
    expect(state('a')).to.equal('inactive NotAssigned');
  });

  it('shows what is installed and not served, and removes what is archived after the cache time', async () => {
    models = [entry('a'), entry('b', 'inactive')];
    for (const name of ['a', 'b']) putModel(root, name);
    await review.round(never);
    expect([state('a'), state('b')]).to.deep.equal(['inactive NotAssigned', 'inactive Disabled']);
    models = [entry('a'), entry('b', 'archived')];
    await review.round(never);
    expect(state('b')).to.equal('archived');
    await clock.advance(60_000);
    await review.round(never);
    expect(() => statSync(folderOf(root, entry('b').digest))).to.throw('ENOENT');
    expect(state('a')).to.equal('inactive NotAssigned');
    models = [];
    await review.round(never);
    expect([state('a'), state('b')]).to.deep.equal(['unknown', 'unknown']);
    expect(statSync(folderOf(root, entry('a').digest)).isDirectory()).to.equal(true);
  });
});
