import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream, renameSync, rmSync } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

let probe: Promise<boolean> | undefined;

/** Whether release servers can be reached, found out once a process, in three seconds at most. */
export function internetIsOpen(): Promise<boolean> {
  probe ??= fetch('https://dl.k8s.io/release/stable.txt', { signal: AbortSignal.timeout(3000) }).then(
    async (response) => response.ok && (await response.text()).startsWith('v'),
    () => false,
  );
  return probe;
}

/** Downloads `url` to `path`; the file appears only when its SHA-256 is `sha256` (hex). */
export async function downloadVerified(url: string, path: string, sha256: string, signal?: AbortSignal): Promise<void> {
  const response = await fetch(url, signal ? { signal } : {});
  if (!response.ok || !response.body) throw new Error(`download ${url}: HTTP ${response.status}`);
  const temp = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  const hash = createHash('sha256');
  const tap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  try {
    await pipeline(Readable.fromWeb(response.body), tap, createWriteStream(temp));
    const got = hash.digest('hex');
    if (got !== sha256.toLowerCase()) throw new Error(`download ${url}: sha256 is ${got}, expected ${sha256}`);
    renameSync(temp, path);
  } finally {
    rmSync(temp, { force: true });
  }
}
