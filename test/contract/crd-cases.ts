/** What the API server must refuse, with the words that it answers. */
import type { ResourceKind } from '../../src/api/index.ts';

export type Fields = Readonly<Record<string, unknown>>;

export interface Refused {
  readonly kind: ResourceKind;
  /** Fields set on the smallest manifest. */
  readonly set: Fields;
  /** Fields that were set before, for rules about changes. */
  readonly from?: Fields;
  /** The field that the answer names. */
  readonly field: string;
  /** Words of the answer: what is wrong and what to write. */
  readonly says: string;
}

const node = (field: string, value: unknown, says: string, at = field): Refused => {
  return { kind: 'ResultityNode', set: { [field]: value }, field: at, says };
};
const network = (field: string, value: unknown, says: string, at = field): Refused => {
  return { kind: 'ResultityNetwork', set: { [field]: value }, field: at, says };
};
const fleet = (field: string, value: unknown, says: string, at = field): Refused => {
  return { kind: 'ResultityFleet', set: { [field]: value }, field: at, says };
};
const model = (field: string, value: unknown, says: string, at = field): Refused => {
  return { kind: 'ApprovedModel', set: { [field]: value }, field: at, says };
};

export const wallet = '0x52908400098527886E0F7030069857D2E4169EE7';
export const claim = { resources: { requests: { storage: '10Gi' } } };

