import { expect } from 'chai';
import fc from 'fast-check';
import type { ResultityFleet, ResultityNode } from '../../src/api/index.ts';
import { nodeManifest } from '../../test/support/operator-rig.ts';
import { isSurge, stageOf } from '../node/index.ts';
import { shareOf, surgeWait } from '../node/surge.ts';
import { turnOf } from '../node/turns.ts';
import { decideFleet, type FleetDecision } from './decide.ts';
import type { Spare } from './surge.ts';

const START = Date.parse('2026-11-21T12:00:00Z');
type Policy = ResultityFleet['spec']['rollout'];

const fleetOf = (replicas: number, rollout: Partial<Policy> = {}, more: Partial<ResultityFleet['spec']> = {}) =>
  ({
    apiVersion: 'resultity.com/v1alpha1',
    kind: 'ResultityFleet',
    metadata: { name: 'f', namespace: 'ns', uid: 'u', generation: 1 },
    spec: {
      replicas,
      rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 1, pauseOnFailure: true, ...rollout },
      template: { ...nodeManifest('x', 'ns').spec, identity: { retain: true } },
      ...more,
    },
  }) as ResultityFleet;

interface Seen {
  readonly progress?: string;
  readonly serving?: boolean;
  readonly visible?: boolean;
  readonly surge?: boolean;
  readonly leaving?: boolean;
  readonly placed?: boolean;
  readonly degraded?: string;
  readonly phase?: 'Unplaced';
  readonly hold?: boolean;
  readonly silent?: boolean;
  /** ms before now. */
  readonly age?: number;
}

const node = (name: string, seen: Seen = {}, now = START): ResultityNode => {
  const { progress = 'Settled', serving = true, surge = false, leaving = false, placed = true, hold = false } = seen;
  const at = new Date(now - (seen.age ?? 1000)).toISOString();
  const condition = (type: string, status: boolean, reason: string) => ({
    type,
    status: status ? 'True' : 'False',
    reason,
    message: '',
    lastTransitionTime: at,
  });
  const base = nodeManifest(name, 'ns');
  return {
    ...base,
    metadata: {
      ...base.metadata,
      creationTimestamp: at,
      ...(leaving ? { deletionTimestamp: at } : {}),
      annotations: {
        ...(surge ? { 'resultity.com/surge': 'true' } : {}),
        ...(hold ? { 'resultity.com/hold': 'true' } : {}),
      },
    },
    spec: { ...base.spec, identity: { retain: true } },
    status: {
      nodeId: `0x${'a'.repeat(40)}`,
      ...(placed ? { kubernetesNode: 'm' } : {}),
      ...(seen.phase === undefined ? {} : { phase: seen.phase }),
      conditions: [
        condition('Ready', serving && seen.visible !== false && progress !== 'Updating', 'X'),
        condition('Serving', serving, 'X'),
        condition('NetworkVisible', seen.visible ?? serving, 'X'),
        condition('AgentReady', !seen.silent, seen.silent ? 'MachineUnreachable' : 'AgentRunning'),
        condition('Progressing', !serving || progress === 'Updating', progress),
        condition('Degraded', seen.degraded !== undefined, seen.degraded ?? 'AsExpected'),
      ],
    },
  } as unknown as ResultityNode;
};
const FITS: Spare = { fits: true };
const FULL: Spare = { fits: false, why: 'all 8 in use' };
const decide = (
  fleet: ResultityFleet,
  nodes: readonly ResultityNode[],
  spare: Spare | 'unknown' = FITS,
  now = START,
): FleetDecision => decideFleet({ now, fleet, nodes, spare: () => (spare === 'unknown' ? undefined : spare) });
const surgesOf = (d: FleetDecision): string[] => d.wanted.filter((w) => w.surge).map((w) => w.name);
const said = (d: FleetDecision) => d.status.conditions?.find((c) => c.type === 'Surge');
const said0 = (fleet: ResultityFleet, d: FleetDecision): ResultityFleet => ({ ...fleet, status: d.status });

const asking = (...more: ResultityNode[]) => [node('f-0', { progress: 'SurgePending' }), node('f-1'), ...more];

