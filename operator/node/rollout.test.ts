import { expect } from 'chai';
import fc from 'fast-check';
import type { AgentStatus } from '../../src/api/index.ts';
import type { Pod } from '../pod-types.ts';
import type { Pull } from './pull.ts';
import { decideRollout, type RolloutFacts, type RolloutStep } from './rollout.ts';
import { type RolledBack, type Rollout, rolloutOf } from './rollout-state.ts';
import { countOf, turnOf } from './turns.ts';

const image = (what: string, c: string): string => `registry.example/${what}@sha256:${c.repeat(64)}`;
const OLD = { agent: image('resultity', 'a'), runtime: image('vllm', 'a') };
const NOW = Date.UTC(2026, 10, 21, 10);
const MODEL = 'tiny:v1';

/** A pod, its kubelet and its agent, as far as an update sees them. Steps change it as the API server and the kubelet would. */
class World {
  now = NOW;
  wanted = { ...OLD };
  images = { ...OLD };
  annotations: Record<string, string> = { 'resultity.com/template-hash': '2-x' };
  ids = { agent: 1, runtime: 1 };
  broken = new Set<string>();
  pulled = new Set<string>();
  pullPod: string[] | undefined;
  rolledBack: RolledBack = {};
  replaced = false;
  told: string[] = [];
  over: Partial<RolloutFacts> = {};
  /** Images that were ever in the pod while no drain was on. */
  tookAwayWork = false;

  get pod(): Pod {
    const container = (name: 'agent' | 'runtime') => {
      const bad = this.broken.has(this.images[name]);
      return {
        name,
        containerID: `x://${name}-${this.ids[name]}`,
        ready: !bad,
        started: true,
        state: bad ? { waiting: { reason: 'CrashLoopBackOff' } } : { running: {} },
      };
    };
    return {
      metadata: { name: 'gpu-a', uid: 'u', annotations: this.annotations },
      spec: {
        nodeName: 'machine',
        initContainers: [{ name: 'agent', image: this.images.agent }],
        containers: [{ name: 'runtime', image: this.images.runtime }],
      },
      status: {
        phase: 'Running',
        initContainerStatuses: [container('agent')],
        containerStatuses: [container('runtime')],
      },
    };
  }
  get agent(): AgentStatus {
    const { annotations, images } = this;
    const phase = annotations['resultity.com/handover']
      ? 'Handover'
      : annotations['resultity.com/drain']
        ? 'Drained'
        : 'Active';
    return {
      phase,
      image: annotations['resultity.com/agent-image'] ?? OLD.agent,
      models: [{ model: MODEL, state: this.broken.has(images.runtime) ? 'failed' : 'active' }],
    };
  }
  facts(): RolloutFacts {
    const using = (part: 'agent' | 'runtime') =>
      this.rolledBack[part]?.refused === this.wanted[part] ? this.rolledBack[part].using : this.wanted[part];
    return {
      now: this.now,
      pod: this.pod,
      state: rolloutOf(this.pod),
      wanted: { images: { agent: using('agent'), runtime: using('runtime') }, templateHash: '2-x' },
      mode: 'InPlace',
      agent: this.agent,
      serving: !this.broken.has(this.images.runtime) && !this.broken.has(this.images.agent),
      assignedModel: MODEL,
      drain: { timeoutSeconds: 300, handoverSeconds: 30 },
      held: false,
      machineReady: true,
      brake: () => false,
      turn: () => ({ go: true, pull: true, why: '' }),
      pull: (images): Pull => {
        if (this.pullPod === undefined) return { at: 'none' };
        if (images.some((i) => !this.pullPod?.includes(i))) return { at: 'stale', uid: 'p' };
        return { at: 'done', uid: 'p' };
      },
      rolledBack: this.rolledBack,
      heldBack: (['agent', 'runtime'] as const).filter((p) => this.rolledBack[p]?.refused === this.wanted[p]),
      startMs: 900_000,
      ...this.over,
    };
  }
  do(step: RolloutStep): void {
    if ('tell' in step && step.tell) this.told.push(step.tell.reason);
    switch (step.do) {
      case 'pull':
        this.pullPod = Object.values(step.images);
        return;
      case 'deletePull':
        this.pullPod = undefined;
        return;
      case 'rememberRollback':
        this.rolledBack = step.value;
        return;
      case 'replacePod':
        this.replaced = true;
        return;
      case 'patchImage':
        expect(step.from).to.equal(this.images[step.part]);
        if (this.agent.phase === 'Active') this.tookAwayWork = true;
        this.images[step.part] = step.to;
        this.ids[step.part] += 1;
        break;
      case 'mark':
        break;
    }
    for (const [key, value] of Object.entries(step.annotations)) {
      if (value === null) delete this.annotations[key];
      else this.annotations[key] = value;
    }
  }
  /** Runs until nothing more happens; the operator dies after the n-th step and goes on from what stands. */
  settle(dieAfter = Number.POSITIVE_INFINITY): number {
    let count = 0;
    for (let round = 0; round < 60; round++) {
      const { steps, againMs } = decideRollout(this.facts());
      if (steps.length === 0 && (againMs === undefined || rolloutOf(this.pod) === undefined)) return count;
      if (steps.length === 0) this.now += againMs ?? 0;
      for (const step of steps) {
        this.do(step);
        count += 1;
        if (this.replaced) return count;
        if (count === dieAfter) break; // the rest of this decision is lost with the process
      }
    }
    throw new Error('it does not settle');
  }
}
const NEW_AGENT = image('resultity', 'b');
const NEW_RUNTIME = image('vllm', 'b');
const names = (d: { steps: readonly RolloutStep[] }): string[] => d.steps.map((s) => s.do);

