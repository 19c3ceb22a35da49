import { expect } from 'chai';
import { type Attack, expectRefused, place, stage } from '../../test/support/attack-stage.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { canonicalJson } from '../protocol/index.ts';
import { MemoryStateStore, signRoot, signSnapshot, signTicket, updateConfig } from './index.ts';

const DAY = 86_400_000;

const ATTACKS: readonly Attack[] = [
  {
    name: 'rollback: an older snapshot is served with a fresh ticket',
    code: 'rollback',
    async act({ kit, update }) {
      const old = kit.current!;
      kit.publish();
      await update();
      kit.serve(old);
    },
  },
  {
    name: 'freeze: the old ticket is served on',
    code: 'config_stale',
    act: ({ kit }) => {
      kit.now += 2 * 3_600_000;
    },
  },
  {
    name: 'a ticket that holds for more than an hour',
    code: 'config_stale',
    act: ({ kit }) => kit.ticket({ expiresAt: kit.now + 3_600_001 }),
  },
  {
    name: 'a ticket from the future',
    code: 'config_stale',
    act: ({ kit }) => kit.ticket({ issuedAt: kit.now + 61_000, expiresAt: kit.now + 120_000 }),
  },
  {
    name: 'a ticket that is fresh by local time and stale by server time',
    code: 'config_stale',
    act: () => {},
    over: { serverNow: Date.UTC(2026, 10, 21, 13) },
  },
  {
    name: 'mix and match: the ticket of version 1 beside the snapshot of version 2',
    code: 'ticket_mismatch',
    act({ kit }) {
      const old = JSON.parse(kit.answer!);
      kit.publish();
      kit.tamper((a) => Object.assign(a, { ticket: old.ticket, ticketSignatures: old.ticketSignatures }));
    },
  },
  {
    name: 'the document says another version than its signatures',
    code: 'document_mismatch',
    act: ({ kit }) => kit.publishRaw(canonicalJson(kit.document({ version: 7 })), { version: 2 }),
  },
  {
    name: 'signed by keys of nobody',
    code: 'threshold_not_met',
    act: ({ kit }) => kit.serve(kit.publish(), [testSigner('mallory'), testSigner('trent')]),
  },
  {
    name: 'one key, twice',
    code: 'threshold_not_met',
    act: ({ kit }) => kit.serve(kit.publish(), [kit.keys.config[0]!, kit.keys.config[0]!]),
  },
  {
    name: 'one signature of two',
    code: 'threshold_not_met',
    act: ({ kit }) => kit.serve(kit.publish(), [kit.keys.config[1]!]),
  },
  {
    name: 'ticket signed by a config key',
    code: 'threshold_not_met',
    act: ({ kit }) => kit.ticket({}, [kit.keys.config[0]!]),
  },
  {
    name: 'a signature under another key’s name',
    code: 'bad_signature',
    act({ kit }) {
      kit.publish();
      kit.tamper((a) => {
        a.snapshotSignatures[1] = { ...a.snapshotSignatures[0]!, signer: kit.keys.config[1]!.address };
      });
    },
  },
  {
    name: 'a signature with high s',
    code: 'bad_signature',
    act({ kit }) {
      kit.publish();
      kit.tamper((a) => {
        const { sig } = a.snapshotSignatures[0]!;
        const n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
        const s = (n - BigInt(`0x${sig.slice(66, 130)}`)).toString(16).padStart(64, '0');
        a.snapshotSignatures[0] = {
          ...a.snapshotSignatures[0]!,
          sig: `${sig.slice(0, 66)}${s}${sig.endsWith('1b') ? '1c' : '1b'}` as `0x${string}`,
        };
      });
    },
  },
  {
    name: 'good signatures behind 32 others',
    code: 'threshold_not_met',
    act({ kit }) {
      const made = kit.publish();
      const strangers = Array.from({ length: 32 }, (_, i) => testSigner(`stranger ${i}`));
      kit.serve(made, [...strangers, ...kit.keys.config]);
    },
  },
  {
    name: 'a changed field of the signed struct',
    code: 'bad_signature',
    act: ({ kit }) => kit.tamper((a) => Object.assign(a.snapshot as object, { size: 1 })),
  },
  {
    name: 'an expired newest root',
    code: 'root_expired',
    act({ kit }) {
      kit.rotate('second', { expiresAt: kit.now });
      kit.publish();
    },
  },
  {
    name: 'an expired snapshot',
    code: 'snapshot_expired',
    act({ kit }) {
      kit.now += 90 * DAY;
      kit.ticket();
    },
  },
  {
    name: 'a snapshot that is expired by server time only',
    code: 'snapshot_expired',
    act: ({ kit }) => kit.ticket({ issuedAt: kit.now + 90 * DAY, expiresAt: kit.now + 90 * DAY + 1000 }),
    over: { serverNow: Date.UTC(2026, 10, 21, 10) + 90 * DAY },
  },
  {
    name: 'a root skipped',
    code: 'root_gap',
    act({ kit }) {
      kit.rotate('second');
      kit.roots.set(2, kit.rotate('third'));
    },
  },
  {
    name: 'a root signed only by its new keys',
    code: 'threshold_not_met',
    act({ kit }) {
      kit.keys = kit.freshKeys('second');
      kit.addRoot();
    },
  },
  {
    name: 'a root signed only by the old keys',
    code: 'threshold_not_met',
    act({ kit }) {
      const before = kit.keys.root;
      kit.keys = kit.freshKeys('second');
      kit.addRoot({}, before);
    },
  },
  { name: 'a root that lowers the epoch', code: 'bad_root', act: ({ kit }) => kit.addRoot({ epoch: 0 }) },
  {
    name: 'a root of another network',
    code: 'wrong_network',
    act: ({ kit }) => kit.addRoot({ network: 'othernet' }),
  },
  { name: 'a root of another chain', code: 'wrong_network', act: ({ kit }) => kit.addRoot({ chainId: 1 }) },
  {
    name: 'a root of another environment',
    code: 'wrong_environment',
    act: ({ kit }) => kit.addRoot({ environment: 'mainnet' }),
  },
  {
    name: 'a root with one byte changed',
    code: 'bad_signature',
    act: ({ kit }) => kit.roots.set(2, kit.rotate('second').replace('"epoch\\":1', '"epoch\\":2')),
  },
  { name: 'a root that is no JSON', code: 'bad_json', act: ({ kit }) => kit.roots.set(2, '{') },
  { name: 'a root without a document', code: 'bad_root', act: ({ kit }) => kit.roots.set(2, '{"signatures":[]}') },
  { name: 'a root above 64 KiB', code: 'too_large', act: ({ kit }) => kit.roots.set(2, ' '.repeat(65_537)) },
  {
    name: 'a root withheld',
    code: 'root_withheld',
    act({ kit }) {
      kit.addRoot();
      kit.publish();
      kit.roots.delete(2);
    },
  },
  {
    name: 'a chain that ends below what was accepted',
    code: 'root_rollback',
    async act({ kit, store, update }) {
      kit.addRoot();
      kit.publish();
      await update();
      kit.roots.delete(2);
      store.roots.delete(2);
    },
  },
  {
    name: 'a snapshot of another network',
    code: 'wrong_network',
    act: ({ kit }) => kit.publishRaw('{}', { network: 'othernet' }),
  },
  {
    name: 'a document for another environment',
    code: 'wrong_environment',
    act: ({ kit }) => kit.publish({ environment: 'mainnet' }),
  },
  { name: 'another network was expected', code: 'wrong_network', act: () => {}, over: { network: 'mainnet' } },
  {
    name: 'another environment was expected',
    code: 'wrong_environment',
    act: () => {},
    over: { environment: 'mainnet' },
  },
  {
    name: 'a snapshot of the epoch before',
    code: 'wrong_epoch',
    act({ kit }) {
      const old = kit.current!;
      kit.addRoot({ epoch: 2 });
      kit.serve(old);
    },
  },
  {
    name: 'no answer',
    code: 'unreachable',
    act: ({ kit }) => {
      kit.answer = undefined;
    },
  },
  {
    name: 'a version that the operator has seen surpassed',
    code: 'rollback',
    act: () => {},
    over: { minimumFloor: { epoch: 1, version: 2 } },
  },
  {
    name: 'the state folder of another network',
    code: 'floor_of_another_network',
    act({ store }) {
      store.floor = { ...store.floor!, network: 'othernet' };
    },
  },
];

