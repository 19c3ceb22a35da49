/** The operator in process against any API server, with a network of the signer kit behind real HTTP. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { type Flags, parseFlags } from '../../operator/flags.ts';
import { operatorMetrics } from '../../operator/metrics.ts';
import { wire } from '../../operator/wiring.ts';
import { type Connection, KubeClient, kubeMetrics, Manager } from '../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import type { Sha256 } from '../../src/protocol/index.ts';
import { SignerKit } from './signer-kit.ts';

/** Serves what the kit holds, and answers for nodes what the test says. */
export class KitNetwork {
  readonly kit: SignerKit;
  /** What `POST /v1/status/nodes` says, by node id. */
  readonly states = new Map<string, { state: string; reasons: string[] }>();
  /** Every call fails with this status while it is set. */
  down: number | undefined;
  readonly #server: Server;

  constructor(kit: SignerKit) {
    this.kit = kit;
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const answer = this.#answer(request.url ?? '', Buffer.concat(parts).toString());
        response.writeHead(answer === undefined ? (this.down ?? 404) : 200).end(answer);
      });
    });
  }
  /** On loopback, or on another address of this machine that pods reach. */
  static async start(host = '127.0.0.1'): Promise<KitNetwork> {
    const kit = new SignerKit();
    kit.now = Date.now();
    const network = new KitNetwork(kit);
    await new Promise<void>((resolve) => network.#server.listen(0, host, resolve));
    return network;
  }
  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `http://${address}:${port}`;
  }
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
  #answer(path: string, body: string): string | Uint8Array | undefined {
    if (this.down !== undefined) return undefined;
    if (path === '/v1/config') return this.kit.answer;
    const root = /^\/v1\/roots\/(\d+)$/.exec(path)?.[1];
    if (root !== undefined) return this.kit.roots.get(Number(root));
    const digest = /^\/v1\/config\/(sha256:[0-9a-f]{64})$/.exec(path)?.[1];
    if (digest !== undefined) return this.kit.snapshots.get(digest as Sha256);
    if (path !== '/v1/status/nodes') return undefined;
    const { nodes } = JSON.parse(body) as { nodes: string[] };
    return JSON.stringify({
      nodes: nodes.flatMap((node) => {
        const known = this.states.get(node);
        return known
          ? [{ node, ...known, floor: { epoch: 1, version: 1 }, lastHeartbeatAgeMs: 10, incarnation: 1 }]
          : [];
      }),
    });
  }
}

export interface RunningOperator {
  readonly client: KubeClient;
  readonly registry: Metrics;
  /** Log lines of level warn and above. */
  readonly complaints: string[];
  /** Writes of this process so far. */
  readonly writes: () => number;
  /** Resolves when the process has died of `dieAfter`. */
  readonly died: Promise<void>;
  stop(): Promise<void>;
}

/** Counts writes; after the n-th, which the server has taken, nothing of this process reaches the server any more. */
class MortalClient extends KubeClient {
  writes = 0;
  readonly died: Promise<void>;
  readonly #dieAfter: number;
  #die: () => void = () => {};