export const refused: readonly Refused[] = [
  // ResultityNode: required
  node('spec', undefined, 'write at least networkRef and owner'),
  node('spec.networkRef', undefined, 'write networkRef with the name of a ResultityNetwork'),
  node('spec.owner', undefined, 'give exactly one of wallet or email'),
  node('spec.networkRef', {}, 'Required value', 'spec.networkRef.name'),
  // owner
  node('spec.owner', {}, 'give exactly one of wallet or email'),
  node('spec.owner', { wallet, email: 'ops@example.com' }, 'give exactly one of wallet or email'),
  node(
    'spec.owner',
    { wallet: '0x529084' },
    '"0x529084" is not an address; write 0x and 40 hex digits',
    'spec.owner.wallet',
  ),
  node('spec.owner', { wallet: wallet.slice(2) }, 'write 0x and 40 hex digits', 'spec.owner.wallet'),
  node('spec.owner.email', 'ops', '"ops" is not an email address; write for example ops@example.com'),
  node(
    'spec.owner.bindSecretRef',
    { name: 'bind', key: 'a/b' },
    'is not a key of a Secret or ConfigMap',
    'spec.owner.bindSecretRef.key',
  ),
  // names and places
  node('spec.networkRef.name', 'Test Net', '"Test Net" is not an object name; write lower-case letters'),
  node(
    'spec.placement.gpu',
    { migProfile: '3g.40' },
    '"3g.40" is not a MIG profile; did you mean 3g.40gb?',
    'spec.placement.gpu.migProfile',
  ),
  node(
    'spec.placement.gpu',
    { migProfile: 'half' },
    '"half" is not a MIG profile; write for example 3g.40gb',
    'spec.placement.gpu.migProfile',
  ),
  node(
    'spec.placement.gpu',
    { resourceName: 'gpu' },
    '"gpu" is not an extended resource; write for example nvidia.com/gpu',
    'spec.placement.gpu.resourceName',
  ),
  node(
    'spec.placement.gpu',
    { minMemory: 'much' },
    '"much" is not a quantity; write for example 100Gi',
    'spec.placement.gpu.minMemory',
  ),
  node('spec.placement.gpu', { count: 0 }, 'should be greater than or equal to 1', 'spec.placement.gpu.count'),
  node(
    'spec.placement.gpu',
    { accelerator: 'tpu' },
    'supported values: "nvidia", "amd", "cpu"',
    'spec.placement.gpu.accelerator',
  ),
  node(
    'spec.placement',
    { gpu: { count: 1 }, resourceClaims: [{ name: 'g', resourceClaimName: 'c' }] },
    'beside resourceClaims, which choose the device, gpu may only name the accelerator',
  ),
  node(
    'spec.placement.resourceClaims',
    [{ name: 'g' }],
    'give exactly one of resourceClaimName or resourceClaimTemplateName',
    'spec.placement.resourceClaims[0]',
  ),
  node('spec.placement.nodeSelector', { ['k'.repeat(318)]: 'v' }, 'has a label key above 317 characters; shorten it'),
  node('spec.placement.unreachableSeconds', -1, 'should be greater than or equal to 0'),
  // models
  node('spec.models', { assigned: 'qwen3' }, '"qwen3" is not a model; write name:version', 'spec.models.assigned'),
  node(
    'spec.models',
    { include: ['Qwen 3'] },
    '"Qwen 3" is not a model; write name or name:version',
    'spec.models.include[0]',
  ),
  node(
    'spec.models',
    { assigned: 'a:v1', exclude: ['a:v1'] },
    'stands in exclude as well; remove it from one of the two',
    'spec.models.assigned',
  ),
  node('spec.models', { include: ['a', 'a'] }, 'Duplicate value', 'spec.models.include[1]'),
  // runtime
  node(
    'spec.runtime',
    { extraArgs: { 'trust-remote-code': 'true' } },
    'holds a flag that may not be set; allowed are max-model-len',
    'spec.runtime.extraArgs',
  ),
  node(
    'spec.runtime',
    { env: [{ name: 'LD_PRELOAD', value: 'x' }] },
    '"LD_PRELOAD" is no variable that may be set; allowed are VLLM_CPU_KVCACHE_SPACE',
    'spec.runtime.env[0].name',
  ),
  node(
    'spec.runtime',
    { securityContext: { runAsUser: 0 } },
    'should be greater than or equal to 1',
    'spec.runtime.securityContext.runAsUser',
  ),
  // storage
  node(
    'spec.storage',
    { state: {} },
    'give exactly one of ephemeral, claimTemplate or existingClaim',
    'spec.storage.state',
  ),
  node(
    'spec.storage',
    { models: { ephemeral: {}, claimTemplate: claim } },
    'give exactly one of ephemeral, claimTemplate or shared',
    'spec.storage.models',
  ),
  node(
    'spec.storage',
    { models: { shared: {} } },
    'give exactly one of existingClaim or hostPath',
    'spec.storage.models.shared',
  ),
  node(
    'spec.storage',
    { models: { shared: { hostPath: '/a/../b' } } },
    'is not a folder that can be shared; write an absolute path without ".."',
    'spec.storage.models.shared.hostPath',
  ),
  // subclouds, isolation, podTemplate
  node('spec.subclouds', { join: ['-'] }, 'is not a subcloud id; write letters', 'spec.subclouds.join[0]'),
  node(
    'spec.subclouds',
    { join: ['eu'], leave: ['eu'] },
    'names a subcloud in join and in leave; remove it from one of the two',
  ),
  node('spec.isolation', 'Strong', 'supported values: "Auto", "Sandbox", "InitGuard", "PodPolicy", "None"'),
  node(
    'spec.podTemplate',
    { labels: { 'resultity.com/node': 'x' } },
    'which the operator keeps; remove it',
    'spec.podTemplate.labels',
  ),
  node(
    'spec.podTemplate',
    { annotations: { 'resultity.com/drain': 'x' } },
    'by which the operator speaks to the agent; remove it',
    'spec.podTemplate.annotations',
  ),
  // changes
  {
    ...node(
      'spec.networkRef.name',
      'other',
      'cannot be changed, for the state of two networks never mixes; make another object',
      'spec.networkRef',
    ),
    from: {},
  },
  {
    ...node(
      'spec.identity',
      { secretRef: { name: 'b' } },
      "cannot be changed, for the node's id is the key's address; make another ResultityNode",
      'spec.identity.secretRef',
    ),
    from: { 'spec.identity': { secretRef: { name: 'a' } } },
  },
  {
    ...node('spec.identity', { secretRef: { name: 'a' } }, 'make another ResultityNode', 'spec.identity.secretRef'),
    from: {},
  },
  {
    ...node(
      'spec.storage',
      { state: { ephemeral: {} } },
      'cannot move to another volume, for unconfirmed results would be lost; make another ResultityNode',
      'spec.storage.state',
    ),
    from: { 'spec.storage': { state: { claimTemplate: claim } } },
  },

  // ResultityNetwork
  network('spec', undefined, 'write at least endpoint and trust'),
  network('spec.endpoint', undefined, "write the network's base address, for example https://io.network.resultity.com"),
  network(
    'spec.endpoint',
    'io.network.resultity.com',
    '"io.network.resultity.com" is not a base address; write scheme, host and port only',
  ),
  network(
    'spec.endpoint',
    'https://io.network.resultity.com/v1',
    'is not a base address; write scheme, host and port only',
  ),
  network('spec.endpoint', 'ftp://io.network.resultity.com', 'is not a base address; write scheme, host and port only'),
  network(
    'spec.endpoint',
    'http://io.network.resultity.com',
    'is plain http; write https://, or name the host in tls.allowInsecureHosts',
  ),
  {
    kind: 'ResultityNetwork',
    set: { 'spec.endpoint': 'http://a.network.svc', 'spec.tls': { allowInsecureHosts: ['b.network.svc'] } },
    field: 'spec.endpoint',
    says: 'is plain http',
  },
  network(
    'spec.tls',
    { allowInsecureHosts: ['example.com'] },
    '"example.com" is neither loopback nor cluster-internal',
    'spec.tls.allowInsecureHosts[0]',
  ),
  network(
    'spec.tls',
    { proxy: 'proxy' },
    'is not a proxy; write for example http://proxy.example.com:3128',
    'spec.tls.proxy',
  ),
  network(
    'spec.sources',
    { maxMiBPerSecond: 0 },
    'should be greater than or equal to 1',
    'spec.sources.maxMiBPerSecond',
  ),
  network('spec.tls', { caBundle: {} }, 'give exactly one of configMap or inline', 'spec.tls.caBundle'),
  network(
    'spec.tls',
    { caBundle: { inline: 'MIIB' } },
    'is not PEM; paste text that holds -----BEGIN CERTIFICATE-----',
    'spec.tls.caBundle.inline',
  ),
  network('spec.trust', undefined, 'give exactly one of rootConfigMap or root; the network publishes its pinned root'),
  network('spec.trust', {}, 'give exactly one of rootConfigMap or root'),
  network('spec.trust', { root: '{}', rootConfigMap: { name: 'a' } }, 'give exactly one of rootConfigMap or root'),
  network('spec.trust', { root: 'root' }, 'is not a root; paste the JSON of GET /v1/roots/<n>', 'spec.trust.root'),
  network('spec.environment', 'devnet', 'supported values: "testnet", "mainnet"'),
  network(
    'spec.images',
    { allowedRepositories: ['registry.example.com/resultity/agent:v1'] },
    '"registry.example.com/resultity/agent:v1" is not a repository; write host and path without tag',
    'spec.images.allowedRepositories[0]',
  ),
  network(
    'spec.sources',
    { mirrors: [{ from: 'https://a', to: 'b' }] },
    '"https://a" is not a host; write host or host:port',
    'spec.sources.mirrors[0].from',
  ),
  network('spec.updates', 'Sometimes', 'supported values: "Automatic", "Manual"'),
  network(
    'spec.rollout',
    { maxUnavailable: 0 },
    'maxUnavailable and maxSurge cannot both be 0; write maxUnavailable 1',
  ),
  network(
    'spec.rollout',
    { maxUnavailable: 'some' },
    'write a whole number such as 1, or a share such as 25%',
    'spec.rollout.maxUnavailable',
  ),
  {
    ...network(
      'spec.environment',
      'mainnet',
      'cannot be changed, for testnet and mainnet never mix; make another ResultityNetwork',
    ),
    from: {},
  },

  // ResultityFleet
  fleet('spec', undefined, 'write at least template with networkRef and owner'),
  fleet('spec.template', undefined, 'write template with networkRef and owner'),
  fleet('spec.template.owner', {}, 'give exactly one of wallet or email'),
  fleet('spec.replicas', -1, 'should be greater than or equal to 0'),
  fleet('spec.pools', [{ name: 'H200' }], '"H200" is not a pool name; write lower-case letters', 'spec.pools[0].name'),
  fleet('spec.pools', [{ name: 'a' }, { name: 'a' }], 'Duplicate value', 'spec.pools[1]'),
  fleet(
    'spec.template.identity',
    { secretRef: { name: 'key' } },
    'one key cannot stand in several nodes of a network; remove it',
    'spec.template.identity.secretRef',
  ),
  fleet(
    'spec.template.storage',
    { state: { existingClaim: 'c' } },
    'one claim cannot hold the state of several nodes; write claimTemplate',
    'spec.template.storage.state.existingClaim',
  ),

  // ApprovedModel
  model('spec', undefined, "models are approved by the network's signed snapshot; make no ApprovedModel by hand"),
  model('spec.name', 'Qwen', '"Qwen" is not a model name; write for example qwen3-32b-instruct'),
  model('spec.version', 'v 2', '"v 2" is not a model version; write letters'),
  model('spec.digest', 'sha256:12', 'is not a digest; write sha256: and 64 lower-case hex digits'),
  model('spec.tasks', ['images'], 'supported values: "chat.completions"', 'spec.tasks[0]'),
  model('spec.requires.computeCapability', 'new', 'is not a compute capability; write for example 8.0'),
  { ...model('spec.name', 'other', 'cannot be changed; another model is another ApprovedModel'), from: {} },
  { ...model('spec.version', 'v3', 'cannot be changed; another version is another ApprovedModel'), from: {} },
];

/** Refused in status, where only our own programs write. */
export const refusedStatus: readonly Refused[] = [
  {
    kind: 'ResultityNetwork',
    set: { status: { network: 'Test' } },
    field: 'status.network',
    says: 'is not a network name; write lower-case letters',
  },
  {
    kind: 'ResultityNode',
    set: { status: { agent: { config: { applied: 'x' } } } },
    field: 'status.agent.config.applied',
    says: 'is not a digest',
  },
  {
    kind: 'ResultityNode',
    set: { status: { agent: { models: [{ model: 'a:v1', state: 'pending', progress: 41 }] } } },
    field: 'status.agent.models[0].progress',
    says: 'should be a multiple of 10',
  },
];
