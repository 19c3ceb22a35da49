import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FileSource } from '../../test/support/file-source.ts';
import { until } from '../../test/support/until.ts';
import { modelDigest } from '../protocol/model-digest.ts';
import type { Lease } from './lease.ts';
import { makeRoom, openShared, othersMissing, removeUnlisted, type Shared } from './tidy.ts';

const NAME = 'lock';
const A = `sha256:${'a'.repeat(64)}` as const;
const B = `sha256:${'b'.repeat(64)}` as const;

describe('a models folder that agents share', () => {
  let dir: string;
  let clock: FakeClock;
  const agent = (owner: string, boot = owner, at = clock): Shared =>
    openShared(dir, { owner, boot, clock: at, renewMs: 5_000, ttlMs: 30_000 });
  const installed = (digest: typeof A | typeof B, bytes = 10): void => {
    const path = join(dir, digest.replace(':', '-'));
    mkdirSync(path);
    writeFileSync(join(path, 'x.safetensors'), Buffer.alloc(bytes));
  };

  /** Time for loops that touch the disk at each turn: goes on when all of them sleep again. */
  const pass = async (ms: number, sleepers: number): Promise<void> => {
    for (let at = 0; at < ms; at += 1_000) {
      await until('all sleep', () => clock.waiting === sleepers);
      await clock.advance(1_000);
    }
  };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'shared-'));
    clock = new FakeClock();
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('gives a lease to one at a time, and to the next when it is released', async () => {
    const first = await agent('one').leases.acquire(NAME, {});
    let second: Lease | undefined;
    const waiting = agent('two').leases.acquire(NAME, {});
    void waiting.then((lease) => {
      second = lease;
    });
    await pass(60_000, 2);
    expect(second, 'renewed, so alive').to.equal(undefined);
    await first.release();
    await pass(5_000, 1);
    await until('the second has it', () => second !== undefined);
    expect(second).to.include({ n: 2, forced: false });
    await second?.release();
    expect(clock.waiting).to.equal(0);
  });

  it('is taken over only after the holder showed nothing for the time to live, and the holder learns it', async () => {
    const asleep = new FakeClock();
    const first = await agent('one', 'one', asleep).leases.acquire(NAME, {});
    let second: Lease | undefined;
    void agent('two')
      .leases.acquire(NAME, {})
      .then((lease) => {
        second = lease;
      });
    await pass(29_000, 1);
    expect(second).to.equal(undefined);
    await pass(6_000, 1);
    await until('the second has it', () => second !== undefined);
    expect(second).to.include({ n: 2, forced: true });
    expect(first.lost.aborted).to.equal(false);
    await asleep.advance(5_000);
    await until('it knows', () => first.lost.aborted);
    await first.check().then(
      () => expect.fail('it is lost'),
      (error: { code: string }) => expect(error.code).to.equal('lease_lost'),
    );
    await first.release();
    await second?.check();
    await second?.release();
  });

  it('believes no wall clock: a jump by a year takes nothing over', async () => {
    const first = await agent('one').leases.acquire(NAME, {});
    let taken = false;
    const stop = new AbortController();
    void agent('two')
      .leases.acquire(NAME, { signal: stop.signal })
      .then(
        () => {
          taken = true;
        },
        () => {},
      );
    clock.jumpWall(365 * 86_400_000);
    await pass(120_000, 2);
    expect(taken).to.equal(false);
    stop.abort();
    await first.release();
  });

  it('has one winner when many see the same holder die', async () => {
    const asleep = new FakeClock();
    await agent('dead', 'dead', asleep).leases.acquire(NAME, {});
    const won: number[] = [];
    const stop = new AbortController();
    const all = Array.from({ length: 8 }, (_, i) =>
      agent(`a${i}`)
        .leases.acquire(NAME, { signal: stop.signal })
        .then(
          () => won.push(i),
          () => {},
        ),
    );
    await pass(30_000, 8);
    await until('a winner', () => won.length > 0);
    await pass(5_000, 8);
    expect(won).to.have.length(1);
    stop.abort();
    await Promise.all(all);
  });

  it('has one winner when many ask at the same moment', async () => {
    const asked = Array.from({ length: 8 }, (_, i) => agent(`a${i}`).leases.acquire(NAME, { wait: false }));
    const won = (await Promise.all(asked)).filter((lease) => lease !== undefined);
    expect(won).to.have.length(1);
    await won[0]?.release();
  });

  it('does not wait for an earlier process of the same agent', async () => {
    await agent('one', 'before', new FakeClock()).leases.acquire(NAME, {});
    const again = await agent('one', 'after').leases.acquire(NAME, {});
    expect(again).to.include({ n: 2, forced: false });
    await again.release();
  });

  it('never removes what another agent has in its engine, and does when its lease is dead', async () => {
    installed(A);
    const mine = agent('one');
    const other = agent('two');
    await other.uses.only(new Set([A]));
    const stop = new AbortController();
    const renewing = other.uses.run(stop.signal);
    await removeUnlisted(mine, new Set(), 0);
    await clock.advance(300_000);
    expect(await removeUnlisted(mine, new Set(), 0)).to.deep.equal([]);
    expect(await makeRoom(mine, 1, () => 'no')).to.deep.equal([]);
    expect(await mine.store.has(A)).to.equal(true);
    // the other one is gone without a word
    stop.abort();
    await renewing;
    await other.uses.only(new Set([A]));
    expect(await removeUnlisted(mine, new Set(), 0)).to.deep.equal([]);
    await clock.advance(30_000);
    expect(await removeUnlisted(mine, new Set(), 0)).to.deep.equal([A]);
    expect(readdirSync(dir).filter((name) => !name.includes('.lock.'))).to.deep.equal([]);
  });

  it('waits for the cache time, whatever the wall clock does, and anew after somebody listed the model', async () => {
    installed(A);
    const mine = agent('one');
    const tidy = (listed: (typeof A)[] = []): Promise<unknown[]> => removeUnlisted(mine, new Set(listed), 60_000);
    expect(await tidy()).to.deep.equal([]);
    clock.jumpWall(365 * 86_400_000);
    expect(await tidy()).to.deep.equal([]);
    clock.jumpWall(-730 * 86_400_000);
    await clock.advance(59_000);
    expect(await tidy()).to.deep.equal([]);
    await removeUnlisted(agent('two'), new Set([A]), 60_000);
    await clock.advance(59_000);
    expect(await tidy(), 'another agent lists it').to.deep.equal([]);
    await clock.advance(60_000);
    expect(await tidy()).to.deep.equal([A]);
  });

  it('makes room by the rule, the least recently used first, and nothing when all would not do', async () => {
    installed(A, 1_000);
    installed(B, 1_000);
    const mine = agent('one');
    await mine.store.touch(A, 2_000_000);
    await mine.store.touch(B, 1_000_000);
    expect(await makeRoom(mine, 3_000, () => 'other')).to.deep.equal([]);
    expect(await makeRoom(mine, 500, () => 'other')).to.deep.equal([B]);
    await mine.uses.only(new Set([A]));
    expect(await makeRoom(mine, 500, () => 'other')).to.deep.equal([]);
  });

  it('counts what others still have to download to the same volume', async () => {
    const lease = await agent('two').leases.acquire(agent('two').store.lockOf(A), { bytes: 1_000 });
    const staging = await agent('two').store.stage(A, lease);
    writeFileSync(join(staging, 'x'), Buffer.alloc(300));
    expect(await othersMissing(agent('one'), B)).to.equal(700);
    expect(await othersMissing(agent('one'), A)).to.equal(0);
    await lease.release();
    expect(await othersMissing(agent('one'), B)).to.equal(0);
  });

  it('keeps a writer that only slept away from the files of who took over', async () => {
    const first = await agent('one', 'one', new FakeClock()).leases.acquire(NAME, {});
    const { store } = agent('one');
    const slept = join(await store.stage(A, first), 'x.safetensors');
    writeFileSync(slept, 'right');
    const handle = openSync(slept, 'r+');
    const taken = join(await store.stage(A, { n: 2, forced: true }), 'x.safetensors');
    expect(readFileSync(taken, 'utf8')).to.equal('right');
    writeSync(handle, 'WRONG', 0);
    expect(readFileSync(taken, 'utf8')).to.equal('right');
    expect(() => openSync(slept, 'r+')).to.throw('ENOENT');
  });

  it('keeps a publisher that only slept from touching what its successor installed', async () => {
    const files = [{ path: 'x.safetensors', size: 5, sha256: 'f'.repeat(64) }];
    const { store } = agent('one');
    const slept = await store.stage(A, { n: 1, forced: false });
    writeFileSync(join(slept, 'x.safetensors'), 'right');
    const taken = await store.stage(A, { n: 2, forced: true });
    const publish = (staging: string): Promise<string> =>
      store.publish(A, files, staging).then(
        () => 'published',
        (error: NodeJS.ErrnoException) => error.code ?? '',
      );
    expect(await publish(taken)).to.equal('published');
    const { ino } = statSync(store.pathOf(A));
    expect(await publish(slept), 'its folder is gone').to.equal('ENOENT');
    mkdirSync(slept);
    writeFileSync(join(slept, 'x.safetensors'), 'WRONG');
    expect(await publish(slept), 'it made one more').to.equal('lease_lost');
    expect(statSync(store.pathOf(A)).ino).to.equal(ino);
    expect(readFileSync(join(store.pathOf(A), 'x.safetensors'), 'utf8')).to.equal('right');
    await store.remove(A);
  });

  describe('by two processes', function () {
    this.timeout(60_000);
    const bytes = randomBytes(3_000_000);
    const files = [
      { path: 'model.safetensors', size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') },
    ];
    const model = { name: 'm', version: 'v1', digest: modelDigest(files), files, requires: { diskMiB: 0 } };
    let source: FileSource;
    let processes: ChildProcess[];
    const start = (owner: string): { said: string[]; process: ChildProcess } => {
      const program = join(import.meta.dirname, '../../test/standin/model-downloader.ts');
      const child = spawn(process.execPath, [program, dir, source.url, JSON.stringify(model), owner], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const said: string[] = [];
      child.stdout.on('data', (text: Buffer) => said.push(...text.toString().trim().split('\n')));
      processes.push(child);
      return { said, process: child };
    };

    beforeEach(async () => {
      processes = [];
      source = await new FileSource().listen();
      source.files.set('model.safetensors', bytes);
    });
    afterEach(() => {
      for (const child of processes) child.kill('SIGKILL');
      source.close();
    });

    it('is downloaded once', async () => {
      let go = (): void => {};
      source.before = (req, res) => {
        go = () => source.serve(req, res);
        return true;
      };
      const one = start('one');
      await until('asked', () => source.asked.length === 1, 20_000);
      const two = start('two');
      await until('the second waits', () => two.said.includes('waits'), 20_000);
      go();
      await until('both have it', () => one.said.includes('downloaded') && two.said.includes('found'), 20_000);
      expect(source.asked).to.have.length(1);
    });

    it('is taken over from one that is killed in the middle, and goes on where that stopped', async () => {
      source.before = (req, res) => {
        if (source.asked.length > 1) return false;
        res.writeHead(200, { 'content-length': bytes.length });
        res.write(bytes.subarray(0, 1_000_000));
        source.sent += 1_000_000;
        return req.method === 'GET';
      };
      const one = start('one');
      await until('it downloads', () => one.said.includes('downloads'), 20_000);
      await until('its part is there', () =>
        readdirSync(dir, { recursive: true }).some((n) => String(n).endsWith('model.safetensors')),
      );
      const two = start('two');
      await until('the second waits', () => two.said.includes('waits'), 20_000);
      one.process.kill('SIGKILL');
      await until('the second took over', () => two.said.includes('took over'), 20_000);
      expect(source.asked).to.have.length(2);
      const from = Number(/=(\d+)/.exec(source.asked[1]?.range ?? '')?.[1]);
      expect(from).to.be.within(1, 1_000_000);
      expect(source.sent).to.equal(1_000_000 + bytes.length - from);
      const at = join(dir, model.digest.replace(':', '-'), 'model.safetensors');
      expect(readFileSync(at).equals(bytes)).to.equal(true);
    });
  });
});