describe('one node more than wanted, for an update', () => {
  it('is made above the replicas when a member waits for it and a spare GPU fits, and asks for no GPU that others want', () => {
    const d = decide(fleetOf(2), asking());
    expect(surgesOf(d)).to.deep.equal(['f-2']);
    expect(d.wanted.find((w) => w.surge)?.spec.placement.fit).to.equal('Require');
    expect(d.wanted.find((w) => !w.surge)?.spec.placement.fit).to.equal('Advise');
    expect(said(d)).to.include({ status: 'True', reason: 'Surging' });
    expect(d.status.conditions?.find((c) => c.type === 'Progressing')?.reason).to.equal('RollingOut');
    expect(surgesOf(decide(fleetOf(2), [node('f-0'), node('f-1')])), 'not without a need').to.deep.equal([]);
  });

  it('says that no GPU is spare, keeps saying so while the update goes on without, and forgets it after', () => {
    const fleet = fleetOf(2);
    const none = decide(fleet, asking(), FULL);
    expect(surgesOf(none)).to.deep.equal([]);
    expect(said(none)).to.include({ status: 'False', reason: 'NoSpareGPU' });
    expect(said(none)?.message).to.contain('1 out of service at a time: all 8 in use');
    const going = decide(said0(fleet, none), [node('f-0', { progress: 'Updating' }), node('f-1')], FULL);
    expect(said(going)).to.include({ reason: 'NoSpareGPU' });
    const freed = decide(said0(fleet, none), [
      node('f-0', { progress: 'Updating' }),
      node('f-1', { progress: 'UpdateHeld' }),
    ]);
    expect(surgesOf(freed), 'a GPU got free meanwhile').to.deep.equal(['f-2']);
    expect(said(decide(said0(fleet, going), [node('f-0'), node('f-1')], FULL))).to.include({ reason: 'Settled' });
  });

  it('is waited for while it is not known yet whether a GPU is spare, as after a restart of the operator', () => {
    const d = decide(fleetOf(2), asking(), 'unknown');
    expect(surgesOf(d)).to.deep.equal([]);
    expect(said(d), 'NoSpareGPU would let the update go on without').to.include({ status: 'False', reason: 'Waiting' });
    expect(d.againMs).to.be.at.most(1_000);
  });

  it('goes when no member waits, is updated or comes up any more, its identity kept for the next time', () => {
    const surge = node('f-2', { surge: true });
    for (const on of ['SurgePending', 'PullingImage', 'UpdateHeld', 'Updating'])
      expect(surgesOf(decide(fleetOf(2), [node('f-0', { progress: on }), node('f-1'), surge])), on).to.have.length(1);
    const comes = node('f-0', { progress: 'PodPending', serving: false });
    expect(surgesOf(decide(fleetOf(2), [comes, node('f-1'), surge]))).to.have.length(1);
    const unseen = node('f-0', { visible: false });
    expect(surgesOf(decide(fleetOf(2), [unseen, node('f-1'), surge])), 'gets no jobs yet').to.have.length(1);
    const broken = node('f-0', { progress: 'ContainerCrashLoopBackOff', serving: false, age: 1_900_000 });
    const overlooked = node('f-0', { visible: false, age: 1_900_000 });
    for (const first of [node('f-0'), broken, overlooked]) {
      const over = decide(fleetOf(2), [first, node('f-1'), surge]);
      expect(over.remove).to.deep.equal(['f-2']);
      expect(over.status.identities?.map((i) => i.name)).to.deep.equal(['f-2']);
      expect(decide(said0(fleetOf(2), over), asking()).wanted.at(-1)?.spec.identity.secretRef?.name).to.match(
        /^f-2-0x/,
      );
    }
  });

  it('is no more than maxSurge, a percentage rounded up, one at a time', () => {
    expect([0, 1, '0%', '10%', '34%', '100%'].map((v) => shareOf(v, 3, Math.ceil))).to.deep.equal([0, 1, 0, 1, 2, 3]);
    const many = [0, 1, 2].map((i) => node(`f-${i}`, { progress: 'SurgePending' }));
    const fleet = fleetOf(3, { maxSurge: 2 });
    expect(surgesOf(decide(fleet, many))).to.deep.equal(['f-3']);
    expect(surgesOf(decide(fleet, [...many, node('f-3', { surge: true, placed: false })]))).to.deep.equal(['f-3']);
    expect(surgesOf(decide(fleet, [...many, node('f-3', { surge: true })]))).to.deep.equal(['f-3', 'f-4']);
    const both = [node('f-3', { surge: true }), node('f-4', { surge: true })];
    expect(surgesOf(decide(fleet, [...many, ...both]))).to.deep.equal(['f-3', 'f-4']);
    const lowered = decide(fleetOf(3, { maxSurge: 0 }), [...many, ...both]);
    expect(lowered.remove).to.have.members(['f-3', 'f-4']);
    expect(said(lowered)).to.equal(undefined);
  });

  it('waits for nodes that are still leaving, for missing ones, and for the brake', () => {
    const gone = node('f-2', { leaving: true });
    expect(surgesOf(decide(fleetOf(2), asking(gone)))).to.deep.equal([]);
    expect(surgesOf(decide(fleetOf(3), asking()))).to.deep.equal([]);
    const silent = [1, 2].map((i) => node(`f-${i}`, { silent: true }));
    const braked = decide(fleetOf(3), [node('f-0', { progress: 'SurgePending' }), ...silent]);
    expect(surgesOf(braked)).to.deep.equal([]);
    const held = decide(fleetOf(2), [node('f-0'), ...silent, node('f-3', { surge: true })]);
    expect(held.remove).to.deep.equal([]);
    expect(surgesOf(held)).to.deep.equal(['f-3']);
  });

  it('takes the place of a member that is missing', () => {
    const d = decide(fleetOf(2), [node('f-1'), node('f-0', { leaving: true }), node('f-2', { surge: true })]);
    expect(d.wanted.map((w) => [w.name, w.surge, w.spec.placement.fit])).to.deep.equal([
      ['f-1', false, 'Advise'],
      ['f-2', false, 'Advise'],
    ]);
  });

  it('is not made for nodes that a person holds or whose machine is silent, nor when the update was stopped', () => {
    const asks = { progress: 'SurgePending' } as const;
    for (const first of [node('f-0', { ...asks, hold: true }), node('f-0', { ...asks, silent: true })])
      expect(surgesOf(decide(fleetOf(2), [first, node('f-1')]))).to.deep.equal([]);
    const back = [node('f-0', asks), node('f-1', { progress: 'RolledBack' })];
    expect(surgesOf(decide(fleetOf(2), back))).to.deep.equal([]);
    expect(decide(fleetOf(2), [...back, node('f-2', { surge: true })]).remove).to.deep.equal(['f-2']);
    expect(surgesOf(decide(fleetOf(2, { pauseOnFailure: false }), back))).to.deep.equal(['f-2']);
  });

  it('goes into the first pool with room where a GPU is spare', () => {
    const pools = [{ name: 'full', max: 2 }, { name: 'busy' }, { name: 'free' }];
    const members = asking().map((n) => ({
      ...n,
      spec: { ...n.spec, placement: { ...n.spec.placement, pool: 'full' } },
    }));
    const asked: (string | undefined)[] = [];
    const d = decideFleet({
      now: START,
      fleet: fleetOf(2, {}, { pools }),
      nodes: members,
      spare: ({ placement }) => {
        asked.push(placement.pool);
        return placement.pool === 'free' ? FITS : FULL;
      },
    });
    expect(asked).to.deep.equal(['busy', 'free']);
    expect(d.wanted.at(-1)?.spec.placement.pool).to.equal('free');
  });
});

