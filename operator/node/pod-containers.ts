import {
  AGENT_ENV,
  AGENT_PORT,
  type AgentSettings,
  CONTAINER,
  IDS,
  PATH,
  RUNTIME_READY_PATH,
} from '../../src/api/contract.ts';
import { allowedRuntimeEnv, type ResultityNodeSpec } from '../../src/api/index.ts';
import type { Container, EnvVar } from '../pod-types.ts';
import type { PodInput } from './pod-input.ts';
import { agentMounts, runtimeMounts } from './pod-volumes.ts';

/** What the two containers start. */
export const COMMAND = {
  agent: ['node', '/app/agent.mjs'],
  runtime: ['python3', `${PATH.control}/launcher.py`],
} as const;

/** What comes after the drain: the agent's goodbye, the engine's end (the launcher keeps 20 s of it for itself). */
export const AFTER_DRAIN_SECONDS = 60;

/** One budget that all containers share. */
export const graceSeconds = (spec: Pick<ResultityNodeSpec, 'drain'>): number =>
  spec.drain.timeoutSeconds + AFTER_DRAIN_SECONDS;

/** What the restricted profile asks of a container. */
export const restricted = (uid: number, gid: number, readOnlyRootFilesystem: boolean): Record<string, unknown> => ({
  runAsUser: uid,
  runAsGroup: gid,
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
});

const field = (name: string, fieldPath: string): EnvVar => ({ name, valueFrom: { fieldRef: { fieldPath } } });
const http = (path: string, more: Record<string, number>): unknown => ({
  httpGet: { path, port: AGENT_PORT, scheme: 'HTTP' },
  timeoutSeconds: 5,
  successThreshold: 1,
  ...more,
});

export const agentContainer = (input: PodInput): Container => ({
  name: CONTAINER.agent,
  image: input.images.agent,
  imagePullPolicy: 'IfNotPresent',
  restartPolicy: 'Always', // a native sidecar: starts first, is told to stop last
  command: [...COMMAND.agent],
  env: [
    { name: AGENT_ENV.settings, value: JSON.stringify(agentSettings(input)) },
    field(AGENT_ENV.podName, 'metadata.name'),
    field(AGENT_ENV.podUid, 'metadata.uid'),
    field(AGENT_ENV.podIp, 'status.podIP'),
    field(AGENT_ENV.nodeName, 'spec.nodeName'),
    { name: AGENT_ENV.graceSeconds, value: String(graceSeconds(input.node.spec)) },
  ],
  ports: [{ name: 'metrics', containerPort: AGENT_PORT, protocol: 'TCP' }],
  volumeMounts: agentMounts(input),
  resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
  securityContext: restricted(IDS.agent, IDS.shared, true),
  // The engine may take minutes; the agent's own loop ticks at once. Load is never a reason to restart it.
  startupProbe: http('/healthz', { periodSeconds: 2, failureThreshold: 60 }),
  livenessProbe: http('/healthz', { periodSeconds: 10, failureThreshold: 6 }),
  terminationMessagePolicy: 'FallbackToLogsOnError',
});

