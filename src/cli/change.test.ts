import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { CliRig } from '../../test/support/cli-rig.ts';
import { network, resultityNode } from '../../test/support/why-not-cases.ts';
import { ANNOTATION, KEY } from '../api/contract.ts';
import type { ResultityNode } from '../api/index.ts';
import { KIND } from './kinds.ts';

const AT = { name: 'gpu-a', namespace: 'nodes' };
type Status = ResultityNode['status'];

describe('the plugin changes what runs, and waits until it is so', () => {
  let rig: CliRig;
  let stop: AbortController;
  let playing: Promise<void> | undefined;
  beforeEach(async () => {
    rig = await CliRig.start();
    stop = new AbortController();
    playing = undefined;
  });
  afterEach(async () => {
    stop.abort();
    await playing;
    await rig.stop();
  });

  /** A node that serves, with its pod; and somebody who plays operator and agent. */
  const serving = async (
    react?: (node: ResultityNode, drained: boolean, podUID: string | undefined) => Status,
  ): Promise<string> => {
    const pod = await rig.seed(KIND.pod, {
      metadata: { name: 'gpu-a', namespace: 'nodes' },
      status: { phase: 'Running' },
    });
    const podUID = pod.metadata?.uid ?? '';
    await rig.seed(
      KIND.node,
      resultityNode(
        {},
        { phase: 'Active', podName: 'gpu-a', podUID, observedGeneration: 1, agent: { phase: 'Active' } },
      ),
    );
    if (react) {
      playing = (async () => {
        while (!stop.signal.aborted) {
          const node = await rig.client.get(KIND.node, AT);
          const live = rig.api.objects<{ metadata: { uid: string; annotations?: Record<string, string> } }>('pods')[0];
          const status = react(node, live?.metadata.annotations?.[ANNOTATION.drain] === 'true', live?.metadata.uid);
          await rig.client.patchMerge(KIND.node, AT, { status }, { subresource: 'status' });
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      })();
      playing.catch(() => undefined);
    }
    return podUID;
  };
  const paused = (status: 'True' | 'False') => [
    { type: 'Paused', status, reason: 'PausedByUser', message: '', lastTransitionTime: '2026-11-21T10:00:00Z' },
  ];
  const operator = (node: ResultityNode, drained: boolean, podUID: string | undefined): Status => ({
    observedGeneration: node.metadata.generation ?? 1,
    conditions: paused(node.spec.paused ? 'True' : 'False'),
    phase: node.spec.paused ? 'Paused' : drained ? 'Draining' : 'Active',
    ...(podUID === undefined ? {} : { podUID }),
    agent: { phase: node.spec.paused ? 'Paused' : drained ? 'Drained' : 'Active' },
  });

  it('pauses and resumes by the spec, and comes back when the status says so', async () => {
    await serving(operator);
    const pausing = await rig.run('pause', 'gpu-a', '--timeout', '5s');
    expect(pausing).to.include({ code: 0, out: 'gpu-a is paused; kubectl resultity resume gpu-a ends it' });
    expect((await rig.client.get(KIND.node, AT)).spec.paused).to.equal(true);
    expect(await rig.run('resume', 'gpu-a', '--timeout', '5s')).to.include({ code: 0, out: 'gpu-a takes jobs again' });
    expect((await rig.client.get(KIND.node, AT)).spec.paused).to.equal(false);
  });

  it('drains by the pod’s annotation until the agent says Drained; resume takes it off', async () => {
    await serving(operator);
    expect(await rig.run('drain', 'gpu-a', '--timeout', '5s')).to.include({ code: 0 });
    expect((await rig.client.get(KIND.pod, AT)).metadata?.annotations?.[ANNOTATION.drain]).to.equal('true');
    expect((await rig.client.get(KIND.node, AT)).status?.agent?.phase).to.equal('Drained');
    expect(await rig.run('resume', 'gpu-a', '--timeout', '5s')).to.include({ code: 0 });
    expect((await rig.client.get(KIND.pod, AT)).metadata?.annotations?.[ANNOTATION.drain]).to.equal(undefined);
  });

  it('gives up waiting with exit 3, what the state was, and what can be done', async () => {
    await serving();
    const { code, err } = await rig.run('drain', 'gpu-a', '--timeout', '0');
    expect(code).to.equal(3);
    expect(err).to.contain('draining gpu-a: Active, agent Active (0 s)');
    expect(err).to.contain(
      'not done after 0 s (Active, agent Active); it goes on in the cluster. kubectl resultity restart gpu-a --now',
    );
  });

  it('restarts: drains first, deletes that very pod, and waits for the next one', async () => {
    let deletedDrained: boolean | undefined;
    const first = await serving((node, drained, podUID) => {
      if (podUID === undefined)
        void rig.seed(KIND.pod, { metadata: { name: 'gpu-a', namespace: 'nodes' } }).catch(() => undefined);
      return operator(node, drained, podUID);
    });
    rig.api.text = (request) => {
      if (request.method === 'DELETE')
        deletedDrained = rig.api.objects<{ status: Status }>('resultitynodes')[0]?.status?.agent?.phase === 'Drained';
      return undefined;
    };
    const { code, out } = await rig.run('restart', 'gpu-a', '--timeout', '5s');
    expect(code).to.equal(0);
    expect(out).to.equal('gpu-a is back, with the same identity');
    expect(deletedDrained).to.equal(true);
    expect((await rig.client.get(KIND.pod, AT)).metadata?.uid).to.not.equal(first);
  });

  it('restarts at once with --now, and orders without waiting with --no-wait', async () => {
    await serving();
    expect(await rig.run('restart', 'gpu-a', '--now', '--no-wait')).to.include({
      code: 0,
      out: 'gpu-a is being made anew',
    });
    expect(rig.api.objects('pods')).to.deep.equal([]);
    const { code, err } = await rig.run('restart', 'gpu-a');
    expect(code).to.equal(1);
    expect(err).to.contain('gpu-a has no pod');
  });

  it('holds and releases single nodes, all of a fleet, or all of a network', async () => {
    await rig.seed(KIND.node, resultityNode());
    const owner = {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      name: 'h200',
      uid: 'u',
      controller: true,
    };
    const other = resultityNode({}, {}, 'h200-0');
    await rig.seed(KIND.node, {
      ...other,
      metadata: { ...other.metadata, ownerReferences: [owner], annotations: { [ANNOTATION.rolledBack]: '{}' } },
    });
    await rig.client.create(KIND.fleet, {
      ...{
        apiVersion: 'resultity.com/v1alpha1',
        kind: 'ResultityFleet',
        metadata: { name: 'h200', namespace: 'nodes' },
      },
      spec: {
        replicas: 1,
        rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
        template: other.spec,
      },
    });
    expect(await rig.run('config', 'hold', '--fleet', 'h200')).to.include({ code: 0 });
    const marks = async (name: string) =>
      (await rig.client.get(KIND.node, { name, namespace: 'nodes' })).metadata.annotations ?? {};
    expect(await marks('h200-0')).to.have.property(ANNOTATION.hold, 'true');
    expect(await marks('gpu-a')).to.not.have.property(ANNOTATION.hold);
    expect(await rig.run('config', 'release', 'h200-0')).to.include({
      code: 0,
      out: 'h200-0 follows the network again',
    });
    expect(await marks('h200-0')).to.deep.equal({});
    expect((await rig.run('config', 'hold')).code).to.equal(2);
    expect((await rig.run('config', 'hold', 'gpu-a', '--fleet', 'h200')).code).to.equal(2);
    await rig.client.create(KIND.network, network());
    expect((await rig.run('config', 'hold', '--network', 'testnet')).out.split('\n')).to.have.length(2);
    expect(await marks('gpu-a')).to.have.property(ANNOTATION.hold, 'true');
  });

  it('refuses by name what the caller may not do', async () => {
    await serving();
    rig.api.fault({ when: (r) => r.method === 'PATCH', answer: { status: 403, reason: 'Forbidden' } });
    const { code, err } = await rig.run('pause', 'gpu-a');
    expect(code).to.equal(1);
    expect(err).to.contain(
      'you may not patch resultitynodes.resultity.com in namespace nodes: ask an administrator for a Role',
    );
  });
});

describe('identity backups', () => {
  const PRIVATE = `0x${'4c'.repeat(32)}`;
  let rig: CliRig;
  let nodeId: string;
  beforeEach(async () => {
    rig = await CliRig.start();
    const { Wallet } = await import('ethers');
    nodeId = new Wallet(PRIVATE).address.toLowerCase();
    await rig.seed(KIND.node, resultityNode({}, { nodeId }));
    await rig.client.create(KIND.secret, {
      metadata: { name: `gpu-a-${nodeId}`, namespace: 'nodes' },
      data: { [KEY.privateKey]: Buffer.from(PRIVATE).toString('base64') },
    });
  });
  afterEach(() => rig.stop());

  it('go to a file only its owner may read, never to the terminal, and come back into the same Secret', async () => {
    const file = join(rig.dir, 'backup.json');
    const { code, out, err } = await rig.run('identity', 'export', 'gpu-a', '--to', file, '--plain');
    expect(code).to.equal(0);
    expect(out + err).to.not.contain('4c4c');
    expect((await stat(file)).mode & 0o777).to.equal(0o600);
    await rig.client.delete(KIND.secret, { name: `gpu-a-${nodeId}`, namespace: 'nodes' });
    const back = await rig.run('identity', 'import', 'gpu-a', '--from', file);
    expect(back).to.include({ code: 0 });
    expect(back.out).to.match(/^restored the key of gpu-a, 0x\w{40}; the node goes on by itself$/);
    const secret = await rig.client.get(KIND.secret, { name: `gpu-a-${nodeId}`, namespace: 'nodes' });
    expect(secret.stringData?.[KEY.privateKey]).to.equal(PRIVATE);
    expect(secret.immutable).to.equal(true);
    expect((await rig.run('identity', 'import', 'gpu-a', '--from', file)).err).to.contain('is there already');
  });

  it('can be encrypted, and open with their passphrase only', async () => {
    const file = join(rig.dir, 'backup.json');
    await writeFile(join(rig.dir, 'pass'), 'correct horse\n');
    await writeFile(join(rig.dir, 'wrong'), 'battery\n');
    const words = ['--passphrase-file', join(rig.dir, 'pass')];
    expect(await rig.run('identity', 'export', 'gpu-a', '--to', file, ...words)).to.include({ code: 0 });
    expect(await readFile(file, 'utf8')).to.not.contain('4c4c');
    await rig.client.delete(KIND.secret, { name: `gpu-a-${nodeId}`, namespace: 'nodes' });
    const wrong = await rig.run(
      'identity',
      'import',
      'gpu-a',
      '--from',
      file,
      '--passphrase-file',
      join(rig.dir, 'wrong'),
    );
    expect(wrong.err).to.contain('the passphrase is wrong');
    expect((await rig.run('identity', 'import', 'gpu-a', '--from', file)).code).to.equal(2);
    expect(await rig.run('identity', 'import', 'gpu-a', '--from', file, ...words)).to.include({ code: 0 });
  }).timeout(60_000);

  it('never make one node into another', async () => {
    const file = join(rig.dir, 'other.json');
    await writeFile(file, JSON.stringify({ privateKey: `0x${'5d'.repeat(32)}` }));
    const { code, err } = await rig.run('identity', 'import', 'gpu-a', '--from', file);
    expect(code).to.equal(1);
    expect(err).to.contain('a node never becomes another one').and.not.contain('5d5d');
    const fresh = await rig.run('identity', 'import', 'gpu-new', '--from', file);
    expect(fresh.out).to.match(/write spec.identity.secretRef.name: gpu-new-0x\w{40} into the ResultityNode gpu-new/);
    await writeFile(file, JSON.stringify({ privateKey: 'MARK-not-a-key' }));
    expect((await rig.run('identity', 'import', 'x', '--from', file)).err)
      .to.contain('holds no private key')
      .and.not.contain('MARK');
  });
});