describe('whether a member may begin while its fleet surges', () => {
  const wait = (surges: readonly ResultityNode[], rollout: Partial<Policy> = {}, fleet = fleetOf(2, rollout)) =>
    surgeWait(fleet, surges, START);

  it('waits until one more is ready, unless none is asked for, none is spare, or it takes too long', () => {
    expect(wait([], { maxSurge: 0 })).to.equal(undefined);
    expect(wait([])).to.contain('spare GPU is looked for');
    const none = decide(fleetOf(2), asking(), FULL);
    expect(wait([], {}, said0(fleetOf(2), none))).to.equal(undefined);
    const starting = { surge: true, serving: false, progress: 'PodStarting' };
    expect(wait([node('f-2', starting)])).to.contain('f-2, made for this update, must be ready first');
    expect(wait([node('f-2', { ...starting, age: 1_900_000 })])).to.equal(undefined);
    expect(wait([node('f-2', { ...starting, phase: 'Unplaced' })])).to.equal(undefined);
    expect(wait([node('f-2', { surge: true })])).to.equal(undefined);
  });

  it('stops at one that does not come up with the new image, for as long as pauseOnFailure says', () => {
    const bad = { surge: true, serving: false, degraded: 'ContainerCrashLoopBackOff' };
    expect(wait([node('f-2', { ...bad, age: 9_000_000 })])).to.contain('pauseOnFailure');
    expect(wait([node('f-2', bad)], { pauseOnFailure: false })).to.contain('must be ready first');
    expect(wait([node('f-2', { ...bad, age: 9_000_000 })], { pauseOnFailure: false })).to.equal(undefined);
  });
});

