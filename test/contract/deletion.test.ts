/** Foreground, background and orphan deletion of fleets and nodes, with the cluster's own garbage collector. */

import { expect } from 'chai';
import { fixedConnection } from '../../src/kube/index.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { installCrds } from '../support/crds.ts';
import {
  KitNetwork,
  networkManifest,
  nodeManifest,
  type RunningOperator,
  startOperator,
} from '../support/operator-rig.ts';
import { until } from '../support/until.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field in assertions
type Json = any;
type How = 'Foreground' | 'Background' | 'Orphan';

const NS = 'nodes';
const at = (plural: string, name = ''): string =>
  `/apis/resultity.com/v1alpha1/namespaces/${NS}/${plural}${name === '' ? '' : `/${name}`}`;
const core = (plural: string, name = ''): string =>
  `/api/v1/namespaces/${NS}/${plural}${name === '' ? '' : `/${name}`}`;

describe('deletion of fleets and nodes on a real API server with its garbage collector', function () {
  this.timeout(180_000);
  /** The collector may have to try again, with growing pauses. */
  const LONG = 60_000;
  let api: ApiServer;
  let network: KitNetwork;
  let operator: RunningOperator;

  const create = async (path: string, body: unknown): Promise<Json> => {
    const answer = await api.call('POST', path, body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    return answer.body;
  };
  const get = async (path: string): Promise<Json> => {
    const answer = await api.call('GET', path);
    return answer.status === 200 ? answer.body : undefined;
  };
  const list = async (path: string, prefix: string): Promise<Json[]> =>
    ((await get(path))?.items ?? []).filter((o: Json) => o.metadata.name.startsWith(prefix));
  const remove = async (path: string, propagationPolicy: How): Promise<void> => {
    const { status } = await api.call('DELETE', path, { propagationPolicy });
    expect(status).to.be.within(200, 202);
  };
  const uids = async (path: string, prefix: string): Promise<string[]> =>
    (await list(path, prefix)).map((o) => o.metadata.uid).sort();
  const comes = (what: string, holds: () => Promise<boolean>): Promise<void> =>
    until(what, holds, LONG).catch(async (cause: unknown) => {
      const state = await Promise.all(
        [at('resultityfleets'), at('resultitynodes'), core('pods')].map(async (path) =>
          ((await get(path))?.items ?? []).map((o: Json) => o.metadata),
        ),
      );
      throw new Error(`${what}: ${JSON.stringify(state)} ${operator.complaints.slice(-3).join(' ')}`, { cause });
    });

  const fleet = async (name: string): Promise<string> => {
    await create(at('resultityfleets'), {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name },
      spec: { replicas: 2, template: nodeManifest('x', NS).spec },
    });
    await comes('two pods', async () => (await list(core('pods'), `${name}-`)).length === 2);
    return at('resultityfleets', name);
  };
  const node = async (name: string): Promise<string> => {
    await create(at('resultitynodes'), nodeManifest(name, NS));
    await comes('its pod', async () => (await get(core('pods', name))) !== undefined);
    return at('resultitynodes', name);
  };
  const secrets = (prefix: string): Promise<Json[]> => list(core('secrets'), prefix);

  before(async function () {
    this.timeout(600_000); // the collector's program is made once per machine
    api = await startApiServer();
    await installCrds(api);
    await api.collectGarbage();
    await create('/api/v1/namespaces', { metadata: { name: NS } });
    network = await KitNetwork.start();
    network.kit.publish({
      ttl: { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 300, retryMs: 300, cacheMs: 1000 },
    });
    operator = await startOperator(fixedConnection(api.url, { ...api.admin }));
    await create(at('resultitynetworks'), networkManifest(network, NS));
  });
  after(async () => {
    await operator?.stop();
    await network?.stop();
    await api?.stop();
  });

  for (const how of ['Background', 'Foreground'] as const) {
    it(`${how}: a fleet's nodes and pods go with it, each node by its own finalizer, and the keys stay`, async () => {
      const name = `f-${how.toLowerCase()}`;
      const path = await fleet(name);
      const keys = (await secrets(`${name}-`)).map((s) => s.metadata.uid).sort();
      expect(keys).to.have.length(2);
      // A node that takes its time: as one that drains.
      const slow = at('resultitynodes', `${name}-1`);
      const finalizers = [...(await get(slow)).metadata.finalizers, 'example.com/slow'];
      await api.call('PATCH', slow, { metadata: { finalizers } }, 'application/merge-patch+json');
      await remove(path, how);
      await comes('the other node', async () => (await list(at('resultitynodes'), `${name}-`)).length === 1);
      await comes('both pods', async () => (await list(core('pods'), `${name}-`)).length === 0);
      const left = await get(path);
      if (how === 'Foreground') expect(left?.metadata.deletionTimestamp, 'it goes last').to.be.a('string');
      else expect(left, 'it went first').to.equal(undefined);
      await api.call('PATCH', slow, { metadata: { finalizers: null } }, 'application/merge-patch+json');
      await comes('everything', async () => {
        const nodes = await list(at('resultitynodes'), `${name}-`);
        return nodes.length === 0 && (await get(path)) === undefined;
      });
      expect((await secrets(`${name}-`)).map((s) => s.metadata.uid).sort()).to.deep.equal(keys);
    });

    it(`${how}: a node's pod goes with it and no other comes, and its key stays`, async () => {
      const name = `n-${how.toLowerCase()}`;
      const path = await node(name);
      await remove(path, how);
      await comes('gone', async () => (await get(path)) === undefined && (await get(core('pods', name))) === undefined);
      expect(await secrets(`${name}-`)).to.have.length(1);
    });
  }

  it('Orphan: a fleet’s nodes live on with their pods as single nodes, and nobody scales them', async () => {
    const path = await fleet('f-orphan');
    const [nodes, pods] = [await uids(at('resultitynodes'), 'f-orphan-'), await uids(core('pods'), 'f-orphan-')];
    await remove(path, 'Orphan');
    await comes('gone', async () => (await get(path)) === undefined);
    const owners = (await list(at('resultitynodes'), 'f-orphan-')).map((n) => n.metadata.ownerReferences ?? []);
    expect(owners).to.deep.equal([[], []]);
    // They are still kept: a pod that is lost comes again.
    await api.call('DELETE', core('pods', 'f-orphan-0'));
    await comes('its next pod', async () => {
      const next = await get(core('pods', 'f-orphan-0'));
      return next !== undefined && !pods.includes(next.metadata.uid);
    });
    expect(await uids(at('resultitynodes'), 'f-orphan-')).to.deep.equal(nodes);
    expect((await get(core('pods', 'f-orphan-1')))?.metadata.uid).to.be.oneOf(pods);
    expect(await secrets('f-orphan-')).to.have.length(2);
  });

  it('Orphan: a node’s pod lives on and belongs to nobody; a node of that name does not take it over', async () => {
    const path = await node('n-orphan');
    const { uid } = (await get(core('pods', 'n-orphan'))).metadata;
    await remove(path, 'Orphan');
    await comes('gone', async () => (await get(path)) === undefined);
    const left = await get(core('pods', 'n-orphan'));
    expect([left?.metadata.uid, left?.metadata.ownerReferences, left?.metadata.deletionTimestamp]).to.deep.equal([
      uid,
      undefined,
      undefined,
    ]);
    await create(at('resultitynodes'), nodeManifest('n-orphan', NS));
    await comes('refused', async () => {
      const conditions: Json[] = (await get(path))?.status?.conditions ?? [];
      return conditions.some((c) => c.reason === 'PodRefused' && c.message.includes('is not its own'));
    });
    expect((await get(core('pods', 'n-orphan')))?.metadata.uid).to.equal(uid);
  });
});
