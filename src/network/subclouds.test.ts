import { expect } from 'chai';
import { FakeNode } from '../../test/support/fake-node.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { parseSnapshotDocument, type SnapshotDocument } from '../config/index.ts';
import { canonicalJson } from '../protocol/index.ts';
import type { NodeRow } from './store.ts';
import { Memberships } from './subclouds.ts';

const signer = testSigner('node');
const documentOf = (...subclouds: object[]): SnapshotDocument =>
  parseSnapshotDocument(Buffer.from(canonicalJson(new SignerKit().document({ subclouds }))));
const row = (over: Partial<NodeRow> = {}): NodeRow => ({
  node: signer.address,
  owner: { kind: 'email', id: 'ops@example.com' },
  proved: true,
  admission: 'admitted',
  order: 'none',
  everActive: true,
  incarnation: 0,
  floor: { epoch: 0, version: 0 },
  registeredAt: 0,
  metadata: { agent: '', runtime: '', labels: { zone: 'eu' } },
  ...over,
});
const beat = (...subclouds: string[]) => {
  const { domain } = new SignerKit();
  const node = new FakeNode({ url: 'http://x', domain, signer, network: signer.address });
  return node.heartbeat('m:1', `sha256:${'a'.repeat(64)}`, null, { subclouds });
};
const ids = (document: SnapshotDocument, wishes: string[], over: Partial<NodeRow> = {}) =>
  new Memberships().of(row(over), beat(...wishes), document).ids;

describe('subclouds of a node', () => {
  it('are those it wishes whose labels and GPU memory it meets', () => {
    const sub = (id: string, filters: object) => ({ id, access: 'open', filters });
    const document = documentOf(
      sub('all', {}),
      sub('eu', { labels: { zone: 'eu' } }),
      sub('us', { labels: { zone: 'us' } }),
      sub('large', { minGpuMemoryMiB: 80_000 }),
      sub('small', { minGpuMemoryMiB: 1_024 }),
    );
    expect(ids(document, ['all', 'eu', 'us', 'large', 'small'])).to.deep.equal(['all', 'eu', 'small']);
    expect(ids(document, ['eu'])).to.deep.equal(['eu']);
  });
  it('are closed to whom they do not list, and an owner counts only when proved', () => {
    const document = documentOf(
      { id: 'mine', access: 'closed', filters: {}, nodes: [signer.address] },
      { id: 'ours', access: 'closed', filters: {}, owners: ['ops@example.com'], isolate: true },
      { id: 'theirs', access: 'closed', filters: {}, nodes: [testSigner('else').address] },
    );
    expect(ids(document, ['mine', 'ours', 'theirs'])).to.deep.equal(['mine', 'ours']);
    expect(ids(document, ['mine', 'ours'], { proved: false })).to.deep.equal(['mine']);
    expect(new Memberships().of(row(), beat('ours'), document).isolated).to.equal(true);
    expect(new Memberships().of(row({ proved: false }), beat('ours'), document).isolated).to.equal(false);
  });
  it('change only when a wish has stood for the cooldown, and a wish taken back changes nothing', () => {
    const document = documentOf({ id: 'a', access: 'semi-open', filters: {}, cooldownMs: 60_000 });
    const memberships = new Memberships();
    const at = (now: number, ...wishes: string[]): readonly string[] => {
      memberships.heard(beat(...wishes), document, now);
      return memberships.of(row(), beat(...wishes), document).ids;
    };
    expect(at(0)).to.deep.equal([]);
    expect(at(10_000, 'a')).to.deep.equal([]);
    expect(at(60_000)).to.deep.equal([]);
    expect(at(70_000, 'a')).to.deep.equal([]);
    expect(at(129_999, 'a')).to.deep.equal([]);
    expect(at(130_000, 'a')).to.deep.equal(['a']);
    expect(at(140_000)).to.deep.equal(['a']);
    expect(at(200_000)).to.deep.equal([]);
  });
});