/** A fleet on machines with so many free GPUs, its nodes playing their part step by step in any order. */
class Play {
  fleet: ResultityFleet;
  readonly nodes = new Map<string, { seen: Seen; at: number; old: boolean }>();
  gpus: number;
  now = START;
  made = 0;
  most = 0;

  constructor(replicas: number, rollout: Partial<Policy>, gpus: number) {
    this.fleet = fleetOf(replicas, rollout);
    this.gpus = gpus;
    for (let i = 0; i < replicas; i++) this.nodes.set(`f-${i}`, { seen: {}, at: START, old: true });
  }
  get all(): ResultityNode[] {
    return [...this.nodes].map(([name, { seen, at }]) => node(name, { ...seen, age: this.now - at }, this.now));
  }
  /** The fleet's controller; what an operator that dies in the middle leaves undone is left undone. */
  reconcile(writes: number): void {
    const spare = this.gpus > 0 ? FITS : FULL;
    const d = decideFleet({ now: this.now, fleet: this.fleet, nodes: this.all, spare: () => spare });
    let left = writes;
    for (const { name, surge } of d.wanted) {
      const there = this.nodes.get(name);
      if (there !== undefined && there.seen.surge === surge) continue;
      if (left-- <= 0) return;
      if (there) there.seen = { ...there.seen, surge };
      else {
        this.nodes.set(name, {
          seen: { surge, serving: false, placed: false, progress: 'PodPending' },
          at: this.now,
          old: false,
        });
        this.made += surge ? 1 : 0;
      }
    }
    if (left-- <= 0) return;
    this.fleet = { ...this.fleet, status: d.status };
    for (const name of d.remove) {
      if (left-- <= 0) return;
      const there = this.nodes.get(name);
      if (there) there.seen = { ...there.seen, leaving: true };
    }
  }
  /** One node does what comes next for it. */
  step(index: number): void {
    const [name, it] = [...this.nodes][index % this.nodes.size] ?? [];
    if (name === undefined || it === undefined) return;
    const { seen } = it;
    const put = (next: Seen): void => {
      it.seen = { ...seen, ...next };
      it.at = this.now;
    };
    if (seen.leaving) {
      this.nodes.delete(name);
      this.gpus += seen.placed === false ? 0 : 1;
    } else if (seen.placed === false) {
      const fits = this.gpus > 0;
      this.gpus -= fits ? 1 : 0;
      put(fits ? { placed: true, progress: 'LoadingWeights' } : { phase: 'Unplaced' });
    } else if (!seen.serving && seen.serving !== undefined) {
      it.old = false;
      put({ serving: true, progress: 'Settled' });
    } else if (it.old) {
      const all = this.all;
      const self = all.find((n) => n.metadata.name === name)!;
      const others = all.filter((n) => n !== self);
      const surges = others.filter((n) => isSurge(n) && n.metadata.deletionTimestamp === undefined);
      const turn = turnOf({
        peers: others.map((n) => ({
          name: n.metadata.name ?? '',
          updating: this.nodes.get(n.metadata.name ?? '')?.seen.progress === 'Updating',
          pulling: false,
          down: this.nodes.get(n.metadata.name ?? '')?.seen.serving === false,
          refused: [],
          surge: !isSurge(n)
            ? undefined
            : surges.includes(n) && stageOf(n, this.now) === 'ready'
              ? 'ready'
              : 'not ready',
        })),
        policy: this.fleet.spec.rollout,
        serving: true,
        images: [],
        surge: isSurge(self),
        wait: surgeWait(this.fleet, surges, this.now),
      });
      if (turn.go) {
        put({ serving: false, progress: 'Updating' });
        // Somebody else must serve for it: within what may be out, with none of those more than wanted still starting.
        const { replicas, rollout } = this.fleet.spec;
        const serving = this.all.filter((n) => stageOf(n, this.now) === 'ready').length;
        const may = shareOf(rollout.maxUnavailable, replicas);
        const standing = surges.some((n) => stageOf(n, this.now) === 'ready');
        expect(serving, `${name} began`).to.be.at.least(replicas - (standing ? may : Math.max(1, may)));
        const stages = surges.map((n) => stageOf(n, this.now));
        expect(stages.includes('starting') && !stages.includes('ready'), `${name} did not wait`).to.equal(false);
      } else put({ progress: turn.reason ?? 'UpdateHeld' });
    }
  }
  get over(): boolean {
    const all = [...this.nodes.values()];
    return (
      all.every((n) => !n.old && !n.seen.surge && n.seen.serving !== false) && all.length === this.fleet.spec.replicas
    );
  }
}

