import { Command, InvalidArgumentError } from 'commander';
import { ANNOTATION } from '../api/contract.ts';
import { getCondition, type ResultityNode } from '../api/index.ts';
import { CodedError } from '../lib/index.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import type { Io } from './program.ts';
import { done, type Look, notYet, waitUntil } from './wait.ts';

interface Flags extends ClusterFlags {
  readonly timeout: number;
  readonly wait: boolean;
  readonly now?: boolean;
}

export const parseSeconds = (text: string): number => {
  const [, n, unit] = /^(\d{1,6})(s|m|h)?$/.exec(text) ?? [];
  if (n === undefined) throw new InvalidArgumentError('write seconds, or for example 90s, 10m, 1h.');
  return Number(n) * { s: 1, m: 60, h: 3600 }[(unit ?? 's') as 's' | 'm' | 'h'];
};

const nodeCommand = (name: string, summary: string, seconds: number): Command =>
  clusterOptions(new Command(name).description(summary).argument('<node...>', 'ResultityNodes'))
    .option('--timeout <duration>', 'how long to wait for it to be done', parseSeconds, seconds)
    .option('--no-wait', 'order it and do not wait');

/** `pause`, `resume`, `drain`, `restart`: the four orders for single nodes. Each waits until the status tells that it is done. */
export const actionCommands = (io: Io): Command[] => {
  const each = (act: (c: Cluster, name: string, flags: Flags) => Promise<void>) => (names: string[], flags: Flags) =>
    withCluster(io, flags, async (cluster) => {
      for (const name of names) await act(cluster, name, flags);
    });
  return [
    nodeCommand('pause', 'take no jobs and keep everything else, until resume', 120).action(each(pause)),
    nodeCommand('resume', 'take jobs again, after pause or drain', 600).action(each(resume)),
    nodeCommand('drain', 'finish the running jobs and take no new ones, until resume or the next pod', 600).action(
      each(drain),
    ),
    nodeCommand('restart', 'drain, then make the pod anew with the same identity', 1800)
      .option('--now', 'do not drain first: running jobs are lost to other nodes')
      .action(each(restart)),
  ];
};

const stateOf = (node: ResultityNode): string =>
  `${node.status?.phase ?? 'unknown'}, agent ${node.status?.agent?.phase ?? 'silent'}`;

/** The operator has seen this generation of the spec. */
const seen = (node: ResultityNode): boolean =>
  (node.status?.observedGeneration ?? 0) >= (node.metadata.generation ?? 0);

const wait = async (
  { io }: Cluster,
  { wait: wanted, timeout }: Flags,
  what: string,
  hint: string,
  look: () => Promise<Look>,
): Promise<boolean> => {
  if (wanted) await waitUntil(io, { what, seconds: timeout, hint }, look);
  return wanted;
};

const OPERATOR_HINT = 'Is the operator running? kubectl get pods -A -l app.kubernetes.io/name=resultity-operator';

const pause = async (c: Cluster, name: string, flags: Flags): Promise<void> => {
  await c.get(KIND.node, name);
  await c.patch(KIND.node, name, { spec: { paused: true } });
  const waited = await wait(c, flags, `pausing ${name}`, OPERATOR_HINT, async () => {
    const node = await c.get(KIND.node, name);
    const agent = node.status?.agent?.phase;
    return seen(node) &&
      getCondition(node.status?.conditions, 'Paused')?.status === 'True' &&
      (agent === undefined || agent === 'Paused' || node.status?.podName === undefined)
      ? done
      : notYet(stateOf(node));
  });
  c.io.out(`${name} ${waited ? 'is paused' : 'will be paused'}; kubectl resultity resume ${name} ends it`);
};

const resume = async (c: Cluster, name: string, flags: Flags): Promise<void> => {
  const before = await c.get(KIND.node, name);
  if (before.spec.paused) await c.patch(KIND.node, name, { spec: { paused: false } });
  const { podName } = before.status ?? {};
  const pod = podName === undefined ? undefined : await c.find(KIND.pod, podName);
  if (podName !== undefined && pod?.metadata?.annotations?.[ANNOTATION.drain] !== undefined)
    await c.patch(KIND.pod, podName, { metadata: { annotations: { [ANNOTATION.drain]: null } } });
  const waited = await wait(c, flags, `resuming ${name}`, `kubectl resultity why-not ${name}`, async () => {
    const node = await c.get(KIND.node, name);
    return seen(node) && node.status?.phase === 'Active' ? done : notYet(stateOf(node));
  });
  c.io.out(`${name} ${waited ? 'takes jobs again' : 'will take jobs again'}`);
};

const livePod = async (c: Cluster, name: string): Promise<{ node: ResultityNode; pod: string; uid: string }> => {
  const node = await c.get(KIND.node, name);
  const { podName } = node.status ?? {};
  const pod = podName === undefined ? undefined : await c.find(KIND.pod, podName);
  if (podName === undefined || pod?.metadata?.uid === undefined)
    throw new CodedError(
      'no_pod',
      `${name} has no pod: there is nothing to drain or restart; kubectl resultity why-not ${name}`,
    );
  return { node, pod: podName, uid: pod.metadata.uid };
};

/** Marks the pod and waits until its agent says Drained, or until that pod is gone. */
const drainPod = async (c: Cluster, name: string, pod: string, uid: string, flags: Flags): Promise<boolean> => {
  await c.patch(KIND.pod, pod, { metadata: { uid, annotations: { [ANNOTATION.drain]: 'true' } } });
  return wait(
    c,
    flags,
    `draining ${name}`,
    `kubectl resultity restart ${name} --now does not wait for the jobs; kubectl resultity resume ${name} calls it off`,
    async () => {
      const node = await c.get(KIND.node, name);
      const { agent, podUID } = node.status ?? {};
      return agent?.phase === 'Drained' || (podUID !== undefined && podUID !== uid) ? done : notYet(stateOf(node));
    },
  );
};

const drain = async (c: Cluster, name: string, flags: Flags): Promise<void> => {
  const { pod, uid } = await livePod(c, name);
  const waited = await drainPod(c, name, pod, uid, flags);
  c.io.out(
    `${name} ${waited ? 'is drained: no job runs on it' : 'will be drained'}; kubectl resultity resume ${name} ends it`,
  );
};

const restart = async (c: Cluster, name: string, flags: Flags): Promise<void> => {
  const { node, pod, uid } = await livePod(c, name);
  const working = node.status?.agent?.phase !== undefined && node.status.podUID === uid;
  // Without --no-wait's patience nothing may be cut off: the drain itself is always waited for.
  if (!flags.now && working) await drainPod(c, name, pod, uid, { ...flags, wait: true });
  await c.remove(KIND.pod, pod, uid);
  const waited = await wait(c, flags, `restarting ${name}`, `kubectl resultity why-not ${name}`, async () => {
    const now = await c.get(KIND.node, name);
    const other = now.status?.podUID !== undefined && now.status.podUID !== uid;
    const paused = now.spec.paused && now.status?.phase === 'Paused';
    return other && (now.status?.phase === 'Active' || paused) ? done : notYet(stateOf(now));
  });
  c.io.out(`${name} ${waited ? 'is back, with the same identity' : 'is being made anew'}`);
};
