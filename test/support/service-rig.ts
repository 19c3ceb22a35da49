import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import {
  ApiKeys,
  DEFAULT_LIMITS,
  type Limits,
  type Service,
  type ServiceOptions,
  startService,
  systemRandom,
} from '../../src/network/index.ts';
import { openLedgerFile } from '../../src/network/ledger-file.ts';
import type { LedgerEntry } from '../../src/network/store.ts';
import type { ConfigRef, Sha256, Signer } from '../../src/protocol/index.ts';
import { FakeNode } from './fake-node.ts';
import { SignerKit, testSigner } from './signer-kit.ts';
import { until } from './until.ts';

export const API_KEY = 'sk-test-1234567890';
export const OTHER_KEY = 'sk-other-123456789';

/** A network service over plain HTTP on loopback, with a published snapshot of one model, in a folder of its own. */
export class ServiceRig {
  readonly kit: SignerKit;
  readonly dir: string;
  readonly options: ServiceOptions;
  readonly metrics = new Metrics();
  service!: Service;
  readonly #nodes: FakeNode[] = [];

  private constructor(dir: string, over: Partial<ServiceOptions>, limits: Partial<Limits>) {
    this.dir = dir;
    this.kit = new SignerKit();
    this.kit.now = Date.now();
    this.kit.addRoot({ version: 1 });
    this.options = {
      data: dir,
      root: this.kit.pinnedRoot,
      signer: this.ticketSigner,
      host: '127.0.0.1',
      port: 0,
      authorities: [],
      keys: new ApiKeys(
        JSON.stringify({
          keys: [
            { id: 'caller', key: API_KEY, admin: true },
            { id: 'other', key: OTHER_KEY },
          ],
        }),
      ),
      admission: { policy: 'open', token: () => undefined, allowed: new Set() },
      limits: { ...DEFAULT_LIMITS, callsPerAddress: 10_000, registrationsPerAddress: 1_000, noNodeMs: 300, ...limits },
      clock: systemClock,
      random: systemRandom,
      metrics: this.metrics,
      log: createLogger('test', 'silent'),
      ...over,
    };
  }

  static async start(over: Partial<ServiceOptions> = {}, limits: Partial<Limits> = {}): Promise<ServiceRig> {
    const rig = new ServiceRig(await mkdtemp(join(tmpdir(), 'resultity-network-')), over, limits);
    rig.service = await startService(rig.options);
    return rig;
  }
  get ticketSigner(): Signer {
    return this.kit.keys.ticket[0] as Signer;
  }
  get url(): string {
    return `http://127.0.0.1:${this.service.port}`;
  }
  get authority(): string {
    return `127.0.0.1:${this.service.port}`;
  }
  get config(): ConfigRef {
    return this.service.publications.reference as ConfigRef;
  }
  get model(): { ref: string; digest: Sha256 } {
    const model = this.service.publications.document?.models[0];
    return { ref: model?.ref ?? '', digest: model?.digest as Sha256 };
  }

  async publish(over: Record<string, unknown> = {}): Promise<Response> {
    const made = this.kit.publish({ ...over });
    const { snapshotSignatures } = JSON.parse(this.kit.answer ?? '{}');
    return this.post('/v1/admin/publications', {
      snapshot: made.snapshot,
      snapshotSignatures,
      document: Buffer.from(made.bytes).toString(),
    });
  }
  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    });
  }
  /** Stops the service and starts it again on the same folder and port. */
  async restart(): Promise<void> {
    const { port } = this.service;
    await this.service.close();
    this.service = await startService({ ...this.options, port, metrics: new Metrics() });
  }

  /** The ledger as it stands on the disk. */
  ledger(): LedgerEntry[] {
    const file = openLedgerFile(join(this.dir, 'ledger.db'));
    try {
      return [...file.receipts()].map((r) => JSON.parse(r.row) as LedgerEntry);
    } finally {
      file.close();
    }
  }

  node(name = 'node'): FakeNode {
    const node = new FakeNode({
      url: this.url,
      domain: this.kit.domain,
      signer: testSigner(name),
      network: this.ticketSigner.address,
    });
    this.#nodes.push(node);
    return node;
  }
  /** Registered, connected, with a heartbeat that makes it active. */
  async activeNode(name = 'node'): Promise<FakeNode> {
    const node = this.node(name);
    await node.register();
    await node.connect();
    this.beat(node);
    await until('the node is active', () => this.service.registry.state(node.node) === 'active');
    return node;
  }
  beat(node: FakeNode): void {
    node.send('heartbeat', node.heartbeat(this.model.ref, this.model.digest, this.config));
  }

  async stop(): Promise<void> {
    for (const node of this.#nodes) node.close();
    await this.service.close();
    await rm(this.dir, { recursive: true, force: true });
  }
}
