import { expect } from 'chai';
import { type RunningOperator, startOperator } from '../test/support/operator-rig.ts';
import { NODE, runtimeOf, TTL, World } from '../test/support/operator-world.ts';
import { until } from '../test/support/until.ts';
import { KIND } from './kinds.ts';

interface Scene {
  readonly name: string;
  /** What stands before: nothing, or a node that serves. */
  readonly before: 'nothing' | 'serving';
  readonly change: (world: World) => Promise<unknown>;
  readonly done: (world: World) => boolean;
}

const image = (world: World): string => world.pods[0]?.spec?.containers[0]?.image ?? '';
const scenes: Scene[] = [
  { name: 'a node is created', before: 'nothing', change: (w) => w.create(), done: (w) => w.settled },
  {
    name: 'the runtime image changes',
    before: 'serving',
    change: async (w) => w.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('b')] }),
    done: (w) => w.settled && image(w).includes('bbbb'),
  },
  {
    name: 'the runtime image changes to a broken one',
    before: 'serving',
    change: async (w) => {
      w.player.broken.add((runtimeOf('b') as { image: string }).image);
      w.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('b')] });
    },
    done: (w) =>
      w.settled &&
      image(w).includes('aaaa') &&
      w.node?.metadata.annotations?.['resultity.com/rolled-back'] !== undefined,
  },
  {
    name: 'the agent image changes',
    before: 'serving',
    change: async (w) => {
      const agent = w.network.kit.document().agent as object;
      w.network.kit.publish({
        ttl: TTL,
        runtimes: [runtimeOf('a')],
        agent: { ...agent, image: `registry.example/resultity@sha256:${'9'.repeat(64)}` },
      });
    },
    done: (w) => w.settled && w.pods[0]?.spec?.initContainers?.[0]?.image.includes('9999') === true,
  },
  {
    name: 'the node moves to other machines',
    before: 'serving',
    change: (w) => w.user.patchMerge(KIND.node, NODE, { spec: { placement: { nodeSelector: { zone: 'b' } } } }),
    done: (w) => w.settled && (w.pods[0]?.spec?.nodeSelector as { zone?: string } | undefined)?.zone === 'b',
  },
  {
    name: 'the node is deleted',
    before: 'serving',
    change: (w) => w.user.delete(KIND.node, NODE),
    done: (w) => w.node === undefined && w.pods.length === 0,
  },
];

/** Seconds on a quiet machine. */
const LIMIT_MS = 90_000;

/** The whole scene; the operator dies after `dieAfter` writes of it and another takes over. Gives the writes it took in all. */
const play = async (scene: Scene, dieAfter: number): Promise<{ writes: number; outcome: object }> => {
  const world = await World.start();
  const running: RunningOperator[] = [];
  const operator = async (dies = Number.POSITIVE_INFINITY): Promise<RunningOperator> => {
    const started = await startOperator(world.api.connection, [], dies);
    running.push(started);
    return started;
  };
  const stop = async (): Promise<void> => {
    for (const o of running.splice(0)) await o.stop();
  };
  try {
    if (scene.before === 'serving') {
      await world.create();
      await operator();
      await until('serving', () => world.settled, LIMIT_MS);
      await stop();
    }
    const mortal = await operator(dieAfter);
    await scene.change(world);
    let dead = false;
    void mortal.died.then(() => {
      dead = true;
    });
    await until('done or dead', () => dead || scene.done(world), LIMIT_MS);
    const writes = mortal.writes();
    await stop();
    await operator();
    await until(`done by the heir, died after ${dieAfter}`, () => scene.done(world), LIMIT_MS);
    return { writes, outcome: world.outcome };
  } catch (error) {
    process.stderr.write(
      `${JSON.stringify(world.node?.status, null, 1)}\n${running.map((o) => o.complaints.slice(-5).join('\n')).join('\n')}\n`,
    );
    throw error;
  } finally {
    await stop();
    await world.stop();
  }
};

const AT_ONCE = 12;

describe('an operator that dies after any of its writes', function () {
  this.timeout(600_000);
  for (const scene of scenes)
    it(`leaves nothing that its heir cannot finish the same way: ${scene.name}`, async () => {
      const whole = await play(scene, Number.POSITIVE_INFINITY);
      expect(whole.writes).to.be.greaterThan(1);
      expect(whole.outcome).to.include({ mostPods: 1 });
      // Many worlds at a time: they mostly wait for their operators' clocks.
      const deaths = Array.from({ length: whole.writes - 1 }, (_, i) => i + 1);
      for (let from = 0; from < deaths.length; from += AT_ONCE)
        await Promise.all(
          deaths.slice(from, from + AT_ONCE).map(async (n) => {
            const { outcome } = await play(scene, n);
            expect(outcome, `died after write ${n} of ${whole.writes}`).to.deep.equal(whole.outcome);
          }),
        );
    });
});