export const runtimeContainer = (input: PodInput): Container => {
  const { runtime, placement } = input.node.spec;
  const given = runtime?.resources;
  const gpu = input.gpu === undefined ? {} : { [input.gpu.resourceName]: String(input.gpu.count) };
  const overlay = runtime?.securityContext;
  return {
    name: CONTAINER.runtime,
    image: input.images.runtime,
    imagePullPolicy: 'IfNotPresent',
    command: [...COMMAND.runtime],
    env: runtimeEnv(input),
    volumeMounts: runtimeMounts(),
    resources: {
      requests: { cpu: '500m', memory: '1Gi', ...given?.requests, ...gpu },
      limits: { ...given?.limits, ...gpu },
      ...(placement.resourceClaims === undefined
        ? {}
        : {
            claims: placement.resourceClaims.map((c) => ({
              name: c.name,
              ...(c.request === undefined ? {} : { request: c.request }),
            })),
          }),
    },
    securityContext: restricted(
      overlay?.runAsUser ?? IDS.runtime,
      overlay?.runAsGroup ?? IDS.shared,
      runtime?.readOnlyRootFilesystem ?? false,
    ),
    // Asked of the agent, who alone can tell a socket from a server that listens on it.
    readinessProbe: http(RUNTIME_READY_PATH, { periodSeconds: 5, failureThreshold: 2 }),
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
};

/** Caches in one folder, everything offline, everything on loopback. */
const ownEnv = (grace: number): Record<string, string> => {
  const cache = (folder: string): string => `${PATH.cache}/${folder}`;
  return {
    HOME: PATH.cache,
    USER: 'vllm',
    TMPDIR: '/tmp',
    XDG_CACHE_HOME: cache('xdg'),
    VLLM_CACHE_ROOT: cache('vllm'),
    TORCHINDUCTOR_CACHE_DIR: cache('inductor'),
    TRITON_CACHE_DIR: cache('triton'),
    CUDA_CACHE_PATH: cache('cuda'),
    FLASHINFER_WORKSPACE_BASE: cache('flashinfer'),
    HF_HOME: cache('hf'),
    HF_HUB_OFFLINE: '1',
    TRANSFORMERS_OFFLINE: '1',
    HF_DATASETS_OFFLINE: '1',
    VLLM_NO_USAGE_STATS: '1',
    DO_NOT_TRACK: '1',
    VLLM_HOST_IP: '127.0.0.1',
    NCCL_SOCKET_IFNAME: 'lo',
    GLOO_SOCKET_IFNAME: 'lo',
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUNBUFFERED: '1',
    [AGENT_ENV.graceSeconds]: String(grace),
  };
};

/** Every variable that the containers may have: ours, and in the runtime what people may set. */
export const ENV_NAMES: { readonly agent: readonly string[]; readonly runtime: readonly string[] } = {
  agent: Object.values(AGENT_ENV),
  runtime: [...new Set([...Object.keys(ownEnv(0)), ...allowedRuntimeEnv])],
};

/** The owner's own come before ours, so they override nothing. */
const runtimeEnv = (input: PodInput): EnvVar[] => {
  const all = {
    ...(input.accelerator === 'cpu' ? { VLLM_CPU_KVCACHE_SPACE: '1' } : {}),
    ...input.engineEnv,
    ...ownEnv(graceSeconds(input.node.spec)),
  };
  return Object.entries(all).map(([name, value]) => ({ name, value }));
};

/** RESULTITY_AGENT. What changes without a new pod is not in it. */
export const agentSettings = (input: PodInput): AgentSettings => {
  const { metadata, spec } = input.node;
  const { spec: network } = input.network.object;
  const { wallet, email } = spec.owner;
  return {
    name: metadata.name ?? '',
    namespace: metadata.namespace ?? '',
    network: {
      name: input.network.name,
      environment: input.network.environment,
      endpoint: network.endpoint.replace(/\/+$/, ''),
      allowInsecureHosts: [...(network.tls?.allowInsecureHosts ?? [])],
      ...(network.tls?.proxy === undefined ? {} : { proxy: network.tls.proxy }),
    },
    owner: wallet !== undefined ? { wallet: wallet.toLowerCase() } : { email: email ?? '' },
    subclouds: { join: [...(spec.subclouds?.join ?? [])], leave: [...(spec.subclouds?.leave ?? [])] },
    isolation: spec.isolation,
    drain: { timeoutSeconds: spec.drain.timeoutSeconds, handoverSeconds: spec.drain.handoverSeconds },
    engineArgs: { ...input.engineArgs },
    sourceMirrors: (network.sources?.mirrors ?? []).map(({ from, to }) => ({ from, to })),
    ...(network.sources?.maxMiBPerSecond === undefined
      ? {}
      : { downloadMiBPerSecond: network.sources.maxMiBPerSecond }),
    images: { ...input.images },
    gpu: {
      resourceName: input.gpu?.resourceName ?? '',
      count: input.gpu?.count ?? 0,
      ...(input.gpu?.product === undefined ? {} : { product: input.gpu.product }),
    },
    labels: { ...spec.podTemplate?.labels },
    logLevel: input.agentLogLevel,
  };
};
