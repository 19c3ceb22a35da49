import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { domainOfRoot, makeRoot, openRoot, type RootDocument, signRoot } from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import type { Secret } from '../../lib/secret.ts';
import { type Address, checksumAddress, zNetworkName } from '../../protocol/index.ts';
import { makeCertificates } from './certificates.ts';
import { firstDraft } from './draft.ts';
import type { Io } from './io.ts';
import { encryptKey, type NewKey, newKey } from './keystore.ts';
import { NETWORK_SECRET, networkSecret, rootConfigMap, rootConfigMapName } from './manifests.ts';

export interface InitOptions {
  readonly dir: string;
  readonly network: string;
  readonly environment: 'testnet' | 'mainnet';
  readonly chainId: number;
  readonly endpoint: string;
  readonly sans: readonly string[];
  readonly rootKeys: number;
  readonly rootThreshold: number;
  readonly configKeys: number;
  readonly configThreshold: number;
  readonly rootDays: number;
  readonly tlsDays: number;
  readonly scryptN: number;
}

const DAY = 86_400_000;

/**
 * Makes a private network's folder: keys, root v1, certificates, Kubernetes manifests. All or nothing: it is written beside
 * its place and renamed. @throws CodedError `exists` when the folder is there and not empty
 */
export const initNetwork = async (options: InitOptions, password: Secret, io: Io): Promise<void> => {
  const { network, endpoint } = options;
  const dir = resolve(options.dir);
  if (!zNetworkName.safeParse(network).success)
    throw new CodedError('bad_usage', `"${network}" is no network name: a-z, 0-9, dot and dash, at most 63`);
  const url = new URL(endpoint);
  if (url.protocol !== 'https:') throw new CodedError('bad_usage', '--endpoint must begin with https://');
  if ((await readdir(dir).catch(() => [])).length > 0)
    throw new CodedError('exists', `${dir} is not empty, and keys are never overwritten: choose another --dir`);

  const keys = {
    root: Array.from({ length: options.rootKeys }, newKey),
    config: Array.from({ length: options.configKeys }, newKey),
    ticket: newKey(),
  };
  const now = io.now();
  const root = signedRoot(options, keys, now);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const tls = await makeCertificates(network, [host, ...options.sans], now, options.tlsDays);
  const apiKey = `sk-${randomBytes(24).toString('base64url')}`;
  const hash = createHash('sha256').update(apiKey).digest('hex');
  const apiKeys = `${JSON.stringify({ keys: [{ id: 'default', sha256: hash, maxPriority: 9, admin: true }] }, null, 2)}\n`;
  const ticketKey = `${keys.ticket.privateKey.reveal()}\n`;

  const files: [path: string, text: string, mode: number][] = [
    ['roots/1.json', root, 0o644],
    ['keys/ticket.key', ticketKey, 0o600],
    ['tls/ca.crt', tls.ca, 0o644],
    ['tls/ca.key', tls.caKey, 0o600],
    ['tls/tls.crt', tls.cert, 0o644],
    ['tls/tls.key', tls.key, 0o600],
    ['api-key', `${apiKey}\n`, 0o600],
    ['api-keys.json', apiKeys, 0o600],
    ['snapshot.yaml', firstDraft(options.environment, url.origin), 0o644],
    ['kubernetes/root-configmap.yaml', rootConfigMap(network, root, tls.ca), 0o644],
    [
      'kubernetes/network-secret.yaml',
      networkSecret({ root, ticketKey, cert: tls.cert, key: tls.key, apiKeys }),
      0o600,
    ],
  ];
  for (const [role, list] of [['root', keys.root] as const, ['config', keys.config] as const])
    for (const [i, key] of list.entries())
      files.push([`keys/${role}-${i + 1}.json`, await encryptKey(key, password, options.scryptN), 0o600]);
  await writeFolder(dir, files);
  nextSteps(options, dir, url, keys.ticket.signer.address, io);
};

const signedRoot = (
  options: InitOptions,
  keys: { root: NewKey[]; config: NewKey[]; ticket: NewKey },
  now: number,
): string => {
  const addresses = (list: readonly NewKey[]): Address[] => list.map((k) => k.signer.address);
  const document: RootDocument = {
    network: options.network,
    chainId: options.chainId,
    environment: options.environment,
    version: 1,
    epoch: 1,
    issuedAt: now,
    expiresAt: now + options.rootDays * DAY,
    roles: {
      root: { threshold: options.rootThreshold, keys: addresses(keys.root) },
      config: { threshold: options.configThreshold, keys: addresses(keys.config) },
      ticket: { threshold: 1, keys: [keys.ticket.signer.address] },
    },
  };
  const answer = keys.root.reduce((text, key) => signRoot(text, key.signer), makeRoot(document));
  // what is given out is checked as a node will check it
  domainOfRoot(openRoot(answer).document);
  return answer;
};

const writeFolder = async (dir: string, files: readonly [string, string, number][]): Promise<void> => {
  const temp = `${dir}.${process.pid}.tmp`;
  await rm(temp, { recursive: true, force: true });
  try {
    await mkdir(temp, { recursive: true, mode: 0o700 });
    for (const [path, text, mode] of files) {
      await mkdir(dirname(join(temp, path)), { recursive: true });
      await writeFile(join(temp, path), text, { mode });
    }
    // an empty folder gives way; one that was filled meanwhile does not
    await rm(dir, { recursive: false, force: true }).catch(() => {});
    await rename(temp, dir);
  } catch (error) {
    await rm(temp, { recursive: true, force: true });
    throw new CodedError('exists', `${dir} could not be written`, { cause: error });
  }
};

const nextSteps = (options: InitOptions, dir: string, url: URL, ticket: Address, io: Io): void => {
  const { network, configThreshold, configKeys } = options;
  io.out(`Network ${network} (${options.environment}, chain ${options.chainId}) is made in ${dir}
  root v1          roots/1.json, valid ${options.rootDays} days
  config keys      ${configThreshold} of ${configKeys} sign a configuration (keys/config-*.json, encrypted)
  ticket key       ${checksumAddress(ticket)} (keys/ticket.key, for the service)
  API key          api-key (mode 600); only its hash goes to the service

Next:
  1. keep keys/root-*.json and keys/config-*.json off this machine; the service needs neither
  2. kubectl -n SYSTEM_NAMESPACE apply -f ${join(dir, 'kubernetes/network-secret.yaml')}   (Secret ${NETWORK_SECRET})
     helm upgrade --install resultity charts/resultity-operator --set networkService.enabled=true
     or without Kubernetes:
     resultity-network serve --data ${join(dir, 'data')} --root ${join(dir, 'roots/1.json')} --key ${join(dir, 'keys/ticket.key')} \\
       --tls-cert ${join(dir, 'tls/tls.crt')} --tls-key ${join(dir, 'tls/tls.key')} --api-keys ${join(dir, 'api-keys.json')} \\
       --authority ${url.host} --listen 0.0.0.0:${url.port === '' ? 443 : url.port}
  3. fill in ${join(dir, 'snapshot.yaml')}, then
     resultity-network publish --dir ${dir} --snapshot ${join(dir, 'snapshot.yaml')} --to ${url.origin} --ca ${join(dir, 'tls/ca.crt')}
  4. kubectl -n NODE_NAMESPACE apply -f ${join(dir, 'kubernetes/root-configmap.yaml')}   (ConfigMap ${rootConfigMapName(network)})`);
};