describe('an update of a live pod', () => {
  it('pulls first, hands over, patches the agent, and leaves the runtime alone', () => {
    const w = new World();
    w.wanted.agent = NEW_AGENT;
    w.settle();
    expect(w.images).to.deep.equal({ agent: NEW_AGENT, runtime: OLD.runtime });
    expect(w.ids.runtime).to.equal(1);
    expect(w).to.include({ tookAwayWork: false, pullPod: undefined });
    expect(w.told).to.deep.equal(['Updating', 'Updated']);
    expect(Object.keys(w.annotations).sort()).to.deep.equal([
      'resultity.com/agent-image',
      'resultity.com/template-hash',
    ]);
  });

  it('drains, patches the runtime, tells the agent of the image only when its container is there, and undrains', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    expect(names(decideRollout(w.facts()))).to.deep.equal(['pull']);
    w.do(decideRollout(w.facts()).steps[0]!);
    const drain = decideRollout(w.facts());
    expect(names(drain)).to.deep.equal(['mark']);
    w.do(drain.steps[0]!);
    expect(w.annotations).to.include({ 'resultity.com/drain': 'true' });
    const patch = decideRollout(w.facts()).steps[0]!;
    expect(patch).to.include({ do: 'patchImage', to: NEW_RUNTIME });
    expect((patch as { annotations: object }).annotations).to.not.have.property('resultity.com/runtime-image');
    w.settle();
    expect(w.annotations).to.include({ 'resultity.com/runtime-image': NEW_RUNTIME });
    expect(w.annotations).to.not.have.any.keys('resultity.com/drain', 'resultity.com/rollout');
    expect(w).to.include({ tookAwayWork: false, replaced: false });
  });

  it('patches a broken runtime image back, remembers it, and does not try it again', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    w.broken.add(NEW_RUNTIME);
    w.settle();
    expect(w.images).to.deep.equal(OLD);
    expect(w.rolledBack.runtime).to.deep.include({ refused: NEW_RUNTIME, using: OLD.runtime });
    expect(w.told).to.deep.equal(['Updating', 'RolledBack']);
    const held = decideRollout(w.facts());
    expect(held.verdict).to.include({ status: 'False', reason: 'RolledBack' });
    expect(held.verdict?.message).to.contain('resultity.com/rolled-back');
    w.wanted.runtime = OLD.runtime;
    expect(decideRollout(w.facts()).verdict, 'the old one is published again').to.equal(undefined);
    w.wanted.runtime = NEW_RUNTIME;
    w.rolledBack = {};
    w.broken.clear();
    w.settle();
    expect(w.images.runtime).to.equal(NEW_RUNTIME);
  });

  it('patches back what is not ready within its time', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    w.over = { agent: { phase: 'Drained' } };
    const { pod } = w;
    const state: Rollout = {
      what: 'runtime',
      step: 'test',
      from: OLD.runtime,
      to: NEW_RUNTIME,
      since: NOW - 900_000,
      healthy: true,
    };
    const loading = {
      ...pod,
      status: {
        ...pod.status,
        containerStatuses: [{ name: 'runtime', containerID: 'n', ready: false, state: { running: {} } }],
      },
    };
    const at = (over: Partial<RolloutFacts>) => decideRollout({ ...w.facts(), pod: loading, state, ...over });
    expect(names(at({ now: NOW - 1 }))).to.deep.equal(['mark']); // only the image is told
    expect(names(at({}))).to.deep.equal(['rememberRollback', 'patchImage']);
    expect(at({}).verdict?.message).to.contain('900 s');
  });

  it('patches back an engine that cannot even be started, long before its time is over', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    const { pod } = w;
    const state: Rollout = {
      what: 'runtime',
      step: 'test',
      from: OLD.runtime,
      to: NEW_RUNTIME,
      since: NOW,
      healthy: true,
    };
    const statuses = [{ name: 'runtime', containerID: 'n', ready: false, state: { running: {} } }];
    const at = (now: number) =>
      decideRollout({
        ...w.facts(),
        pod: { ...pod, status: { ...pod.status!, containerStatuses: statuses } },
        state,
        now,
        agent: { phase: 'Drained', runtime: { phase: 'crashed' } },
      });
    expect(names(at(NOW + 119_000))).to.deep.equal(['mark']);
    expect(names(at(NOW + 120_000))).to.deep.equal(['rememberRollback', 'patchImage']);
  });

  it('comes to the same end, whichever step the operator dies after', () => {
    for (const bad of [false, true])
      for (const part of ['agent', 'runtime'] as const) {
        const make = (): World => {
          const w = new World();
          w.wanted[part] = image(part, 'b');
          if (bad) w.broken.add(image(part, 'b'));
          return w;
        };
        const whole = make();
        const steps = whole.settle();
        for (let n = 1; n <= steps; n++) {
          const w = make();
          w.settle(n);
          expect([w.images, w.rolledBack, w.annotations], `${part} ${bad} died after ${n}`).to.deep.equal([
            whole.images,
            whole.rolledBack,
            whole.annotations,
          ]);
          expect(w.ids).to.deep.equal(whole.ids);
        }
      }
  });

  it('begins nothing while a person holds the node, its turn has not come, or its machine does not answer', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    for (const [over, says] of [
      [{ held: true }, 'resultity.com/hold'],
      [{ turn: () => ({ go: false, pull: false, why: 'gpu-b is updated' }) }, 'gpu-b is updated'],
      [{ machineReady: false }, 'does not answer'],
    ] as const) {
      const d = decideRollout({ ...w.facts(), ...over });
      expect(d.steps).to.deep.equal([]);
      expect(d.verdict).to.include({ status: 'False', reason: 'UpdateHeld' });
      expect(d.verdict?.message).to.contain(says);
    }
  });

  it('gives the node back to its work when the brake comes on before the image or the pod was touched', () => {
    for (const what of ['agent', 'runtime', 'pod'] as const) {
      const w = new World();
      w.wanted.runtime = NEW_RUNTIME;
      const state: Rollout = { what, step: 'clear', from: OLD.runtime, to: NEW_RUNTIME, since: NOW, healthy: true };
      const d = decideRollout({ ...w.facts(), agent: { phase: 'Drained' }, state, brake: () => true });
      const [mark] = d.steps;
      expect(names(d)).to.deep.equal(['mark']);
      expect(Object.values(mark?.do === 'mark' ? mark.annotations : {}), what).to.deep.equal([null, null]);
    }
  });

  it('goes on with what it has while an image cannot be pulled', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    const d = decideRollout({
      ...w.facts(),
      pull: () => ({ at: 'failing', uid: 'p', message: 'cannot be pulled (ImagePullBackOff)' }),
    });
    expect(d.steps).to.deep.equal([]);
    expect(d.verdict?.message).to.contain('ImagePullBackOff');
  });

  it('gives the work back and stops when the old image is wanted again before the patch', () => {
    const w = new World();
    w.wanted.runtime = NEW_RUNTIME;
    w.do({ do: 'pull', images: { runtime: NEW_RUNTIME } });
    w.do(decideRollout(w.facts()).steps[0]!);
    w.wanted.runtime = OLD.runtime;
    w.settle();
    expect(w.annotations).to.not.have.any.keys('resultity.com/drain', 'resultity.com/rollout');
    expect(w.ids.runtime).to.equal(1);
  });

  it('replaces the pod only for what cannot be patched, or where the policy says so, and drains it first', () => {
    const w = new World();
    w.annotations['resultity.com/template-hash'] = '2-old';
    w.settle();
    expect(w).to.include({ replaced: true });
    expect(w.annotations['resultity.com/drain']).to.equal('true');
    const byPolicy = new World();
    byPolicy.wanted.runtime = NEW_RUNTIME;
    byPolicy.over = { mode: 'Replace' };
    byPolicy.settle();
    expect(byPolicy.replaced).to.equal(true);
    expect(byPolicy.images).to.deep.equal(OLD);
  });

  it('patches at once what does not run anyway', () => {
    const w = new World();
    w.broken.add(OLD.runtime);
    w.wanted.runtime = NEW_RUNTIME;
    expect(names(decideRollout(w.facts()))).to.deep.equal(['patchImage']);
  });

  it('judges and begins nothing new from any state that stands on the pod, but always ends', () => {
    fc.assert(
      fc.property(
        fc.record({
          what: fc.constantFrom('agent', 'runtime', 'pod'),
          step: fc.constantFrom('clear', 'test', 'back'),
          healthy: fc.boolean(),
          bad: fc.boolean(),
          garbage: fc.boolean(),
        }),
        ({ what, step, healthy, bad, garbage }) => {
          const w = new World();
          const state = { what, step, healthy, from: OLD.runtime, to: NEW_RUNTIME, since: NOW };
          w.annotations['resultity.com/rollout'] = garbage ? '{"what":' : JSON.stringify(state);
          if (bad) w.broken.add(NEW_RUNTIME);
          if (what === 'runtime' && step !== 'clear') w.images.runtime = step === 'test' ? NEW_RUNTIME : OLD.runtime;
          w.settle();
          return rolloutOf(w.pod) === undefined && !w.replaced;
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('whose turn it is', () => {
  const peer = (over = {}) => ({ name: 'gpu-b', updating: false, pulling: false, down: false, refused: [], ...over });
  const ask = (peers: ReturnType<typeof peer>[], over = {}) =>
    turnOf({
      peers,
      policy: { maxUnavailable: 1, pauseOnFailure: true },
      serving: true,
      images: [NEW_RUNTIME],
      ...over,
    });

  it('is one at a time by default, and a node that does not serve need not wait', () => {
    expect(ask([peer()]).go).to.equal(true);
    expect(ask([peer({ updating: true })])).to.include({ go: false, why: 'maxUnavailable is 1: gpu-b is updated' });
    expect(ask([peer({ down: true })]).why).to.contain('gpu-b is not serving');
    expect(ask([peer({ updating: true })], { serving: false }).go).to.equal(true);
  });
  it('counts percentages of the group down, but never to nothing', () => {
    expect([countOf('50%', 5), countOf('10%', 5), countOf(0, 5), countOf(3, 5)]).to.deep.equal([2, 1, 1, 3]);
  });
  it('stops for all when one was patched back from the same image', () => {
    const failed = [peer({ refused: [NEW_RUNTIME] })];
    expect(ask(failed)).to.include({ go: false, pull: false });
    expect(ask(failed).why).to.contain('gpu-b was patched back');
    expect(ask(failed, { policy: { maxUnavailable: 1, pauseOnFailure: false } }).go).to.equal(true);
    expect(ask([peer({ refused: [OLD.runtime] })]).go).to.equal(true);
  });
});
