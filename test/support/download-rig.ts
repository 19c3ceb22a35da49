import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent } from 'undici';
import { systemClock } from '../../src/lib/clock.ts';
import {
  type DownloadOptions,
  downloadModel,
  type ModelManifest,
  openShared,
  type Shared,
} from '../../src/models/index.ts';
import { modelDigest } from '../../src/protocol/index.ts';
import { FileSource } from './file-source.ts';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A models folder, a model of these files, and two sources of it: the one that the manifest names, and another. */
export class DownloadRig {
  readonly dir = mkdtempSync(join(tmpdir(), 'download-'));
  readonly shared: Shared = openShared(this.dir, {
    owner: 'me',
    boot: 'b',
    clock: systemClock,
    renewMs: 1_000,
    ttlMs: 5_000,
  });
  readonly good = new FileSource();
  readonly bad = new FileSource();
  readonly dispatcher = new Agent();
  model!: ModelManifest;

  static async start(contents: Readonly<Record<string, Buffer>>): Promise<DownloadRig> {
    const rig = new DownloadRig();
    await Promise.all([rig.good.listen(), rig.bad.listen()]);
    for (const source of [rig.good, rig.bad])
      for (const [path, bytes] of Object.entries(contents)) source.files.set(path, bytes);
    const files = Object.entries(contents).map(([path, bytes]) => ({
      path,
      size: bytes.length,
      sha256: sha256(bytes),
    }));
    const named = { name: 'm', version: 'v1', digest: modelDigest(files) };
    rig.model = { ...named, files, sources: [rig.good.url], requires: { diskMiB: 0 } };
    return rig;
  }
  /** @returns the folder of the installed model */
  async install(more: Partial<DownloadOptions> = {}): Promise<string> {
    const { shared, dispatcher, model } = this;
    const lease = await shared.leases.acquire(shared.store.lockOf(model.digest), {});
    const policy = { trustedSources: ['127.0.0.1', 'localhost'], allowInsecureHosts: [], mirrors: [] };
    const options = { store: shared.store, lease, dispatcher, policy, reserveBytes: 0, ...more };
    return downloadModel(model, options).finally(() => lease.release());
  }
  async close(): Promise<void> {
    this.good.close();
    this.bad.close();
    await this.dispatcher.destroy();
    for (const digest of await this.shared.store.list()) await this.shared.store.remove(digest);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
