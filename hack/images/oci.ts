import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  copyFileSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import { cacheDir, execOk, writeFileWhole } from '../lib/index.ts';

/** A blob of an OCI image. `path` is where this machine keeps it; a registry that has it needs no file. */
export interface Blob {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  readonly path: string;
}

export interface Layer extends Blob {
  /** SHA-256 of the layer as an uncompressed tar. */
  readonly diffId: string;
}

/** What the image says to whoever runs it. */
export interface ImageConfig {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Image {
  /** Digest of the manifest: what pods name. */
  readonly digest: string;
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layers: readonly Layer[];
  /** What `config` was made from. */
  readonly settings: ImageConfig;
}

const MEDIA = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

export const blobPath = (digest: string): string => join(cacheDir('images', 'blobs'), digest.replace('sha256:', ''));

function tap(hash: ReturnType<typeof createHash>, count?: (bytes: number) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      count?.(chunk.length);
      done(null, chunk);
    },
  });
}

/**
 * Packs a folder as one layer. The tar is made so that the same content gives the same bytes: sorted names, root as
 * owner, times at zero. zstd at its fastest for big layers, gzip for what other tools may read.
 */
export async function packLayer(
  dir: string,
  compression: 'gzip' | 'zstd',
  onBytes?: (bytes: number) => void,
): Promise<Layer> {
  const tar = spawn(
    'tar',
    [
      '--sort=name',
      '--mtime=@0',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--format=gnu',
      '-C',
      dir,
      '-cf',
      '-',
      '.',
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let complaint = '';
  tar.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const ended = new Promise<number>((resolve, reject) =>
    tar.on('error', reject).on('close', (code) => resolve(code ?? 128)),
  );
  const inner = createHash('sha256');
  const outer = createHash('sha256');
  const temp = join(cacheDir('images', 'blobs'), `${randomBytes(6).toString('hex')}.tmp`);
  let bytes = 0;
  const squeeze =
    compression === 'gzip'
      ? createGzip({ level: 1 })
      : createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  try {
    await pipeline(
      tar.stdout,
      tap(inner, (n) => {
        bytes += n;
        onBytes?.(bytes);
      }),
      squeeze,
      tap(outer),
      createWriteStream(temp),
    );
    const code = await ended;
    if (code !== 0) throw new Error(`tar of ${dir} ended with code ${code}: ${complaint.trim()}`);
    const digest = `sha256:${outer.digest('hex')}`;
    const path = blobPath(digest);
    const size = statSync(temp).size;
    renameSync(temp, path);
    return { digest, diffId: `sha256:${inner.digest('hex')}`, size, mediaType: MEDIA[compression], path };
  } finally {
    rmSync(temp, { force: true });
  }
}

function storeBlob(mediaType: string, content: unknown): Blob {
  const bytes = Buffer.from(JSON.stringify(content));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const path = blobPath(digest);
  if (!existsSync(path)) writeFileWhole(path, bytes);
  return { digest, size: bytes.length, mediaType, path };
}

const descriptor = ({ mediaType, digest, size }: Blob) => ({ mediaType, digest, size });

/** Puts layers and configuration together. The same input gives the same digest. */
export function makeImage(layers: readonly Layer[], config: ImageConfig): Image {
  const configBlob = storeBlob(MEDIA.config, {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {
      ...(config.user && { User: config.user }),
      Env: Object.entries({ PATH: '/usr/local/bin:/usr/bin:/bin', ...config.env }).map(([k, v]) => `${k}=${v}`),
      ...(config.entrypoint && { Entrypoint: config.entrypoint }),
      ...(config.cmd && { Cmd: config.cmd }),
      ...(config.workdir && { WorkingDir: config.workdir }),
      ...(config.labels && { Labels: config.labels }),
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  });
  const manifest = storeBlob(MEDIA.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: descriptor(configBlob),
    layers: layers.map(descriptor),
  });
  return { digest: manifest.digest, manifest, config: configBlob, layers, settings: config };
}

/** Writes an image as a tar that `ctr images import` takes under `name`. For the sandbox image, which no registry has yet. */
export async function writeImageTar(image: Image, name: string, path: string): Promise<void> {
  const dir = `${path}.d`;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(join(dir, 'blobs', 'sha256'), { recursive: true });
  for (const blob of [image.manifest, image.config, ...image.layers]) {
    copyFileSync(blob.path, join(dir, 'blobs', 'sha256', blob.digest.replace('sha256:', '')));
  }
  writeFileWhole(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const entry = { ...descriptor(image.manifest), annotations: { 'io.containerd.image.name': name } };
  writeFileWhole(
    join(dir, 'index.json'),
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests: [entry] }),
  );
  await execOk(['tar', '-C', dir, '-cf', `${path}.tmp`, 'oci-layout', 'index.json', 'blobs']);
  renameSync(`${path}.tmp`, path);
  rmSync(dir, { recursive: true, force: true });
}

/** Opens a blob for sending. */
export const readBlob = (blob: Blob) => createReadStream(blob.path);
