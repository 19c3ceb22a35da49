import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { AgentRig } from './agent-rig.ts';
import { MiniNetwork } from './mini-network.ts';
import { API_KEY, ServiceRig } from './service-rig.ts';
import { until } from './until.ts';

export interface AgentAndServiceOptions {
  /** Of the engine's stand-in. */
  readonly engineEnv?: Record<string, string>;
  /** More of the snapshot. */
  readonly snapshot?: Record<string, unknown>;
  /** How often the client asks again by itself; default never. */
  readonly maxRetries?: number;
}

/** The network service, one real agent with the real launcher and a stand-in as engine, and the official client as caller. */
export class AgentAndService {
  readonly #folder: string;
  readonly service: ServiceRig;
  readonly pod: AgentRig;
  readonly client: OpenAI;

  private constructor(folder: string, service: ServiceRig, pod: AgentRig, client: OpenAI) {
    this.#folder = folder;
    this.service = service;
    this.pod = pod;
    this.client = client;
  }

  /** Resolves when the node is active: registered, its model downloaded from the service, verified and tested. */
  static async start(options: AgentAndServiceOptions = {}): Promise<AgentAndService> {
    const folder = await mkdtemp(join(tmpdir(), 'resultity-both-'));
    await mkdir(join(folder, 'tiny'));
    // the same small model that the agent's own tests install, served by the service under test
    const mini = new MiniNetwork();
    await writeFile(join(folder, 'tiny/model.safetensors'), mini.modelBytes);
    const service = await ServiceRig.start({ models: folder });
    const model = mini.model({ sources: [`${service.url}/models/tiny/`] });
    const ttl = { heartbeatMs: 500, missedHeartbeats: 3, pollMs: 30_000, retryMs: 200, cacheMs: 86_400_000 };
    const trustedSources = ['127.0.0.1', service.authority];
    const answer = await service.publish({ models: [model], ttl, trustedSources, ...options.snapshot });
    if (answer.status !== 200) throw new Error(`publish answered ${answer.status}: ${await answer.text()}`);
    const { maxRetries = 0 } = options;
    const client = new OpenAI({ apiKey: API_KEY, baseURL: `${service.url}/v1`, maxRetries });
    const { kit } = service;
    const pod = new AgentRig({ endpoint: service.url, network: kit.network, pinnedRoot: kit.pinnedRoot });
    await pod.startAgent();
    pod.startLauncher(options.engineEnv);
    const both = new AgentAndService(folder, service, pod, client);
    await both.active().catch(async (error: unknown) => {
      process.stderr.write(pod.logs.join(''));
      await both.stop();
      throw error;
    });
    return both;
  }
  active(): Promise<void> {
    return until('active', () => [...this.service.service.registry.counts().keys()].includes('active'), 30_000);
  }
  async stop(): Promise<void> {
    await this.pod.close();
    await this.service.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
