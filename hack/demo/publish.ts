import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureModel, ensureStandinModel } from '../images/index.ts';
import { execOk, type Progress, repoRoot } from '../lib/index.ts';
import { NETWORK_HOST, NETWORK_PORT } from './names.ts';
import type { DemoImages, Installed } from './run.ts';
import { draftSnapshot, type SnapshotModel } from './snapshot.ts';

export type Runtime = 'vllm' | 'sim';

/** A model as the demo's network serves and publishes it. */
export interface ServedModel extends Omit<SnapshotModel, 'described' | 'sourceUrl'> {
  readonly folder: string;
  /** What the engine that serves it is published for. */
  readonly accelerators: readonly ('cpu' | 'nvidia')[];
  /** Makes the model's files, once, and says where. */
  ensure(progress: Progress): Promise<string>;
}

/** What differs between the real engine and its stand-in. */
const MODELS: Readonly<Record<Runtime, readonly [ServedModel, ServedModel]>> = (() => {
  const smollm = {
    name: 'smollm2-135m-instruct',
    state: 'active',
    args: { 'max-model-len': '2048', dtype: 'bfloat16', 'max-num-seqs': '8', 'enforce-eager': 'true' },
    expect: 'Paris',
    maxFirstTokenMs: 60_000,
    accelerators: ['cpu'],
  } as const;
  const standin = {
    name: 'standin',
    state: 'active',
    args: { 'max-model-len': '2048', 'max-num-seqs': '8' },
    expect: 'resultity-runtime-sim',
    maxFirstTokenMs: 10_000,
    accelerators: ['cpu', 'nvidia'], // it computes nothing
  } as const;
  return {
    vllm: [
      { ...smollm, version: 'v1', folder: 'smollm2-135m-instruct', ensure: (p) => ensureModel('bfloat16', p) },
      { ...smollm, version: 'v2', folder: 'smollm2-135m-instruct-float16', ensure: (p) => ensureModel('float16', p) },
    ],
    sim: [
      { ...standin, version: 'v1', folder: 'standin-v1', ensure: () => Promise.resolve(ensureStandinModel('v1')) },
      { ...standin, version: 'v2', folder: 'standin-v2', ensure: () => Promise.resolve(ensureStandinModel('v2')) },
    ],
  };
})();

/** The model that the demo publishes. */
export const firstModel = (runtime: Runtime): ServedModel => MODELS[runtime][0];
/** Another model of the same engine: the same weights in another precision, so with another digest. */
export const secondModel = (runtime: Runtime): ServedModel => MODELS[runtime][1];

/** Runs `resultity-network` or `resultity` from the sources; returns what it printed. */
export const cli = (program: 'network' | 'cli', args: readonly string[]): Promise<string> =>
  execOk([process.execPath, join(repoRoot, 'src', program, 'main.ts'), ...args]);

/** Copies a model into the folder that the network serves: the demo's own, so that tests may tamper with it. */
export const serveModel = async (demoDir: string, model: ServedModel, progress: Progress): Promise<string> => {
  const source = await model.ensure(progress);
  const served = join(demoDir, 'models');
  const folder = join(served, model.folder);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(served, { recursive: true });
  cpSync(source, folder, { recursive: true });
  chmodSync(folder, 0o755); // the service runs as another user
  return served;
};

/** Describes the models, drafts the snapshot, signs it and hands it to the service. Returns what the publisher printed. */
export const publish = async (installed: Installed, models: readonly ServedModel[]): Promise<string> => {
  const { dir, images } = installed;
  const described = await Promise.all(models.map((model) => describe(dir, model)));
  const file = join(dir, '..', 'snapshot.yaml');
  const runtimes = (models[0]?.accelerators ?? []).map((accelerator) => ({ accelerator, image: images.runtime.ref }));
  if (images.standin) runtimes.push({ accelerator: 'nvidia', image: images.standin.ref });
  writeFileSync(file, draftSnapshot(described, imagesOf(images), runtimes));
  return publisher(installed, '--to', ['publish', '--snapshot', file]);
};

/** Brings the content of an earlier version back as the next one, signed like any other. */
export const rollback = (installed: Installed, version: number): Promise<string> =>
  publisher(installed, '--service', ['rollback', '--to', String(version)]);

const publisher = ({ dir, reach }: Installed, to: string, args: readonly string[]): Promise<string> =>
  reach((port) =>
    cli('network', [
      ...[...args, '--dir', dir, '--password-file', join(dir, '..', 'password')],
      ...[to, `https://127.0.0.1:${port}`, '--ca', join(dir, 'tls/ca.crt')],
    ]),
  );

const describe = async (
  dir: string,
  { folder, ensure: _, accelerators: __, ...model }: ServedModel,
): Promise<SnapshotModel> => ({
  ...model,
  sourceUrl: `https://${NETWORK_HOST}:${NETWORK_PORT}/models/${folder}/`,
  described: JSON.parse(
    await cli('network', [
      ...['model', 'describe', join(dir, '..', 'models', folder)],
      ...['--name', model.name, '--version', model.version],
    ]),
  ) as SnapshotModel['described'],
});

const imagesOf = (images: DemoImages) => {
  const { version } = JSON.parse(readFileSync(join(repoRoot, 'package.json'), 'utf8')) as { version: string };
  return { agent: images.resultity.ref, agentVersion: version, engineVersion: '0.32.0' };
};