  constructor(options: ConstructorParameters<typeof KubeClient>[0], dieAfter: number) {
    super(options);
    this.#dieAfter = dieAfter;
    this.died = new Promise((resolve) => {
      this.#die = resolve;
    });
    super.gateWrites(() => this.writes < this.#dieAfter);
  }
  #counted = async <T>(write: Promise<T>): Promise<T> => {
    const answer = await write;
    this.writes += 1;
    if (this.writes < this.#dieAfter) return answer;
    this.#die();
    throw new Error('this process has died');
  };
  override create: KubeClient['create'] = (...a) =>
    this.#counted(KubeClient.prototype.create.apply(this, a as never)) as never;
  override apply: KubeClient['apply'] = (...a) =>
    this.#counted(KubeClient.prototype.apply.apply(this, a as never)) as never;
  override applyStatus: KubeClient['applyStatus'] = (...a) =>
    this.#counted(KubeClient.prototype.applyStatus.apply(this, a as never)) as never;
  override patchMerge: KubeClient['patchMerge'] = (...a) =>
    this.#counted(KubeClient.prototype.patchMerge.apply(this, a as never)) as never;
  override patchJson: KubeClient['patchJson'] = (...a) =>
    this.#counted(KubeClient.prototype.patchJson.apply(this, a as never)) as never;
  override delete: KubeClient['delete'] = (...a) => this.#counted(KubeClient.prototype.delete.apply(this, a));
}

/**
 * One operator process' worth of parts, without election unless a flag says so. With `dieAfter` it dies as if killed after
 * so many writes: what it was told after that it cannot do any more.
 */
export const startOperator = async (
  connection: Connection,
  flags: readonly string[] = [],
  dieAfter = Number.POSITIVE_INFINITY,
  sightMs = { restless: 200, settled: 500 },
): Promise<RunningOperator> => {
  const complaints: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, next) {
      complaints.push(chunk.toString().trim());
      next();
    },
  });
  const log = createLogger('operator', 'warn', sink);
  const registry = new Metrics();
  const metrics = kubeMetrics(registry, 'resultity_');
  const client = new MortalClient({ connection, metrics, fieldManager: 'resultity-operator' }, dieAfter);
  const manager = new Manager({ client, clock: systemClock, log, metrics, drainMs: 2_000 });
  const parsed: Flags = parseFlags(
    ['--leader-election=false', '--poll-floor-ms=200', '--allowed-repositories=registry.example', ...flags],
    {},
  );
  const recorder = wire({
    manager,
    client,
    clock: systemClock,
    log,
    kubeMetrics: metrics,
    metrics: operatorMetrics(registry),
    flags: parsed,
    instance: 'rig',
    nodeIntervalMs: 50,
    sightMs,
  });
  const stop = new AbortController();
  const running = manager.run(stop.signal);
  return {
    client,
    registry,
    complaints,
    writes: () => client.writes,
    died: client.died,
    stop: async () => {
      stop.abort();
      await running;
      await recorder.close();
      await client.close();
    },
  };
};

/** What a user writes, for the kit's network. */
export const networkManifest = (network: KitNetwork, namespace: string, over: Record<string, unknown> = {}) => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNetwork',
  metadata: { name: 'testnet', namespace },
  spec: {
    endpoint: network.url,
    environment: 'testnet',
    trust: { root: network.kit.pinnedRoot },
    tls: { allowInsecureHosts: ['127.0.0.1'] },
    updates: 'Automatic',
    rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
    ...over,
  },
});

/** With every default filled in, as the real server would: the double knows no schemas. */
export const nodeManifest = (name: string, namespace: string, over: Record<string, unknown> = {}) => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNode',
  metadata: { name, namespace },
  spec: {
    networkRef: { name: 'testnet' },
    owner: { email: 'ops@example.com' },
    identity: { retain: true },
    placement: {
      unreachableSeconds: 86_400,
      fit: 'Advise',
      gpu: { resourceName: 'nvidia.com/gpu', accelerator: 'cpu' },
    },
    isolation: 'Auto',
    drain: { timeoutSeconds: 300, handoverSeconds: 30 },
    paused: false,
    ...over,
  },
});

/** What a healthy agent writes once it serves. */
export const activeAgent = (nodeId: string, digest: string, model = 'tiny:v1') => ({
  nodeId,
  version: '0.1.0',
  phase: 'Active',
  floor: { epoch: 1, version: 1 },
  config: { applied: digest },
  models: [{ model, state: 'active' }],
  runtime: { version: '0.32.0', phase: 'ready' },
  isolation: { tier: 'sandbox', provedAt: '2026-11-21T10:00:00Z' },
  network: { state: 'active' },
});

/** The kubelet's part of a pod that runs. */
export const runningPod = {
  phase: 'Running',
  podIP: '10.0.0.9',
  conditions: [{ type: 'PodScheduled', status: 'True' }],
  initContainerStatuses: [
    {
      name: 'agent',
      image: 'a',
      imageID: '',
      ready: true,
      started: true,
      restartCount: 0,
      state: { running: { startedAt: '2026-11-21T10:00:00Z' } },
    },
  ],
  containerStatuses: [
    {
      name: 'runtime',
      image: 'r',
      imageID: '',
      ready: true,
      started: true,
      restartCount: 0,
      state: { running: { startedAt: '2026-11-21T10:00:00Z' } },
    },
  ],
};
