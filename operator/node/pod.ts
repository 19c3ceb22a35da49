import { AGENT_PORT, AGENT_SERVICE_ACCOUNT, ANNOTATION, IDS } from '../../src/api/contract.ts';
import type { ResultityNode, SecurityContextOverlay } from '../../src/api/index.ts';
import { fingerprint } from '../../src/kube/index.ts';
import { labelKeys, podTolerations } from '../../src/placement/index.ts';
import { childLabels, podName } from '../names.ts';
import type { Pod, PodSpec } from '../pod-types.ts';
import { agentContainer, graceSeconds, runtimeContainer } from './pod-containers.ts';
import { egressGuard, policyLabels } from './pod-guard.ts';
import type { PodInput } from './pod-input.ts';
import { gpuAffinity } from './pod-placement.ts';
import { podVolumes } from './pod-volumes.ts';

/**
 * The pod of a node: agent as restartable init container, runtime with the launcher (docs/kubernetes.md, Pod). Pure.
 * Nothing that changes often stands in it: the model, the drain and the floor are annotations, patched on the live pod.
 */
export const desiredPod = (input: PodInput, annotations: Readonly<Record<string, string>>): Pod => {
  const { metadata, spec } = input.node;
  const name = podName(metadata.name ?? '');
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      labels: { ...spec.podTemplate?.labels, ...podLabels(input), ...policyLabels(spec.isolation) },
      annotations: {
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': String(AGENT_PORT),
        ...spec.podTemplate?.annotations,
        ...annotations,
        [ANNOTATION.templateHash]: templateHash(input),
      },
      ownerReferences: [
        {
          apiVersion: 'resultity.com/v1alpha1',
          kind: 'ResultityNode',
          name: metadata.name ?? '',
          uid: metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: podSpec(input),
  };
};

/** Labels of the pod that the operator keeps. */
export const podLabels = (input: Pick<PodInput, 'node' | 'agentVersion' | 'assignedModel'>): Record<string, string> =>
  childLabels('node', {
    node: input.node.metadata.name ?? '',
    network: input.node.spec.networkRef.name,
    fleet: fleetOf(input.node),
    model: input.assignedModel,
    version: input.agentVersion,
  });

const fleetOf = (node: ResultityNode): string | undefined =>
  node.metadata.ownerReferences?.find((o) => o.kind === 'ResultityFleet' && o.controller === true)?.name;

/** Of hashes made by this rule. One of another rule says nothing about the pod: it is put right, not taken for a change. */
const HASH_RULE = '2-';

/** The template hash that a pod carries, if it was made by this rule. */
export const hashOf = (pod: Pod): string | undefined => {
  const hash = pod.metadata?.annotations?.[ANNOTATION.templateHash];
  return hash?.startsWith(HASH_RULE) ? hash : undefined;
};

/**
 * Hash of what the user and the network gave and cannot be changed in a live pod; not of the pod that came out: a new operator
 * version restarts nothing. The images are no part of it (they are patched), nor are the assigned model and the owner's
 * pause (they are annotations).
 */
export const templateHash = (input: PodInput): string => {
  const { spec } = input.node;
  const { storage, placement, runtime, podTemplate, isolation, drain, owner, identity, subclouds } = spec;
  const hash = fingerprint({
    spec: {
      storage,
      placement: { ...placement, fit: undefined, pool: undefined },
      runtime,
      podTemplate,
      isolation,
      drain,
      owner,
      subclouds,
      secretRef: identity.secretRef,
    },
    network: [
      input.network.object.spec.endpoint,
      input.network.name,
      input.network.object.spec.tls?.proxy,
      input.network.object.spec.registration,
    ],
    sources: input.network.object.spec.sources,
    insecureHosts: input.network.object.spec.tls?.allowInsecureHosts,
    gpu: input.gpu,
    keySecret: input.keySecret,
  });
  return `${HASH_RULE}${hash.slice(0, 16)}`;
};

const podSpec = (input: PodInput): PodSpec => {
  const { spec } = input.node;
  const { placement, podTemplate } = spec;
  const pullSecrets = [
    ...(podTemplate?.imagePullSecrets ?? []),
    ...(input.network.object.spec.images?.pullSecrets ?? []),
  ];
  const affinity = gpuAffinity(placement, input.gpu?.resourceName, input.gpuMemoryMiB);
  return {
    serviceAccountName: AGENT_SERVICE_ACCOUNT,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: graceSeconds(spec),
    securityContext: podSecurity(spec.runtime?.securityContext),
    initContainers: [...egressGuard(input), agentContainer(input)],
    containers: [runtimeContainer(input)],
    volumes: podVolumes(input),
    tolerations: podTolerations(placement),
    ...(placement.nodeSelector === undefined && placement.gpu?.product === undefined
      ? {}
      : {
          nodeSelector: {
            ...placement.nodeSelector,
            ...(placement.gpu?.product === undefined
              ? {}
              : { [labelKeys(placement.gpu.resourceName).product]: placement.gpu.product }),
          },
        }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(placement.runtimeClassName === undefined ? {} : { runtimeClassName: placement.runtimeClassName }),
    ...(placement.priorityClassName === undefined ? {} : { priorityClassName: placement.priorityClassName }),
    ...(podTemplate?.topologySpreadConstraints === undefined
      ? {}
      : { topologySpreadConstraints: podTemplate.topologySpreadConstraints }),
    ...(placement.resourceClaims === undefined
      ? {}
      : { resourceClaims: placement.resourceClaims.map(({ request: _, ...claim }) => claim) }),
    ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets }),
  };
};

/** Passes the restricted profile; the sysctl is one of the safe ones, and keeps the engine's loopback ports in one range. */
const podSecurity = (overlay: SecurityContextOverlay | undefined): Record<string, unknown> => ({
  runAsNonRoot: true,
  fsGroup: overlay?.fsGroup ?? IDS.shared,
  fsGroupChangePolicy: overlay?.fsGroupChangePolicy ?? 'OnRootMismatch',
  ...(overlay?.supplementalGroups === undefined ? {} : { supplementalGroups: overlay.supplementalGroups }),
  ...(overlay?.seLinuxOptions === undefined ? {} : { seLinuxOptions: overlay.seLinuxOptions }),
  seccompProfile: { type: 'RuntimeDefault' },
  sysctls: [{ name: 'net.ipv4.ip_local_port_range', value: '29500 29999' }],
});