describe('an update of a fleet that may surge', () => {
  const share = fc.oneof(
    fc.nat(3),
    fc.integer({ min: 0, max: 100 }).map((n) => `${n}%`),
  );
  const worlds = fc
    .record({
      replicas: fc.integer({ min: 1, max: 5 }),
      maxUnavailable: share,
      maxSurge: share,
      gpus: fc.nat(2),
      moves: fc.array(
        fc.oneof(
          { weight: 6, arbitrary: fc.record({ step: fc.nat(9) }) },
          { weight: 3, arbitrary: fc.record({ writes: fc.nat(4) }) },
          { weight: 1, arbitrary: fc.record({ gpus: fc.nat(2) }) },
        ),
        { maxLength: 120 },
      ),
    })
    .filter((w) => !(/^0%?$/.test(String(w.maxUnavailable)) && /^0%?$/.test(String(w.maxSurge))));

  it('property: ends with every member updated and none too many, whatever the order and wherever an operator dies', () => {
    fc.assert(
      fc.property(worlds, ({ replicas, maxUnavailable, maxSurge, gpus, moves }) => {
        const play = new Play(replicas, { maxUnavailable, maxSurge }, gpus);
        const most = shareOf(maxSurge, replicas, Math.ceil);
        const check = (): void => {
          expect(play.nodes.size).to.be.at.most(replicas + most);
        };
        for (const move of moves) {
          play.now += 1000;
          if ('step' in move) play.step(move.step);
          else if ('writes' in move) play.reconcile(move.writes);
          else play.gpus = move.gpus;
          check();
        }
        const before = play.made;
        for (let round = 0; round < 200 && !play.over; round++) {
          play.now += 1000;
          play.reconcile(99);
          for (let i = 0; i < play.nodes.size; i++) play.step(i);
          check();
        }
        expect(play.over, JSON.stringify([...play.nodes])).to.equal(true);
        expect(play.made - before, 'no more are made than may be there').to.be.at.most(most);
        const writes = play.made;
        for (let round = 0; round < 5; round++) play.reconcile(99);
        expect([play.over, play.made], 'and then nothing').to.deep.equal([true, writes]);
      }),
      { numRuns: 300 },
    );
  });
});
