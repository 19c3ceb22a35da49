import { CONTAINER } from '../../src/api/contract.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import { childLabels, pullName } from '../names.ts';
import type { Container, Pod } from '../pod-types.ts';
import { restricted } from './pod-containers.ts';
import type { PodInput } from './pod-input.ts';
import { PULL_REASONS } from './trouble.ts';

/** What the pod that brings images to a machine has come to. */
export type Pull =
  | { readonly at: 'none' }
  /** It is for other images or another machine: away with it. */
  | { readonly at: 'stale'; readonly uid: string }
  | { readonly at: 'ending' }
  | { readonly at: 'waiting'; readonly uid: string; readonly message: string }
  | { readonly at: 'failing'; readonly uid: string; readonly message: string }
  | { readonly at: 'done'; readonly uid: string };

/** Judges the pull pod against the images and the machine that are wanted. Pure. */
export const pullOf = (
  pod: Pod | undefined,
  node: ResultityNode,
  images: readonly string[],
  machine: string | undefined,
): Pull => {
  const uid = pod?.metadata?.uid ?? '';
  if (pod === undefined || !pod.metadata?.ownerReferences?.some((o) => o.uid === node.metadata.uid))
    return { at: 'none' };
  if (pod.metadata.deletionTimestamp !== undefined) return { at: 'ending' };
  const has = new Set((pod.spec?.containers ?? []).map((c) => c.image));
  if (images.some((image) => !has.has(image)) || pod.metadata.annotations?.[MACHINE] !== machine)
    return { at: 'stale', uid };
  if (pod.status?.phase === 'Succeeded') return { at: 'done', uid };
  const statuses = pod.status?.containerStatuses ?? [];
  const stuck = statuses.find((s) => PULL_REASONS.has(s.state?.waiting?.reason ?? ''));
  if (stuck)
    return {
      at: 'failing',
      uid,
      message: `the ${stuck.name} image cannot be pulled (${stuck.state?.waiting?.reason})`,
    };
  if (pod.status?.phase === 'Failed') {
    const bad = statuses.find((s) => (s.state?.terminated?.exitCode ?? 0) !== 0)?.name ?? 'new';
    return { at: 'failing', uid, message: `the ${bad} image was pulled and its program does not start` };
  }
  const told = pod.status?.conditions?.find((c) => c.type === 'PodScheduled' && c.reason === 'Unschedulable');
  if (told)
    return { at: 'waiting', uid, message: `the pod that pulls finds no room on the machine: ${told.message ?? ''}` };
  return { at: 'waiting', uid, message: 'the image is being pulled' };
};

/** What the images are tried with. */
export const PULL_COMMAND = { agent: ['node', '--version'], runtime: ['python3', '-c', 'pass'] } as const;

/** On the pull pod: its machine, so that it need not be read out of the affinity. */
const MACHINE = 'resultity.com/machine';

/**
 * A pod without a GPU that runs each image once on the machine of the node's pod: it completes when they are there and
 * start. Tied to the machine by affinity, not by nodeName, so that the scheduler knows of it.
 */
export const pullPod = (input: PodInput, images: { agent?: string; runtime?: string }, machine: string): Pod => {
  const { metadata } = input.node;
  const once = (name: string, image: string, command: readonly string[], uid: number): Container => ({
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    command: [...command],
    resources: { requests: { cpu: '1m', memory: '16Mi' }, limits: { memory: '256Mi' } },
    securityContext: restricted(uid, uid, true),
  });
  const pullSecrets = [
    ...(input.node.spec.podTemplate?.imagePullSecrets ?? []),
    ...(input.network.object.spec.images?.pullSecrets ?? []),
  ];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pullName(metadata.name ?? ''),
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      labels: childLabels('pull', { node: metadata.name ?? '', network: input.node.spec.networkRef.name }),
      annotations: { [MACHINE]: machine },
      ownerReferences: [
        {
          apiVersion: 'resultity.com/v1alpha1',
          kind: 'ResultityNode',
          name: metadata.name ?? '',
          uid: metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 1,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        ...(images.agent === undefined ? [] : [once(CONTAINER.agent, images.agent, PULL_COMMAND.agent, 10001)]),
        ...(images.runtime === undefined ? [] : [once(CONTAINER.runtime, images.runtime, PULL_COMMAND.runtime, 2000)]),
      ],
      tolerations: [{ operator: 'Exists' }],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [machine] }] }],
          },
        },
      },
      ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets }),
    },
  };
};
