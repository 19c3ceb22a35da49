import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KEY } from '../api/contract.ts';
import { openRoot } from '../config/index.ts';
import { CodedError } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';
import {
  type BindMessage,
  createSigner,
  type Domain,
  domainOf,
  parseStrictJson,
  type Signer,
  zBind,
} from '../protocol/index.ts';
import type { Paths } from './settings.ts';

/** The node's key from the mounted Secret. The bytes go no further than the signer. @throws CodedError `no_key`, `bad_key` */
export const loadSigner = async (paths: Paths): Promise<Signer> => {
  const text = await readFile(join(paths.key, KEY.privateKey), 'utf8').catch((cause: unknown) => {
    throw new CodedError('no_key', `the node's key file ${KEY.privateKey} cannot be read`, { cause });
  });
  return createSigner(new Secret(text.trim()));
};

const optional = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined);

/** The enrolment token, where the network gave one. */
export const loadEnrolment = async (paths: Paths): Promise<Secret | undefined> => {
  const text = (await optional(join(paths.enrolment, KEY.enrolment)))?.trim();
  return text ? new Secret(text) : undefined;
};

/** The owner-signed Bind, where the owner made one. @throws CodedError `bad_bind` when it is there but malformed */
export const loadBind = async (paths: Paths): Promise<BindMessage | undefined> => {
  const text = await optional(join(paths.bind, KEY.bind));
  if (text === undefined) return undefined;
  try {
    return zBind.parse(parseStrictJson(text));
  } catch (cause) {
    throw new CodedError('bad_bind', `${KEY.bind} is not a signed Bind`, { cause });
  }
};

/** The CA bundle for the network's TLS, where the operator's configuration has one. */
export const loadCa = (paths: Paths): Promise<string | undefined> => optional(join(paths.trust, KEY.ca));

/** The pinned root and the domain that it gives signatures. @throws CodedError `no_trust`, `wrong_network`, a refusal */
export const loadTrust = async (
  paths: Paths,
  network: { readonly name: string; readonly environment: string },
): Promise<{ pinnedRoot: string; domain: Domain; chainId: number }> => {
  const pinnedRoot = await readFile(join(paths.trust, KEY.root), 'utf8').catch((cause: unknown) => {
    throw new CodedError('no_trust', `the pinned root ${KEY.root} cannot be read`, { cause });
  });
  const { document: root } = openRoot(pinnedRoot);
  if (root.network !== network.name || root.environment !== network.environment)
    throw new CodedError('wrong_network', `the pinned root is of ${root.network} (${root.environment})`);
  return { pinnedRoot, domain: domainOf(root.network, root.chainId), chainId: root.chainId };
};
