import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { Secret } from '../lib/secret.ts';
import { openShared, rateLimit, type SourceCredentials, unlimited } from '../models/index.ts';
import type { InstallOptions } from './model-install.ts';
import type { Settings } from './settings.ts';

const RENEW_MS = 5_000;
const TTL_MS = 30_000;

/** The models folder and the way to the sources, as the settings give them. `node` names this agent to others. */
export const modelPorts = (
  { paths, pod, downloadMiBPerSecond }: Settings,
  node: string,
  dispatcher: Dispatcher,
  clock: Clock,
): Pick<InstallOptions, 'shared' | 'dispatcher' | 'credentials' | 'pace'> => ({
  shared: openShared(paths.models, {
    owner: pod.uid || node,
    boot: randomUUID(),
    clock,
    renewMs: RENEW_MS,
    ttlMs: TTL_MS,
  }),
  dispatcher,
  credentials: () => readCredentials(paths.sources),
  pace: downloadMiBPerSecond === undefined ? unlimited : rateLimit(downloadMiBPerSecond * 2 ** 20, clock),
});

/** A mounted Secret: each file is named like the host that its content is for. No folder, no credentials. */
export const readCredentials = async (folder: string): Promise<SourceCredentials> => {
  const found = new Map<string, Secret>();
  // the kubelet's own links begin with two dots
  for (const name of (await readdir(folder).catch(() => [])).filter((n) => !n.startsWith('.'))) {
    const text = (await readFile(join(folder, name), 'utf8')).trim();
    if (text !== '') found.set(name.toLowerCase(), new Secret(text));
  }
  return found;
};
