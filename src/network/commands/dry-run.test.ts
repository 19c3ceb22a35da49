import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { API_KEY, OTHER_KEY, ServiceRig } from '../../../test/support/service-rig.ts';
import { testModel, testSigner } from '../../../test/support/signer-kit.ts';
import { parseSnapshotDocument, type SnapshotDocument } from '../../config/index.ts';
import { canonicalJson } from '../../protocol/index.ts';
import type { Publication } from '../publications.ts';
import { showPlan } from './dry-run.ts';
import { impactOf, nodeLine } from './impact.ts';
import { Remote } from './remote.ts';
import { allNodes } from './service-view.ts';

describe('what a publication would do', () => {
  let rig: ServiceRig;
  before(async () => {
    rig = await ServiceRig.start();
    await rig.publish();
  });
  after(() => rig.stop());

  /** The kit's next publication, not sent. */
  const next = (over: Record<string, unknown> = {}): Publication => {
    const { snapshot, bytes } = rig.kit.publish(over);
    return { snapshot, snapshotSignatures: [], document: Buffer.from(bytes).toString() };
  };
  const document = (over: Record<string, unknown>): SnapshotDocument =>
    parseSnapshotDocument(Buffer.from(canonicalJson(rig.kit.document({ version: 9, ...over }))));

  it('is told for each node that the service knows', async () => {
    const node = await rig.activeNode();
    const gone = testSigner('unknown').address;
    const lines: string[] = [];
    const io = {
      out: (l: string) => void lines.push(l),
      err: () => {},
      now: () => 0,
      signal: new AbortController().signal,
    };
    const remote = await Remote.open(rig.url, undefined);
    const nowhere = await Remote.open('http://127.0.0.1:1', undefined);
    try {
      const publication = next();
      await showPlan(publication, undefined, remote, [node.node, gone], io);
      const place = `v${publication.snapshot.version}`;
      expect(lines).to.include('nodes: 1 active');
      expect(lines).to.include(`  ${node.node}  active  v1 (epoch 1) → takes ${place} at once`);
      expect(lines).to.include(`  ${gone}  unknown to the service`);
      await showPlan(publication, publication, nowhere, [], io);
      expect(lines.at(-1)).to.match(/^nodes: the service could not be asked/);
    } finally {
      await Promise.all([remote.close(), nowhere.close()]);
    }
  });

  it('is told for every node to whom has an admin key, and to nobody else', async () => {
    const node = await rig.activeNode();
    const keys = ['admin', 'other'].map((name) => join(rig.dir, name));
    await writeFile(keys[0]!, `${API_KEY}\n`);
    await writeFile(keys[1]!, `${OTHER_KEY}\n`);
    expect(await allNodes(rig.url, keys[0]!, undefined)).to.include(node.node);
    const refused = await allNodes(rig.url, keys[1]!, undefined).catch((error: Error) => error.message);
    expect(refused).to.match(/the service answered 40[13]/);
  });

  it('differs by what a node is and has', () => {
    const floor = { epoch: 1, version: 5 };
    const line = (over: object, version = 6): string =>
      nodeLine({ node: '0x1', state: 'active', reasons: [], floor, ...over }, { epoch: 1, version });
    expect(line({})).to.contain('takes v6 at once');
    expect(line({ reasons: ['NotConnected'] })).to.contain('takes v6 when it is back');
    expect(line({ floor: null })).to.contain('nothing accepted → takes v6');
    expect(line({}, 5)).to.contain('refuses v5');
    expect(line({ state: 'revoked' })).to.contain('none: it is revoked');
  });

  it('tells what is forbidden at once from what waits for files and images', () => {
    const before = document({
      models: [testModel('a'), testModel('b'), testModel('c')],
      isolation: { minTier: 'none' },
    });
    const after = document({
      models: [testModel('a', { state: 'inactive' }), testModel('c', testModel('d', { name: 'c' })), testModel('new')],
      jobs: { maxOutputTokens: 1024, maxQueue: 2, timeouts: before.jobs.timeouts },
      isolation: { minTier: 'sandbox' },
      participation: { testnet: false, mainnet: true },
      runtimes: [],
      agent: { ...before.agent, minVersion: '9.0.0', image: `r.example/x@sha256:${'c'.repeat(64)}` },
    });
    const { atOnce, whenReady, images } = impactOf(before, after);
    expect(atOnce).to.have.members([
      'a:v1 gets no more jobs (inactive)',
      'b:v1 gets no more jobs (no longer listed)',
      'c:v1 at its old digest gets no more jobs',
      'jobs.maxQueue falls from 8 to 2',
      'nodes isolated below sandbox leave the rotation',
      'no node is offered any job',
      'agents below 9.0.0 leave the rotation',
      'the image of vllm 0.32.0 for cpu starts no new pod',
    ]);
    expect(whenReady).to.have.members([
      'c:v1 is downloaded (1 MiB), tested and active',
      'new:v1 is downloaded (1 MiB), tested and active',
      'jobs.maxOutputTokens rises from 512 to 1024',
    ]);
    expect(images).to.have.length(1);
  });
});
