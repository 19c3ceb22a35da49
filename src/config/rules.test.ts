import { expect } from 'chai';
import fc from 'fast-check';
import { SignerKit, testModel } from '../../test/support/signer-kit.ts';
import { canonicalJson } from '../protocol/index.ts';
import {
  compareSemver,
  intersect,
  meetsMinimum,
  parseSnapshotDocument,
  type SnapshotDocument,
  subcloudsOf,
  verifyPublication,
} from './index.ts';

const kit = new SignerKit();
const document = (over: Record<string, unknown> = {}): SnapshotDocument =>
  parseSnapshotDocument(Buffer.from(canonicalJson(kit.document(over))));

describe('what follows from a document', () => {
  it('restricts to what both documents allow', () => {
    const applied = document({ models: [testModel('a'), testModel('b'), testModel('c'), testModel('d')] });
    const next = document({
      version: 9,
      models: [testModel('a'), testModel('b', { state: 'archived' }), testModel('d', testModel('e')), testModel('new')],
      jobs: { maxOutputTokens: 100, maxQueue: 99, timeouts: { firstTokenMs: 1, gapMs: 99_999_999, totalMs: 1 } },
      participation: { testnet: false, mainnet: true },
      isolation: { minTier: 'sandbox' },
      runtimes: [],
    });
    const both = intersect(applied, next);
    expect(both.models.map((m) => [m.name, m.state])).to.deep.equal([
      ['a', 'active'],
      ['b', 'archived'],
      ['c', 'inactive'],
      ['d', 'inactive'],
    ]);
    expect(both).to.deep.include({
      version: applied.version,
      runtimes: [],
      participation: { testnet: false, mainnet: true },
    });
    expect(both.jobs).to.deep.equal({
      maxOutputTokens: 100,
      maxQueue: 8,
      timeouts: { firstTokenMs: 1, gapMs: 30_000, totalMs: 1 },
    });
    expect(both.isolation.minTier).to.equal('sandbox');
    expect(intersect(applied, applied).models).to.deep.equal(applied.models);
  });

  it('places a node in open, semi-open and closed subclouds', () => {
    const doc = document({
      subclouds: [
        { id: 'all', access: 'open', filters: { minGpuMemoryMiB: 100 } },
        { id: 'eu', access: 'semi-open', filters: { labels: { region: 'eu' } } },
        { id: 'vip', access: 'closed', filters: {}, nodes: ['0x1'], isolate: true },
        { id: 'own', access: 'closed', filters: {}, owners: ['ops@example.com'] },
      ],
    });
    const node = { node: '0x2', labels: { region: 'eu' }, gpuMemoryMiB: 100, join: ['eu', 'vip'], leave: [] };
    expect(subcloudsOf(doc, node)).to.deep.equal({ ids: ['all', 'eu'], global: true });
    expect(subcloudsOf(doc, { ...node, node: '0x1', leave: ['all'], join: [] })).to.deep.equal({
      ids: ['vip'],
      global: false,
    });
    expect(subcloudsOf(doc, { ...node, owner: 'ops@example.com', gpuMemoryMiB: 1, join: [] }).ids).to.deep.equal([
      'own',
    ]);
  });

  it('orders versions as semantic versions do, a pre-release below its release', () => {
    const ordered = [
      'junk',
      '0.9.0',
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0rc1',
      '1.0.0',
      '1.0.1',
      '1.10.0',
    ];
    for (let i = 1; i < ordered.length; i++)
      expect(compareSemver(ordered[i - 1] ?? '', ordered[i] ?? ''), `${ordered[i - 1]} < ${ordered[i]}`).to.be.below(0);
    expect(compareSemver('v1.0', '1.0.0+build')).to.equal(0);
    expect(meetsMinimum('0.32.0', '0.18.0')).to.equal(true);
    expect(meetsMinimum('0.32.0-rc.1', '0.32.0')).to.equal(false);
    expect(meetsMinimum('dev', '0.1.0')).to.equal(false);
  });

  it('orders versions totally', () => {
    const version = fc
      .tuple(fc.nat(3), fc.nat(3), fc.constantFrom('', '-a', '-1', '-a.1'))
      .map(([a, b, p]) => `${a}.${b}.0${p}`);
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareSemver(a, b))).to.equal(-Math.sign(compareSemver(b, a)) + 0);
        if (compareSemver(a, b) <= 0 && compareSemver(b, c) <= 0) expect(compareSemver(a, c)).to.be.at.most(0);
      }),
    );
  });

  it('lets a publisher see a publication as a fresh node would', async () => {
    const signers = new SignerKit();
    signers.rotate('second');
    const { bytes } = signers.publish();
    const publication = { roots: [...signers.roots.values()], answer: signers.answer!, bytes, now: signers.now };
    expect((await verifyPublication(publication)).kind).to.equal('accepted');
    expect(await verifyPublication({ ...publication, floor: { epoch: 1, version: 2 } })).to.include({
      code: 'rollback',
    });
    signers.serve(signers.current!, [signers.keys.config[0]!]);
    expect(await verifyPublication({ ...publication, answer: signers.answer! })).to.include({
      code: 'threshold_not_met',
    });
  });
});
