import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { firstModel, publish } from '../../hack/demo/publish.ts';
import { buildSimImage } from '../../hack/images/index.ts';
import { Load } from './load.ts';
import { conditionOf, e2e, eventually, fleetNodes, overview, RUNTIME } from './setup.ts';

const FLEET = 'spare';

interface Member {
  readonly name: string;
  readonly surge: boolean;
  readonly ready: boolean;
  /** Its engine serves, and the network sends it jobs. */
  readonly serves: boolean;
  readonly settled: boolean;
  readonly image: string;
}

const members = async (): Promise<Member[]> =>
  (await fleetNodes(FLEET)).map((node) => {
    const isTrue = (type: string): boolean => conditionOf(node, type)?.status === 'True';
    return {
      name: node.metadata.name,
      surge: node.metadata.annotations?.['resultity.com/surge'] !== undefined,
      ready: isTrue('Ready'),
      serves: isTrue('Serving') && isTrue('NetworkVisible'),
      settled: conditionOf(node, 'Progressing')?.reason === 'Settled',
      image: node.status?.agent?.runtime?.image ?? '',
    };
  });
/** What was published before other tests rolled other images. */
const publishFirst = (): Promise<unknown> => publish(e2e().installed, [firstModel(RUNTIME)]);
/** The one member runs this image, nothing of an update is left, and the node more is gone. */
const settled = (image: string): Promise<boolean> =>
  eventually(
    `${FLEET}-0 alone, with ${image.slice(-12)}`,
    async () => {
      const now = await members();
      return now.length === 1 && now.every((m) => m.ready && m.settled && m.image === image);
    },
    300_000,
    overview,
  );

describe('an update with a node more', function () {
  this.timeout(900_000);

  before(async function () {
    if (RUNTIME !== 'sim') return this.skip(); // a real engine more does not fit the machine
    await publishFirst();
    await e2e().apply({
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: FLEET },
      spec: {
        replicas: 1,
        rollout: { maxUnavailable: 0, maxSurge: 1 },
        template: {
          networkRef: { name: 'demo' },
          owner: { email: 'you@example.com' },
          placement: { gpu: { accelerator: 'cpu', count: 1 } },
          runtime: { resources: { requests: { cpu: '50m', memory: '256Mi' } } },
          drain: { timeoutSeconds: 60 },
        },
      },
    });
    await settled(e2e().installed.images.runtime.ref);
  });
  after(async () => {
    const { installed, k } = e2e();
    await publishFirst();
    await k('delete', 'rfleet', FLEET, '--ignore-not-found', '--cascade=foreground', '--timeout=180s');
    await eventually('demo-0 has its old image', async () => {
      const node = await e2e().get('rnode', 'demo-0');
      return (
        node.status.agent.runtime.image === installed.images.runtime.ref &&
        conditionOf(node, 'Ready').status === 'True' &&
        conditionOf(node, 'Progressing').reason === 'Settled'
      );
    });
  });

  it('makes it on a spare GPU, updates when it is Ready, and takes it away: nobody is refused', async () => {
    const { installed } = e2e();
    const runtime = await buildSimImage({ registry: e2e().target.registry, variant: { name: 'surge' } });
    const story: string[] = [];
    let [most, least] = [0, Number.POSITIVE_INFINITY];
    const over = new AbortController();
    const watch = (async () => {
      while (!over.signal.aborted) {
        const now = await members();
        most = Math.max(most, now.length);
        least = Math.min(least, now.filter((m) => m.serves).length);
        const said = now
          .map(
            (m) =>
              `${m.name}${m.surge ? ' (more)' : ''} ${m.serves ? 'serves' : '-'}${m.image === runtime.ref ? ' new' : ''}`,
          )
          .join(', ');
        if (story.at(-1) !== said) story.push(said);
        await sleep(200);
      }
    })();
    await installed.withApi(async (api) => {
      const load = new Load(api, [installed.model], 2);
      try {
        await eventually('answers', () => Promise.resolve(load.count('answered') > 2));
        await publish({ ...installed, images: { ...installed.images, runtime } }, [firstModel(RUNTIME)]);
        await settled(runtime.ref);
      } finally {
        over.abort();
        await watch;
        for (const line of story) process.stdout.write(`      ${line}\n`);
        await load.settle('an update with a node more');
      }
      expect(load.count('refused')).to.equal(0);
      expect(load.count('midStream')).to.equal(0);
    });
    expect({ most, least }).to.deep.equal({ most: 2, least: 1 });
  });
});
