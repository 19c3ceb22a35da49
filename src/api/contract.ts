import { z } from 'zod';

/**
 * What operator, agent and launcher must agree on: names in the pod, annotations, labels, ports and the agent's settings.
 * docs/architecture.md tells who writes what.
 */

export const GROUP = 'resultity.com';
export const VERSION = 'v1alpha1';

/** Labels on every child object. */
export const LABEL = {
  node: 'resultity.com/node',
  fleet: 'resultity.com/fleet',
  network: 'resultity.com/network',
  model: 'resultity.com/model',
  role: 'resultity.com/role',
} as const;

/** Pod annotations by which the operator speaks to the agent (through a downward-API volume), and marks of the operator's own. */
export const ANNOTATION = {
  /** `name:version` of the model that this node shall serve. */
  assignedModel: 'resultity.com/assigned-model',
  /** `true`: stop accepting, finish, say bye, reconnect and reject with draining. */
  drain: 'resultity.com/drain',
  /** `true`: the owner's own pause. */
  paused: 'resultity.com/paused',
  /** `true`: finish within handoverSeconds, then wait to be replaced by a new agent image. */
  handover: 'resultity.com/handover',
  /** The images that were patched into the live pod: its environment still names those that it was made with. */
  agentImage: 'resultity.com/agent-image',
  runtimeImage: 'resultity.com/runtime-image',
  /** The operator's own note on a pod whose images are being changed: how far it is (operator/node/rollout.ts). */
  rollout: 'resultity.com/rollout',
  /** The pod's creation time in ms: who is newer when two sessions claim one identity. */
  incarnation: 'resultity.com/incarnation',
  /** `<epoch>,<version>` below which the agent accepts no configuration. */
  floor: 'resultity.com/floor',
  /** The configuration digest that the operator verified last. */
  desiredDigest: 'resultity.com/desired-digest',
  /** Hash of the pod template that the pod was made from. */
  templateHash: 'resultity.com/template-hash',
  /** On a ResultityNode: replace the pod although the old one is not known to be gone. */
  forceReplace: 'resultity.com/force-replace',
  /** On a ResultityNode: `true` begins no update of its images or its pod; on the pod too: its agent stays on the applied configuration. */
  hold: 'resultity.com/hold',
  /** On a ResultityNode and its key Secret: the address of the key that was made for it; in the node's status from its pod on. */
  nodeId: 'resultity.com/node-id',
  /** On a ResultityNode: images that were patched back, with the reason; taken off, they are tried again. */
  rolledBack: 'resultity.com/rolled-back',
  /** On a ResultityNode of a fleet: `true` = made for an update, above the fleet's replicas, and goes when that is over. */
  surge: 'resultity.com/surge',
  /** On a ResultityNetwork with updates Manual: the digest that a person approved. */
  approveDigest: 'resultity.com/approve-digest',
} as const;

export const FINALIZER = { node: 'resultity.com/node-cleanup', model: 'resultity.com/model-cleanup' } as const;

/** Server-side apply field managers. */
export const FIELD_MANAGER = {
  operator: 'resultity-operator',
  operatorStatus: 'resultity-operator-status',
  agent: 'resultity-agent',
} as const;

/** The agents' ServiceAccount and RoleBinding in each namespace that holds nodes. */
export const AGENT_SERVICE_ACCOUNT = 'resultity-agent';

/** UIDs and the group that shares the socket folder. */
export const IDS = { agent: 10001, runtime: 2000, shared: 10001 } as const;

/** The agent's port on the pod IP: /metrics /healthz /readyz /statusz and, for the runtime's readiness probe, /runtimez. */
export const AGENT_PORT = 9440;
export const RUNTIME_READY_PATH = '/runtimez';

/** Container names of a node's pod. */
export const CONTAINER = { agent: 'agent', runtime: 'runtime' } as const;

/** Paths inside the pod. */
export const PATH = {
  control: '/run/resultity/control',
  engine: '/run/resultity/vllm',
  models: '/models',
  state: '/state',
  cache: '/cache',
  annotations: '/etc/resultity/pod/annotations',
  /** ConfigMap made by the operator: the pinned root (root.json) and the CA bundle (ca.crt). */
  trust: '/etc/resultity/trust',
  /** The key Secret, agent only: file private-key. */
  key: '/etc/resultity/key',
  /** Optional enrolment token: file token. */
  enrolment: '/etc/resultity/enrolment',
  /** Optional owner-signed Bind: file bind.json. */
  bind: '/etc/resultity/bind',
  /** Optional credentials of model sources: one file per host name. */
  sources: '/etc/resultity/sources',
  /** The agent's bound service account token, ca.crt and namespace. */
  serviceAccount: '/var/run/secrets/resultity.com/serviceaccount',
} as const;

/** Keys inside Secrets and ConfigMaps. */
export const KEY = {
  privateKey: 'private-key',
  root: 'root.json',
  ca: 'ca.crt',
  enrolment: 'token',
  bind: 'bind.json',
} as const;

const zOwner = z.union([z.object({ wallet: z.string() }).strict(), z.object({ email: z.string() }).strict()]);

/** The agent's settings: the JSON in the environment variable RESULTITY_AGENT, written by the operator, parsed once at start. */
export const zAgentSettings = z.object({
  /** The ResultityNode's name and namespace. */
  name: z.string(),
  namespace: z.string(),
  network: z.object({
    name: z.string(),
    environment: z.enum(['testnet', 'mainnet']),
    /** https URL of the IO service, without trailing slash. */
    endpoint: z.string(),
    /** Cluster-internal hosts for which http, and no more, is allowed. */
    allowInsecureHosts: z.array(z.string()).default([]),
    proxy: z.string().optional(),
  }),
  owner: zOwner,
  subclouds: z.object({ join: z.array(z.string()), leave: z.array(z.string()) }).default({ join: [], leave: [] }),
  isolation: z.enum(['Auto', 'Sandbox', 'InitGuard', 'PodPolicy', 'None']).default('Auto'),
  drain: z
    .object({ timeoutSeconds: z.number(), handoverSeconds: z.number() })
    .default({ timeoutSeconds: 300, handoverSeconds: 30 }),
  /** Engine arguments from spec.runtime.extraArgs, already checked against the allow-list. */
  engineArgs: z.record(z.string(), z.string()).default({}),
  /** Mirrors replace the host of a listed source: https://from/… → https://to/… */
  sourceMirrors: z.array(z.object({ from: z.string(), to: z.string() })).default([]),
  /** Limit of all downloads of models together; none when left out. */
  downloadMiBPerSecond: z.number().positive().optional(),
  /** Images as the operator put them into the pod, for heartbeats. */
  images: z.object({ agent: z.string(), runtime: z.string() }),
  /** What the operator knows of the GPUs that the pod asks for. */
  gpu: z.object({ resourceName: z.string(), count: z.number(), product: z.string().optional() }),
  labels: z.record(z.string(), z.string()).default({}),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});
export type AgentSettings = z.infer<typeof zAgentSettings>;

/** Environment variables of the agent container besides RESULTITY_AGENT (downward API). */
export const AGENT_ENV = {
  settings: 'RESULTITY_AGENT',
  podName: 'POD_NAME',
  podUid: 'POD_UID',
  podIp: 'POD_IP',
  nodeName: 'NODE_NAME',
  graceSeconds: 'RESULTITY_GRACE_SECONDS',
} as const;