describe('attacks on the configuration', () => {
  for (const attack of ATTACKS) it(`refuses ${attack.name} with ${attack.code}`, () => expectRefused(attack));

  it('counts neither malformed entries nor strangers against enough good signatures', async () => {
    const { kit, update } = await stage();
    const made = kit.publish();
    kit.tamper((a) => {
      const good = kit.keys.config.slice(0, 2).map((k) => signSnapshot(kit.domain, made.snapshot, k));
      a.snapshotSignatures = [
        null,
        7,
        { signer: 'x' },
        signSnapshot(kit.domain, made.snapshot, testSigner('m')),
        ...good,
      ] as never;
      a.ticketSignatures = [
        {},
        ...kit.keys.ticket.map((k) => signTicket(kit.domain, JSON.parse(kit.answer!).ticket, k)),
      ];
    });
    expect((await update()).kind).to.equal('accepted');
  });

  it('recovers from a fast-forward by a root of a higher epoch', async () => {
    const { kit, store, update } = await stage();
    kit.publish({ version: Number.MAX_SAFE_INTEGER });
    expect((await update()).kind).to.equal('accepted');
    kit.version = 0;
    kit.rotate('second', { epoch: 2 });
    kit.publish();
    const outcome = await update();
    expect(outcome.kind).to.equal('accepted');
    expect(place(store.floor)).to.deep.equal([2, 1]);
  });

  it('follows a chain of rotations, passing expired roots, and keeps every root', async () => {
    const { kit, store, update } = await stage();
    kit.rotate('second', { expiresAt: kit.now - 1 });
    kit.rotate('third', { expiresAt: kit.now - 1 });
    kit.rotate('fourth');
    kit.publish();
    expect((await update()).kind).to.equal('accepted');
    expect([...store.roots.keys()]).to.deep.equal([1, 2, 3, 4]);
    expect(store.floor?.rootVersion).to.equal(4);
  });

  it('keeps a verified chain when the snapshot is refused', async () => {
    const kit = new SignerKit();
    const store = new MemoryStateStore();
    kit.rotate('second');
    const outcome = await updateConfig({ pinnedRoot: kit.pinnedRoot, store, source: kit, now: kit.now });
    expect(outcome).to.include({ kind: 'refused', code: 'unreachable' });
    expect(store.floor).to.include({ epoch: 0, version: 0, digest: null, rootVersion: 2 });
    expect([...store.roots.keys()]).to.deep.equal([1, 2]);
  });

  it('walks at most 256 steps and goes on at the next update', async () => {
    const { kit, store, update } = await stage();
    for (let i = 0; i < 260; i++) kit.addRoot();
    kit.publish();
    expect(await update()).to.include({ kind: 'refused', code: 'root_withheld' });
    expect(store.floor?.rootVersion).to.equal(257);
    expect((await update()).kind).to.equal('accepted');
  }).timeout(60_000);

  it('starts at the pinned root when the newest stored one is torn', async () => {
    const { kit, store, update } = await stage();
    kit.rotate('second');
    kit.publish();
    await update();
    store.roots.set(2, '{"document":"torn');
    kit.asked.length = 0;
    expect((await update()).kind).to.equal('accepted');
    expect(kit.asked[0]).to.equal('/v1/roots/2');
    expect(store.roots.get(2)).to.equal(kit.roots.get(2));
  });

  it('refuses a pinned root that its own keys did not sign', async () => {
    const { kit, store } = await stage();
    const unsigned = signRoot(
      JSON.stringify({ document: JSON.parse(kit.pinnedRoot).document, signatures: [] }),
      testSigner('m'),
    );
    const outcome = await updateConfig({ pinnedRoot: unsigned, store, source: kit, now: kit.now });
    expect(outcome).to.include({ kind: 'refused', code: 'threshold_not_met' });
  });
});
