/** What the API server must take. */
import type { ResourceKind } from '../../src/api/index.ts';
import { claim, type Fields, wallet } from './crd-cases.ts';

export interface Accepted {
  readonly title: string;
  readonly kind: ResourceKind;
  readonly set: Fields;
}

const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

export const accepted: readonly Accepted[] = [
  { title: 'the smallest ResultityNode', kind: 'ResultityNode', set: {} },
  { title: 'the smallest ResultityNetwork', kind: 'ResultityNetwork', set: {} },
  { title: 'a ResultityNetwork without environment', kind: 'ResultityNetwork', set: { 'spec.environment': undefined } },
  { title: 'the smallest ResultityFleet', kind: 'ResultityFleet', set: {} },
  { title: 'the smallest ApprovedModel', kind: 'ApprovedModel', set: {} },
  { title: 'a wallet in lower case', kind: 'ResultityNode', set: { 'spec.owner': { wallet: wallet.toLowerCase() } } },
  {
    title: 'a wallet whose checksum is wrong, which the operator judges',
    kind: 'ResultityNode',
    set: { 'spec.owner': { wallet: wallet.replace('886E0F', '886e0F') } },
  },
  ...['1g.5gb', '1g.10gb+me', '2g.24gb+me.all', '1g.12gb+gfx', '7g.141gb', '1g.24gb-me'].map((migProfile) => ({
    title: `the MIG profile ${migProfile}`,
    kind: 'ResultityNode' as const,
    set: { 'spec.placement.gpu': { migProfile } },
  })),
  {
    title: 'resource claims',
    kind: 'ResultityNode',
    set: { 'spec.placement.resourceClaims': [{ name: 'gpu', resourceClaimTemplateName: 'h200' }] },
  },
  {
    title: 'resource claims of another maker’s accelerator',
    kind: 'ResultityNode',
    set: {
      'spec.placement': {
        gpu: { accelerator: 'amd' },
        resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: 'mi300' }],
      },
    },
  },
  {
    title: 'a ResultityNode with everything',
    kind: 'ResultityNode',
    set: {
      'spec.owner': { wallet, bindSecretRef: { name: 'bind' } },
      'spec.identity': { secretRef: { name: 'key' }, retain: false },
      'spec.placement': {
        pool: 'h200',
        nodeSelector: { 'nvidia.com/gpu.product': 'NVIDIA-H200' },
        tolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoSchedule', tolerationSeconds: 30 }],
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator: 'In', values: ['a'] }] }],
            },
          },
          podAntiAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [
              { weight: 1, podAffinityTerm: { topologyKey: 'zone', labelSelector: { matchLabels: { a: 'b' } } } },
            ],
          },
        },
        gpu: { accelerator: 'nvidia', count: 2, product: 'NVIDIA-H200', minMemory: '80Gi' },
        runtimeClassName: 'nvidia',
        priorityClassName: 'high',
        unreachableSeconds: 600,
        fit: 'Require',
      },
      'spec.models': { assigned: 'org/qwen3:v2', include: ['org/qwen3'], exclude: ['old:v1'] },
      'spec.runtime': {
        extraArgs: { 'max-model-len': '8192' },
        env: [{ name: 'OMP_NUM_THREADS', value: '4' }],
        resources: { requests: { cpu: '4', memory: '32Gi' }, limits: { memory: '64Gi' } },
        readOnlyRootFilesystem: true,
        securityContext: { runAsUser: 3000, fsGroup: 3000, seLinuxOptions: { level: 's0' } },
      },
      'spec.storage': {
        state: { claimTemplate: claim },
        models: { shared: { hostPath: '/var/lib/resultity/models' } },
      },
      'spec.subclouds': { join: ['eu-research'], leave: ['us'] },
      'spec.isolation': 'Sandbox',
      'spec.drain': { timeoutSeconds: 600, handoverSeconds: 60 },
      'spec.paused': true,
      'spec.podTemplate': {
        labels: { 'kueue.x-k8s.io/queue-name': 'gpu' },
        annotations: { 'karpenter.sh/do-not-disrupt': 'true' },
        imagePullSecrets: [{ name: 'pull' }],
        topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
      },
    },
  },
  {
    title: 'a ResultityNetwork with everything',
    kind: 'ResultityNetwork',
    set: {
      'spec.endpoint': 'http://resultity-network.network.svc:8443',
      'spec.trust': { root: '{"document":"{}","signatures":[]}' },
      'spec.registration': { enrolmentSecretRef: { name: 'token' } },
      'spec.images': {
        allowedRepositories: ['127.0.0.1:5000/resultity', 'registry.example.com/vllm/vllm-openai'],
        mirrors: [{ from: 'images.example.com', to: 'mirror.example.com:5000/images.example.com' }],
        pullSecrets: [{ name: 'pull' }],
      },
      'spec.sources': {
        mirrors: [{ from: 'models.example.com', to: '10.0.0.1:8080' }],
        credentialsSecretRef: { name: 'c' },
        maxMiBPerSecond: 50,
      },
      'spec.tls': {
        caBundle: { inline: pem },
        proxy: 'http://proxy:3128',
        allowInsecureHosts: ['localhost', '127.0.0.1', '::1', 'resultity-network.network.svc', 'a.b.svc.cluster.local'],
      },
      'spec.updates': 'Manual',
      'spec.rollout': { mode: 'Replace', maxUnavailable: '25%', maxSurge: 1, pauseOnFailure: false },
    },
  },
  {
    title: 'plain http to loopback, when it is named',
    kind: 'ResultityNetwork',
    set: {
      'spec.endpoint': 'http://[::1]:8080/',
      'spec.tls': { allowInsecureHosts: ['::1'], caBundle: { configMap: { name: 'ca' } } },
    },
  },
  {
    title: 'a ResultityFleet over two pools',
    kind: 'ResultityFleet',
    set: {
      'spec.replicas': 16,
      'spec.pools': [
        { name: 'h200', nodeSelector: { 'nvidia.com/gpu.product': 'NVIDIA-H200' } },
        {
          name: 'a100-mig',
          nodeSelector: { 'nvidia.com/mig.strategy': 'mixed' },
          gpu: { migProfile: '3g.40gb' },
          max: 4,
        },
      ],
      'spec.rollout': { maxUnavailable: 1, maxSurge: 1, pauseOnFailure: true },
    },
  },
];
