import { expect } from 'chai';
import type { FleetIdentity, ResultityFleet, ResultityNode } from '../../src/api/index.ts';
import { nodeManifest } from '../../test/support/operator-rig.ts';
import { decideFleet } from './decide.ts';

const NOW = Date.parse('2026-11-21T12:00:00Z');

const fleetOf = (
  replicas: number,
  more: Partial<ResultityFleet['spec']> = {},
  identities?: FleetIdentity[],
): ResultityFleet =>
  ({
    apiVersion: 'resultity.com/v1alpha1',
    kind: 'ResultityFleet',
    metadata: { name: 'f', namespace: 'ns', uid: 'u', generation: 1 },
    spec: {
      replicas,
      rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
      template: { ...nodeManifest('x', 'ns').spec, identity: { retain: true } },
      ...more,
    },
    ...(identities ? { status: { identities } } : {}),
  }) as ResultityFleet;

interface Member {
  readonly ready?: boolean;
  readonly pool?: string;
  readonly leaving?: boolean;
  readonly silent?: boolean;
}
const member = (ordinal: number, { ready = true, pool, leaving, silent }: Member = {}): ResultityNode => {
  const base = nodeManifest(`f-${ordinal}`, 'ns');
  const condition = (type: string, status: boolean, reason = 'X') => ({
    type,
    status: status ? 'True' : 'False',
    reason,
    message: '',
    lastTransitionTime: new Date(NOW).toISOString(),
  });
  return {
    ...base,
    metadata: { ...base.metadata, ...(leaving ? { deletionTimestamp: new Date(NOW).toISOString() } : {}) },
    spec: {
      ...base.spec,
      identity: { retain: true },
      placement: { ...base.spec.placement, ...(pool ? { pool } : {}) },
    },
    status: {
      nodeId: `0x${String(ordinal).padStart(40, 'a')}`,
      conditions: [
        condition('Ready', ready),
        condition('Serving', ready),
        condition('AgentReady', !silent, silent ? 'MachineUnreachable' : 'AgentRunning'),
      ],
    },
  } as unknown as ResultityNode;
};
const decide = (fleet: ResultityFleet, nodes: readonly ResultityNode[]) =>
  decideFleet({ now: NOW, fleet, nodes, spare: () => ({ fits: true }) });
const names = (d: ReturnType<typeof decide>): string[] => d.wanted.map((w) => w.name);

describe('the decision about a fleet', () => {
  it('makes the missing ones with the lowest free ordinals, those of leaving nodes left out', () => {
    expect(names(decide(fleetOf(3), []))).to.deep.equal(['f-0', 'f-1', 'f-2']);
    expect(names(decide(fleetOf(3), [member(1), member(0, { leaving: true })]))).to.deep.equal(['f-1', 'f-2', 'f-3']);
  });

  it('takes the least useful away first: not ready, then of a pool that is less preferred, then the highest ordinal', () => {
    const pools = [{ name: 'good' }, { name: 'spare' }];
    const nodes = [
      member(0, { pool: 'spare' }),
      member(1, { pool: 'good', ready: false }),
      member(2, { pool: 'good' }),
      member(3, { pool: 'good' }),
    ];
    expect(decide(fleetOf(3, { pools }), nodes).remove).to.deep.equal(['f-1']);
    expect(decide(fleetOf(2, { pools }), nodes).remove).to.deep.equal(['f-1', 'f-0']);
    expect(decide(fleetOf(1, { pools }), nodes).remove).to.deep.equal(['f-1', 'f-0', 'f-3']);
    expect(names(decide(fleetOf(1, { pools }), nodes))).to.deep.equal(['f-2']);
  });

  it('puts the identity of a node that goes on record, and gives it back to its name', () => {
    const down = decide(fleetOf(1), [member(0), member(1)]);
    expect(down.remove).to.deep.equal(['f-1']);
    const [identity] = down.status.identities ?? [];
    expect(identity?.name).to.equal('f-1');
    expect(identity?.secretName).to.match(/^f-1-0xa+1$/);
    const up = decide(fleetOf(2, {}, down.status.identities), [member(0)]);
    expect(up.wanted[1]).to.deep.include({ name: 'f-1' });
    expect(up.wanted[1]?.spec.identity.secretRef).to.deep.equal({ name: identity?.secretName });
    expect(up.wanted[0]?.spec.identity.secretRef, 'a node that never left keeps its key').to.equal(undefined);
    expect(up.status.identities, 'it stays on record').to.deep.equal(down.status.identities);
  });

  it('knows the key of a node whose status does not tell of it yet by the note that was made before the key', () => {
    const young = member(1);
    const noted = {
      ...young,
      metadata: { ...young.metadata, annotations: { 'resultity.com/node-id': `0x${'b'.repeat(40)}` } },
      status: {},
    } as ResultityNode;
    const { status } = decide(fleetOf(1), [member(0), noted]);
    expect(status.identities).to.deep.equal([{ name: 'f-1', secretName: `f-1-0x${'b'.repeat(40)}` }]);
  });

  it('keeps no identity that the template says not to retain, nor one that never was', () => {
    const gone = member(1);
    const forgotten = { ...gone, spec: { ...gone.spec, identity: { retain: false } } };
    const unborn = { ...member(2), status: {} } as ResultityNode;
    const { remove, status } = decide(fleetOf(1), [member(0), forgotten, unborn]);
    expect(remove).to.have.members(['f-1', 'f-2']);
    expect(status.identities).to.equal(undefined);
  });

  it('lets evictions take as many pods as may be down for an update, as an integer', () => {
    expect(decide(fleetOf(5), []).minAvailable).to.equal(4);
    const half = { mode: 'InPlace', maxUnavailable: '50%', maxSurge: 0, pauseOnFailure: true } as const;
    expect(decide(fleetOf(5, { rollout: half }), []).minAvailable).to.equal(3);
    expect(decide(fleetOf(1), []).minAvailable, 'a single node never blocks a drain').to.equal(0);
  });

  it('brakes when machines fall silent together, and takes nothing away meanwhile', () => {
    const brake = (d: ReturnType<typeof decide>) => d.status.conditions?.find((c) => c.type === 'FleetBrake');
    const one = decide(fleetOf(2), [member(0), member(1), member(2, { silent: true })]);
    expect(brake(one)).to.include({ status: 'False', reason: 'BrakeOff' });
    expect(one.remove).to.have.length(1);
    const many = decide(fleetOf(2), [member(0), member(1, { silent: true }), member(2, { silent: true })]);
    expect(brake(many)).to.include({ status: 'True', reason: 'TooManyVanished' });
    expect(brake(many)?.message).to.contain('2 of 3 nodes');
    expect(many.remove).to.deep.equal([]);
  });
});
