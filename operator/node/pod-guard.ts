import { IDS } from '../../src/api/contract.ts';
import type { ResultityNodeSpec } from '../../src/api/index.ts';
import { type KubeObject, ownerReference } from '../../src/kube/index.ts';
import { KIND } from '../kinds.ts';
import { bounded, childLabels } from '../names.ts';
import type { Container, NetworkPolicy } from '../pod-types.ts';
import type { PodInput } from './pod-input.ts';

/**
 * The ways of shutting the engine in that are not the launcher's sandbox (docs/kubernetes.md, isolation): a packet filter by
 * UID that an init container sets, and a NetworkPolicy for the whole pod. Pure.
 */

/** The guard's container and program; its one argument is the rules. */
export const GUARD = 'egress-guard';
export const NFT = '/usr/sbin/nft';

const TABLE = 'inet resultity_egress';

/** Replaces the table as a whole, so that a second run changes nothing. Rejections name themselves: the probe tells them from silence. */
const rules = (uid: number): string => `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
 chain output {
  type filter hook output priority 0; policy accept;
  oifname "lo" accept
  meta skuid ${uid} counter reject with icmpx type admin-prohibited
 }
}`;

/**
 * For InitGuard: a first init container that lets the runtime's UID reach loopback alone, in this pod's network namespace.
 * NET_ADMIN is its only capability and it ends before anything else starts; namespaces of `baseline` refuse it. The image is
 * the agent's, which has nft.
 */
export const egressGuard = ({ node, images }: PodInput): Container[] =>
  node.spec.isolation === 'InitGuard'
    ? [
        {
          name: GUARD,
          image: images.agent,
          imagePullPolicy: 'IfNotPresent',
          command: [NFT, rules(node.spec.runtime?.securityContext?.runAsUser ?? IDS.runtime)],
          resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
          securityContext: {
            // a capability counts for root alone, as Kubernetes gives no ambient ones
            runAsUser: 0,
            runAsNonRoot: false,
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
            seccompProfile: { type: 'RuntimeDefault' },
          },
          terminationMessagePolicy: 'FallbackToLogsOnError',
        },
      ]
    : [];

const LABEL = 'resultity.com/isolation';
const PODPOLICY = 'podpolicy';

/** By which the policy finds its pod: one that is left over selects no pod of another mode. */
export const policyLabels = (isolation: ResultityNodeSpec['isolation']): Record<string, string> =>
  isolation === 'PodPolicy' ? { [LABEL]: PODPOLICY } : {};

const portOf = (url: string): number[] => {
  if (!URL.canParse(url)) return [];
  const { port, protocol } = new URL(url);
  return [port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port)];
};

/**
 * For PodPolicy: egress of the whole pod to the ports that its agent needs (API server, network, proxy, mirrors, HTTP and
 * HTTPS sources, DNS), never to link-local addresses, where metadata services live. Sources on other ports need a mirror.
 */
export const podPolicy = ({ node, network }: PodInput): NetworkPolicy | undefined => {
  if (node.spec.isolation !== 'PodPolicy') return undefined;
  const { endpoint, tls, sources } = network.object.spec;
  const urls = [
    endpoint,
    ...(tls?.proxy === undefined ? [] : [tls.proxy]),
    ...(sources?.mirrors ?? []).map((m) => m.to),
  ];
  const ports = [...new Set([80, 443, 6443, ...urls.flatMap(portOf)])].toSorted((a, b) => a - b);
  const { name = '', namespace } = node.metadata;
  const labels = childLabels('policy', { node: name, network: node.spec.networkRef.name });
  return {
    metadata: {
      name: bounded(`${name}-egress`),
      ...(namespace === undefined ? {} : { namespace }),
      labels,
      ownerReferences: [{ ...ownerReference(KIND.node, node), blockOwnerDeletion: false }],
    } satisfies KubeObject['metadata'],
    spec: {
      podSelector: { matchLabels: { 'resultity.com/node': labels['resultity.com/node'] ?? name, [LABEL]: PODPOLICY } },
      policyTypes: ['Egress'],
      egress: [
        {
          ports: [
            { port: 53, protocol: 'UDP' },
            { port: 53, protocol: 'TCP' },
          ],
        },
        {
          to: [
            { ipBlock: { cidr: '0.0.0.0/0', except: ['169.254.0.0/16'] } },
            { ipBlock: { cidr: '::/0', except: ['fe80::/10', 'fd00:ec2::254/128'] } },
          ],
          ports: ports.map((port) => ({ port, protocol: 'TCP' })),
        },
      ],
    },
  };
};
