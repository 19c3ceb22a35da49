import { setTimeout as sleep } from 'node:timers/promises';
import { KIND } from '../../operator/kinds.ts';
import type { Pod } from '../../operator/pod-types.ts';
import { ANNOTATION } from '../../src/api/contract.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import type { KubeClient, Store } from '../../src/kube/index.ts';

/** From one change to the next. Each node is changed once, so none waits for its own last look. */
const EVERY_MS = 250;

/**
 * Holds one node after the other while `work` lasts, and gives how long each took until its pod said so, in ms: from before
 * the write until this process sees the pod.
 */
export const changesWhile = async (
  client: KubeClient,
  pods: Store<Pod>,
  nodes: readonly ResultityNode[],
  work: Promise<unknown>,
): Promise<number[]> => {
  let working = true;
  const end = work.finally(() => {
    working = false;
  });
  const times: Promise<number>[] = [];
  for (const { metadata } of nodes) {
    if (!working) break;
    times.push(changed(client, pods, metadata));
    await sleep(EVERY_MS);
  }
  await end;
  return Promise.all(times);
};

const changed = async (
  client: KubeClient,
  pods: Store<Pod>,
  { namespace = '', name = '' }: ResultityNode['metadata'],
): Promise<number> => {
  const started = performance.now();
  await client.patchMerge(KIND.node, { namespace, name }, { metadata: { annotations: { [ANNOTATION.hold]: 'true' } } });
  for (;;) {
    const pod = pods.get(`${namespace}/${name}`);
    if (pod?.metadata?.annotations?.[ANNOTATION.hold] === 'true') return performance.now() - started;
    if (performance.now() - started > 60_000) throw new Error(`the pod of ${name} does not say that it is held`);
    await sleep(5);
  }
};
