import { expect } from 'chai';
import { firstModel, publish } from '../../hack/demo/publish.ts';
import type { DemoImages } from '../../hack/demo/run.ts';
import { buildResultityImage, buildSimImage, buildVllmCpuImage, type ImageOptions } from '../../hack/images/index.ts';
import { Load } from './load.ts';
import { ENGINE_MS, e2e, eventually, RUNTIME } from './setup.ts';

type Part = 'agent' | 'runtime';
interface Container {
  readonly image: string;
  readonly id: string;
  readonly ready: boolean;
}
interface Seen {
  readonly uid: string;
  readonly machine: string;
  readonly agent: Container;
  readonly runtime: Container;
  readonly annotations: Record<string, string>;
}

const model = firstModel(RUNTIME);
const buildRuntime = RUNTIME === 'vllm' ? buildVllmCpuImage : buildSimImage;

/** The pod as the kubelet shows it. */
const pod = async (): Promise<Seen> => {
  const { metadata, spec, status } = await e2e().get('pod', 'demo-0');
  const of = (containers: 'initContainers' | 'containers', statuses: string, name: Part): Container => {
    const seen = status[statuses].find((c: { name: string }) => c.name === name);
    const { image } = spec[containers].find((c: { name: string }) => c.name === name);
    return { image, id: seen.containerID, ready: seen.ready };
  };
  return {
    uid: metadata.uid,
    machine: spec.nodeName,
    annotations: metadata.annotations,
    agent: of('initContainers', 'initContainerStatuses', 'agent'),
    runtime: of('containers', 'containerStatuses', 'runtime'),
  };
};
const state = async (): Promise<string> =>
  `${await e2e().k('get', 'rnode,pod', '-o', 'wide')}\n${JSON.stringify((await e2e().get('rnode', 'demo-0')).status)}\n${JSON.stringify((await e2e().get('pod', 'demo-0')).metadata.annotations)}`;

/** Waits until the node is Ready, nothing of an update stands on its pod, and the check holds. */
const settled = (what: string, check: (seen: Seen, progressing: { reason: string; message: string }) => boolean) =>
  eventually(
    what,
    async () => {
      const seen = await pod();
      const progressing = await e2e().condition('rnode', 'demo-0', 'Progressing');
      const ready = (await e2e().condition('rnode', 'demo-0', 'Ready')).status === 'True';
      const over = seen.annotations['resultity.com/rollout'] === undefined;
      return ready && over && check(seen, progressing) && seen;
    },
    ENGINE_MS + 120_000,
    state,
  );
const variant = (name: string, env: Record<string, string> = {}): ImageOptions => ({
  registry: e2e().target.registry,
  variant: { name, env },
});

describe('images that change while callers ask', () => {
  let images: DemoImages;

  before(() => {
    images = e2e().installed.images;
  });

  /** Publishes the images and sees what comes of it; every call must end well, and every job be billed once. */
  const roll = async (
    title: string,
    next: DemoImages,
    until: (seen: Seen, progressing: { reason: string; message: string }) => boolean,
  ): Promise<{ before: Seen; after: Seen }> => {
    const { installed } = e2e();
    const before = await pod();
    return installed.withApi(async (api) => {
      const load = new Load(api, [installed.model], 2);
      try {
        await eventually('answers', () => Promise.resolve(load.count('answered') > 2));
        await publish({ ...installed, images: next }, [model]);
        const after = await settled(title, until);
        const answered = load.count('answered');
        await eventually('answers after it', () => Promise.resolve(load.count('answered') > answered + 2));
        images = next;
        return { before, after };
      } finally {
        await load.settle(title);
        expect(load.count('midStream')).to.equal(0);
      }
    });
  };

  it('patches the agent in place: the same pod, the same engine, another agent', async function () {
    this.timeout(ENGINE_MS + 300_000);
    const resultity = await buildResultityImage(variant('rolled'));
    const { before, after } = await roll(
      'agent image',
      { ...images, resultity },
      (seen) => seen.agent.image === resultity.ref && seen.agent.ready,
    );
    expect(after).to.include({ uid: before.uid, machine: before.machine });
    expect(after.runtime).to.deep.equal(before.runtime);
    expect(after.agent.id).to.not.equal(before.agent.id);
  });

  it('patches the runtime in place: the same pod keeps its GPU, the new engine is tested before it serves', async function () {
    this.timeout(ENGINE_MS + 300_000);
    const runtime = await buildRuntime(variant('rolled'));
    const { before, after } = await roll(
      'runtime image',
      { ...images, runtime },
      (seen) => seen.runtime.image === runtime.ref && seen.runtime.ready,
    );
    expect(after).to.include({ uid: before.uid, machine: before.machine });
    expect(after.agent.id).to.equal(before.agent.id);
    expect(after.runtime.id).to.not.equal(before.runtime.id);
    const node = await e2e().get('rnode', 'demo-0');
    expect(node.status.agent.runtime.image).to.equal(runtime.ref);
    await eventually('the configuration that needs it is applied', async () => {
      const [now, network] = [await e2e().get('rnode', 'demo-0'), await e2e().get('rnet', 'demo')];
      return now.status.agent.config.applied === network.status.digest;
    });
  });

  it('patches a runtime back whose engine does not start, says so, and does not try it again', async function () {
    this.timeout(ENGINE_MS + 600_000);
    const good = images;
    const runtime = await buildRuntime(variant('broken', { RESULTITY_ENGINE: '/usr/bin/python3' }));
    const { before, after } = await roll(
      'broken runtime image',
      { ...images, runtime },
      (_, progressing) => progressing.reason === 'RolledBack',
    );
    expect(after).to.include({ uid: before.uid, machine: before.machine });
    expect(after.runtime.image).to.equal(before.runtime.image);
    const { message } = await e2e().condition('rnode', 'demo-0', 'Progressing');
    expect(message).to.contain(runtime.digest.slice(7, 19)).and.contain('resultity.com/rolled-back');
    const events = await e2e().k('get', 'events', '-o', 'jsonpath={range .items[*]}{.reason} {end}');
    expect(events.split(' ')).to.include.members(['Updating', 'Updated', 'RolledBack']);
    await publish({ ...e2e().installed, images: good }, [model]);
    await settled('the good images again', (_, progressing) => progressing.reason === 'Settled');
  });
});
