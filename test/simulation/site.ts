import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JournalRecord } from '../../src/agent/journal.ts';
import { Publications } from '../../src/network/publications.ts';
import { sha256Hex, zJobResult } from '../../src/protocol/index.ts';
import type { JournalRow } from '../chaos/records.ts';
import { KIT_TIME, SignerKit, testSigner } from '../support/signer-kit.ts';
import { SimCallers } from './callers.ts';
import { Net, Path } from './link.ts';
import { SimNetwork } from './network.ts';
import { SimPod, type Standing } from './pod.ts';
import { Host, type World } from './world.ts';

const NODES = 2;
const WEEK = 604_800_000;

/** The network of all runs: a root a week old, a snapshot of one model. Made once, as making it needs a disk. */
export const publish = async (): Promise<{ kit: SignerKit; dir: string }> => {
  const kit = new SignerKit();
  kit.rootVersion = 0;
  kit.now = KIT_TIME - WEEK;
  kit.addRoot({ version: 1 });
  kit.now = KIT_TIME;
  const dir = await mkdtemp(join(tmpdir(), 'resultity-simulation-'));
  const made = kit.publish({
    jobs: { maxOutputTokens: 64, maxQueue: 8, timeouts: { firstTokenMs: 30_000, gapMs: 30_000, totalMs: 60_000 } },
    ttl: { heartbeatMs: 5_000, missedHeartbeats: 3, pollMs: 300_000, retryMs: 500, cacheMs: 86_400_000 },
  });
  const publications = await open({ kit, dir }, { now: () => KIT_TIME });
  const { snapshotSignatures } = JSON.parse(kit.answer ?? '{}');
  await publications.publish({
    snapshot: made.snapshot,
    snapshotSignatures,
    document: Buffer.from(made.bytes).toString(),
  });
  return { kit, dir };
};
export const unpublish = ({ dir }: { dir: string }): Promise<void> => rm(dir, { recursive: true, force: true });
export type Published = Awaited<ReturnType<typeof publish>>;

const open = ({ kit, dir }: Published, clock: { now(): number }): Promise<Publications> =>
  Publications.open(dir, kit.pinnedRoot, kit.keys.ticket[0]!, { ...clock, monotonic: () => 0, sleep: async () => {} });

/** The machines of one run, and who starts again what died. */
export class SimSite {
  readonly world: World;
  readonly net: Net;
  readonly network: SimNetwork;
  readonly callers: SimCallers;
  /** Pods as the operator wants them: one a node. */
  readonly pods: SimPod[] = [];
  /** Pods that were replaced; with them goes their volume. */
  readonly old: SimPod[] = [];
  readonly journal: JournalRow[] = [];
  readonly #standing: Standing;
  /** Nothing more strikes. */
  healed = false;
  #pods = 0;

  private constructor(world: World, host: Host, publications: Publications, kit: SignerKit) {
    this.world = world;
    this.net = new Net(world);
    this.network = new SimNetwork(world, this.net, host, publications, kit.keys.ticket[0]!);
    this.callers = new SimCallers(world, this.network);
    const { document, reference, root } = publications;
    if (!document || !reference) throw new Error('nothing is published');
    this.#standing = { domain: publications.domain, root, document, config: reference };
  }
  static async open(world: World, published: Published): Promise<SimSite> {
    const host = new Host(world, 'network');
    return new SimSite(world, host, await open(published, { now: () => host.clock.now() }), published.kit);
  }

  start(): void {
    this.network.start();
    for (let n = 0; n < NODES; n++) this.pods.push(this.#pod(testSigner(`node ${n}`), 1));
    void this.#supervise();
  }
  /** A new pod with the same key, a higher incarnation and an empty volume; the old one is not told. */
  replace(old: SimPod): void {
    const at = this.pods.indexOf(old);
    if (at < 0) return;
    this.old.push(old);
    this.pods[at] = this.#pod(old.options.signer, old.options.incarnation + 1);
  }
  /** Ends all faults; old pods are deleted. */
  heal(): void {
    this.healed = true;
    this.network.host.wallOffset = 0;
    this.network.volume.fuse.disarm();
    if (!this.network.running) this.#startNetwork();
    for (const pod of this.old) pod.proc?.die();
    for (const pod of [...this.old, ...this.pods]) {
      const { path, host } = pod.options;
      host.wallOffset = 0;
      path.delay = [1, 20];
      path.open();
      for (const conn of path.conns) conn.heal();
      pod.volume.fuse.disarm();
      pod.engine.crashes = 0;
      pod.proc?.release();
    }
    for (const pod of this.pods) if (!pod.proc?.alive) pod.start();
  }
  /** Ends every program and gives the memory of the disks back. */
  close(): void {
    for (const pod of [...this.pods, ...this.old]) pod.proc?.die();
    this.network.running?.proc.die();
    this.network.volume.close();
    for (const pod of [...this.pods, ...this.old]) pod.volume.close();
    this.world.clock.stop();
  }
  isActive(pod: SimPod): boolean {
    const { running } = this.network;
    return running?.registry.row(pod.node) !== undefined && running.registry.state(pod.node) === 'active';
  }

  #pod(signer: SimPod['options']['signer'], incarnation: number): SimPod {
    const { world, net } = this;
    const name = `pod${++this.#pods}`;
    const host = new Host(world, name);
    const path = new Path(host, world.random(`path ${name}`));
    const pod = new SimPod({ world, net, host, path, signer, incarnation, standing: this.#standing });
    pod.volume.onResult = (record) => this.journal.push(rowOf(record, world.at));
    pod.start();
    return pod;
  }
  #startNetwork(): void {
    this.network.start();
    this.network.running?.proc.onDeath(() => this.callers.cut());
  }
  /** The kubelet and systemd of this world. */
  async #supervise(): Promise<void> {
    const random = this.world.random('supervisor');
    this.network.running?.proc.onDeath(() => this.callers.cut());
    for (;;) {
      await this.world.clock.sleep(random.between(100, 2_000));
      if (!this.network.running) this.#startNetwork();
      for (const pod of this.healed ? this.pods : [...this.pods, ...this.old])
        if (!pod.proc?.alive && !pod.superseded) pod.start();
    }
  }
}

/** A journal's record in the checker's form. */
export const rowOf = (record: JournalRecord, at: number): JournalRow => {
  const { jobId, attempt, state, requestHash, note, payload } = record;
  const signed = payload === null ? null : zJobResult.parse(JSON.parse(payload));
  return {
    at,
    jobId,
    attempt,
    state,
    requestHash,
    note,
    payload: signed && {
      sha256: sha256Hex(payload ?? '').slice(7),
      sig: signed.sig,
      outputHash: signed.result.outputHash,
    },
  };
};
