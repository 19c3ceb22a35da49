import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { PowerCutDisk } from '../../test/support/power-cut-disk.ts';
import { SignerKit } from '../../test/support/signer-kit.ts';
import { canonicalJson } from '../protocol/index.ts';
import { FileStateStore, loadAccepted, MAX_ACCEPTED, resetFloor, type UpdateOutcome, updateConfig } from './index.ts';

const STATE = '/state';
const update = (kit: SignerKit, disk: PowerCutDisk): Promise<UpdateOutcome> =>
  updateConfig({ pinnedRoot: kit.pinnedRoot, store: new FileStateStore(STATE, disk), source: kit, now: kit.now });
const load = (kit: SignerKit, disk: PowerCutDisk) =>
  loadAccepted({ pinnedRoot: kit.pinnedRoot, store: new FileStateStore(STATE, disk), now: kit.now });
const code = (outcome: UpdateOutcome): string => (outcome.kind === 'refused' ? outcome.code : 'accepted');
const settled = async (): Promise<{ kit: SignerKit; disk: PowerCutDisk }> => {
  const kit = new SignerKit();
  const disk = new PowerCutDisk();
  kit.publish();
  expect(code(await update(kit, disk))).to.equal('accepted');
  return { kit, disk };
};

describe('the state folder', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-config-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('holds exact bytes, roots as received, the floor with its check and an empty marker', async () => {
    const kit = new SignerKit();
    kit.rotate('second');
    const { bytes, snapshot } = kit.publish();
    const state = join(dir, 'a', 'state');
    const outcome = await updateConfig({
      pinnedRoot: kit.pinnedRoot,
      store: new FileStateStore(state),
      source: kit,
      now: kit.now,
    });
    expect(code(outcome)).to.equal('accepted');
    expect((await readdir(state)).sort()).to.deep.equal([
      'config',
      'evidence.json',
      'floor.json',
      'floor.once',
      'roots',
    ]);
    expect(await readFile(join(state, 'config', snapshot.digest.replace(':', '-')))).to.deep.equal(Buffer.from(bytes));
    expect(await readFile(join(state, 'roots', '2.json'), 'utf8')).to.equal(kit.roots.get(2));
    expect(await readFile(join(state, 'floor.once'), 'utf8')).to.equal('');
    const body = {
      network: 'testnet',
      chainId: 31337,
      environment: 'testnet',
      epoch: 1,
      version: 1,
      digest: snapshot.digest,
      rootVersion: 2,
      accepted: [snapshot.digest],
    };
    const check = `sha256:${createHash('sha256').update(canonicalJson(body)).digest('hex')}`;
    expect(await readFile(join(state, 'floor.json'), 'utf8')).to.equal(canonicalJson({ ...body, check }));
  });

  it('refuses when it is no folder', async () => {
    const kit = new SignerKit();
    kit.publish();
    const file = join(dir, 'file');
    await writeFile(file, '');
    const outcome = await updateConfig({
      pinnedRoot: kit.pinnedRoot,
      store: new FileStateStore(join(file, 'x')),
      source: kit,
      now: kit.now,
    });
    expect(['floor_unreadable', 'state_unwritable']).to.include(code(outcome));
  });

  it('fails closed on a torn floor, a flipped one and one that is gone', async () => {
    for (const [change, expected] of [
      [(t: string) => t.slice(0, 40), 'floor_unreadable'],
      [() => '', 'floor_unreadable'],
      [(t: string) => t.replace('"version":1', '"version":0'), 'floor_unreadable'],
      [() => undefined, 'floor_missing'],
    ] as const) {
      const { kit, disk } = await settled();
      disk.put(`${STATE}/floor.json`, change(disk.text(`${STATE}/floor.json`)!));
      expect(code(await update(kit, disk))).to.equal(expected);
    }
  });

  it('is reopened by a reset, after which only what is above it is accepted', async () => {
    const { kit, disk } = await settled();
    disk.put(`${STATE}/floor.json`, undefined);
    await resetFloor(new FileStateStore(STATE, disk), { epoch: 1, version: 1 });
    expect(JSON.parse(disk.text(`${STATE}/floor.json`)!)).to.include({
      digest: null,
      rootVersion: 1,
      network: 'testnet',
    });
    expect(code(await update(kit, disk))).to.equal('same_version_other_digest');
    kit.publish();
    expect(code(await update(kit, disk))).to.equal('accepted');
  });

  it('heals a marker that is missing, bytes that are flipped and leftovers', async () => {
    const { kit, disk } = await settled();
    const { digest } = kit.current!.snapshot;
    const file = `${STATE}/config/${digest.replace(':', '-')}`;
    const good = disk.text(file);
    disk.put(`${STATE}/floor.once`, undefined);
    disk.put(file, 'flipped');
    disk.put(`${STATE}/floor.json.7.tmp`, 'half');
    expect(code(await update(kit, disk))).to.equal('accepted');
    expect(disk.text(`${STATE}/floor.once`)).to.equal('');
    expect(disk.text(file)).to.equal(good);
  });

  it('writes nothing when nothing changed, and only the evidence when the ticket is newer', async () => {
    const { kit, disk } = await settled();
    const before = disk.steps;
    expect(await update(kit, disk)).to.include({ kind: 'accepted', changed: false });
    expect(disk.steps - before, 'one fsync of the folder that the floor was found in').to.equal(1);
    kit.now += 60_000;
    kit.ticket();
    await update(kit, disk);
    expect(JSON.parse(disk.text(`${STATE}/evidence.json`)!).ticket.issuedAt).to.equal(kit.now);
  });

  it('remembers the last 64 accepted digests', async () => {
    const { kit, disk } = await settled();
    for (let i = 0; i < 70; i++) {
      kit.publish({ maxStalenessSeconds: i });
      await update(kit, disk);
    }
    const { accepted, digest } = JSON.parse(disk.text(`${STATE}/floor.json`)!);
    expect(accepted).to.have.length(MAX_ACCEPTED);
    expect(accepted.at(-1)).to.equal(digest);
  });

  it('is right after a power cut at any step of the first update', async () => {
    for (let cut = 0; ; cut++) {
      const kit = new SignerKit();
      kit.rotate('second');
      kit.publish();
      const disk = new PowerCutDisk(cut);
      const outcome = await update(kit, disk);
      if (outcome.kind === 'accepted') {
        expect(cut).to.be.above(20);
        break;
      }
      expect(outcome.code).to.equal('state_unwritable');
      for (const lucky of [false, true]) {
        const after = disk.restart(lucky);
        expect(code(await update(kit, after)), `cut ${cut} lucky ${lucky}`).to.equal('accepted');
        expect((await load(kit, after))?.version).to.equal(1);
      }
    }
  });

  it('never falls and never loses the configuration by a power cut at any step of a later update', async () => {
    for (let cut = 0; ; cut++) {
      const { kit, disk: first } = await settled();
      kit.rotate('second');
      kit.publish();
      const disk = first.restart(true, cut);
      const outcome = await update(kit, disk);
      if (outcome.kind === 'accepted') break;
      for (const lucky of [false, true]) {
        const after = disk.restart(lucky);
        const loaded = await load(kit, after);
        expect(loaded?.version, `cut ${cut} lucky ${lucky}`).to.be.oneOf([1, 2]);
        const floor = await new FileStateStore(STATE, after).loadFloor();
        expect(floor?.version).to.equal(loaded?.version);
        expect(code(await update(kit, after))).to.equal('accepted');
        expect((await new FileStateStore(STATE, after).loadFloor())?.version).to.equal(2);
      }
    }
  });

  it('refuses with state_unwritable on a full disk at any write and goes on with what it had', async () => {
    for (let cut = 0; ; cut++) {
      const { kit, disk: first } = await settled();
      kit.publish();
      const full = new PowerCutDisk(cut, first.files(), () => Object.assign(new Error('no space'), { code: 'ENOSPC' }));
      const outcome = await update(kit, full);
      if (outcome.kind === 'accepted') break;
      expect(outcome.code).to.equal('state_unwritable');
      full.cutAfter = Number.POSITIVE_INFINITY;
      expect((await load(kit, full))?.version).to.be.oneOf([1, 2]);
    }
  });

  it('gives the accepted configuration back after a restart without the network, stale or not', async () => {
    const { kit, disk } = await settled();
    kit.now += 2 * 86_400_000;
    const config = await load(kit, disk);
    expect(config).to.include({ version: 1, fresh: false });
    expect(config?.document.models).to.have.length(1);
  });

  it('gives nothing back when evidence or bytes were changed', async () => {
    const { kit, disk } = await settled();
    disk.put(`${STATE}/evidence.json`, disk.text(`${STATE}/evidence.json`)!.replace('"version":1', '"version":2'));
    expect(await load(kit, disk)).to.equal(undefined);
  });
});
