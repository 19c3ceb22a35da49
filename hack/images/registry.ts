import { readFileSync } from 'node:fs';
import { request } from 'undici';
import { type Blob, type Image, readBlob } from './oci.ts';

/** A registry to push to. `url` with its scheme, e.g. `http://10.245.0.2:5000`. */
export interface RegistryTarget {
  readonly url: string;
  /** How pods name the same registry, e.g. `127.0.0.1:5000`. */
  readonly pull: string;
  /** `Basic …` or `Bearer …`, when the registry wants one. */
  readonly authorization?: string;
}

const headersOf = (target: RegistryTarget): Record<string, string> =>
  target.authorization ? { authorization: target.authorization } : {};

/** Whether the registry has the manifest and with it, as registries check at upload, all its blobs. */
export async function hasImage(target: RegistryTarget, name: string, digest: string): Promise<boolean> {
  const answer = await request(`${target.url}/v2/${name}/manifests/${digest}`, {
    method: 'HEAD',
    headers: { ...headersOf(target), accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  await answer.body.dump();
  return answer.statusCode === 200;
}

async function pushBlob(target: RegistryTarget, name: string, blob: Blob): Promise<void> {
  const head = await request(`${target.url}/v2/${name}/blobs/${blob.digest}`, {
    method: 'HEAD',
    headers: headersOf(target),
  });
  await head.body.dump();
  if (head.statusCode === 200) return;
  const start = await request(`${target.url}/v2/${name}/blobs/uploads/`, {
    method: 'POST',
    headers: headersOf(target),
  });
  await start.body.dump();
  const location = start.headers.location;
  if (start.statusCode !== 202 || typeof location !== 'string') {
    throw new Error(`registry ${target.url}: upload of ${name} refused with ${start.statusCode}`);
  }
  const upload = new URL(location, target.url);
  upload.searchParams.set('digest', blob.digest);
  const put = await request(upload, {
    method: 'PUT',
    headers: { ...headersOf(target), 'content-type': 'application/octet-stream', 'content-length': String(blob.size) },
    body: readBlob(blob),
    headersTimeout: 300_000, // the registry answers when it has hashed what may be gigabytes
  });
  const text = await put.body.text();
  if (put.statusCode !== 201) throw new Error(`registry ${target.url}: blob ${blob.digest}: ${put.statusCode} ${text}`);
}

/** Pushes an image, blobs it has already excepted, under its digest and the tag `latest`. Returns how pods name it. */
export async function pushImage(target: RegistryTarget, name: string, image: Image): Promise<string> {
  for (const blob of [...image.layers, image.config]) await pushBlob(target, name, blob);
  for (const reference of [image.digest, 'latest']) {
    const put = await request(`${target.url}/v2/${name}/manifests/${reference}`, {
      method: 'PUT',
      headers: { ...headersOf(target), 'content-type': image.manifest.mediaType },
      body: readFileSync(image.manifest.path),
    });
    const text = await put.body.text();
    if (put.statusCode !== 201)
      throw new Error(`registry ${target.url}: manifest of ${name}: ${put.statusCode} ${text}`);
  }
  return `${target.pull}/${name}@${image.digest}`;
}
